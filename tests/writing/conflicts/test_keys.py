"""Every kind of unique key, and bad input around keys."""

import pytest
from django.db import connection, models
from django.db.models.functions import Lower

from finance.models import Account
from ingest import ConfigurationError, ConstraintRefused, RecordsRefused, load
from tests.factories import AccountFactory, TransactionFactory
from tests.writing.conflicts.tables import SCHEMA, ask, counts, make_model, run, upsert

KINDS = {
    "primary key": "PRIMARY KEY (number, part)",
    "unique constraint": "UNIQUE (number, part)",
    "deferrable": "UNIQUE (number, part) DEFERRABLE INITIALLY IMMEDIATE",
    "deferred": "UNIQUE (number, part) DEFERRABLE INITIALLY DEFERRED",
    "index": "CREATE UNIQUE INDEX ON item (number, part)",
    "collation": 'CREATE UNIQUE INDEX ON item (number COLLATE "C", part DESC)',
    "operators": "CREATE UNIQUE INDEX ON item (number text_pattern_ops, part)",
    "included": "CREATE UNIQUE INDEX ON item (number, part) INCLUDE (note)",
    "partial": "CREATE UNIQUE INDEX ON item (number, part) WHERE part >= 0",
    "expression": "CREATE UNIQUE INDEX ON item (lower(number), part)",
    "nulls": "CREATE UNIQUE INDEX ON item (number, part) NULLS NOT DISTINCT",
}


def make_item(kind):
    definition = KINDS[kind]
    inline = "" if definition.startswith("CREATE") else f", {definition}"
    run(f"CREATE TABLE item (number text, part integer, note text{inline})")
    if not inline:
        run(definition)
    run("INSERT INTO item VALUES ('a', 1, 'x'), ('b', 1, 'x'), ('b', 2, 'x')")
    return make_model(
        number=models.TextField(primary_key=True),
        part=models.IntegerField(null=True, blank=True),
        note=models.TextField(null=True, blank=True),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_keys(schema, kind):
    model = make_item(kind)
    records = [("a", 1, "x"), ("b", 2, "y"), ("c", 1, "x"), ("b", 2, "z")]
    columns = ["number", "part", "note"]
    got = upsert(model, records, columns=columns, on_error="reject")
    assert got == {"inserted": 1, "updated": 1, "unchanged": 1, "rejected": 1}
    want = [("a", 1, "x"), ("b", 1, "x"), ("b", 2, "y"), ("c", 1, "x")]
    assert ask("SELECT * FROM item ORDER BY number, part") == want
    assert upsert(model, records[:3], columns=columns) == {"unchanged": 3}
    got = upsert(model, [*records[:2], ("d", 1, "x")], columns=columns, on_conflict="ignore")
    assert got == {"inserted": 1, "ignored": 2}


def test_an_expression_finds_a_row_and_its_column_is_updated(schema):
    model = make_item("expression")
    got = upsert(model, [("A", 1, "x"), ("B", 1, "x")], columns=["number", "part", "note"])
    assert got == {"updated": 2}
    assert ask("SELECT number FROM item WHERE part = 1 ORDER BY 1") == [("A",), ("B",)]


@pytest.mark.parametrize(
    ("kind", "want"), [("unique constraint", {"inserted": 2}), ("nulls", {"inserted": 1})]
)
def test_null_in_a_key(schema, kind, want):
    model = make_item(kind)
    columns = ["number", "part", "note"]
    records = [("a", None, "x"), ("a", None, "y")]
    rejected = {"rejected": 1} if kind == "nulls" else {}
    assert upsert(model, records, columns=columns, on_error="reject") == want | rejected
    again = upsert(model, records[:1], columns=columns)
    assert again == ({"unchanged": 1} if kind == "nulls" else {"inserted": 1})
    result = load(
        model, [("z", None, "x")], columns=columns, on_conflict="update", on_error="reject"
    )
    assert [reject.kind for reject in result.rejects] == ["missing"]


def test_rows_outside_a_partial_index_have_no_key(schema):
    model = make_item("partial")
    columns = ["number", "part", "note"]
    records = [("a", -1, "x"), ("a", -1, "y"), ("a", 1, "y")]
    assert upsert(model, records, columns=columns) == {"inserted": 2, "updated": 1}


def test_a_table_without_a_key(schema):
    run("CREATE TABLE item (number text, note text)")
    model = make_model(number=models.TextField(primary_key=True), note=models.TextField())
    with pytest.raises(ConfigurationError, match=r"needs a unique key, and .* has none"):
        upsert(model, [{"number": "a", "note": "x"}])


def test_several_indexes_on_the_same_columns(item):
    run("CREATE UNIQUE INDEX ON item (number) WHERE note IS NOT NULL")
    run("CREATE UNIQUE INDEX ON item (number text_pattern_ops)")
    result = load(item, [{"number": "a1", "note": "y"}], on_conflict="upsert", analyze=False)
    assert counts(result) == {"updated": 1}
    assert "Conflicts: decided by the key 'item_number_key'." in result.decisions


@pytest.mark.parametrize("expression", ["nullif(number, '')", "CASE number WHEN 'x' THEN 1 END"])
def test_a_key_that_names_no_operator(schema, expression):
    run(f"CREATE TABLE item (number text, note text); CREATE UNIQUE INDEX ON item (({expression}))")
    model = make_model(number=models.TextField(primary_key=True), note=models.TextField(null=True))
    for options in ({}, {"key": "number"}):
        with pytest.raises(ConfigurationError, match=r"cannot decide, because NULLIF.*CASE WHEN"):
            upsert(model, [{"number": "a", "note": "x"}], **options)


def test_a_key_that_postgresql_computes(schema):
    run("""
        CREATE TABLE item (number text, note text,
            low text GENERATED ALWAYS AS (lower(number)) STORED UNIQUE)
    """)
    run("INSERT INTO item VALUES ('a', 'x')")
    model = make_model(
        number=models.TextField(primary_key=True),
        note=models.TextField(null=True),
        low=models.GeneratedField(
            expression=Lower("number"), output_field=models.TextField(), db_persist=True
        ),
    )
    for options in ({}, {"key": "low"}):
        with pytest.raises(ConfigurationError, match="no source can feed low, which PostgreSQL"):
            upsert(model, [{"number": "A", "note": "y"}], **options)
    run("CREATE UNIQUE INDEX ON item (lower(number))")  # as the message says
    assert upsert(model, [{"number": "A", "note": "y"}]) == {"updated": 1}


def test_the_key_must_be_clear(db):
    records = [{"id": 1, "number": "x", "name": "y"}]
    with pytest.raises(ConfigurationError, match=r"several unique keys .*: id; number\. Choose"):
        load(Account, records, on_conflict="upsert")
    with pytest.raises(ConfigurationError, match=r"feeds no unique key .* completely"):
        load(Account, [{"name": "y"}], on_conflict="upsert")
    with pytest.raises(ConfigurationError, match=r"does not feed number, which the key number"):
        load(Account, [{"id": 1, "name": "y"}], on_conflict="upsert", key=["number"])
    with pytest.raises(ConfigurationError, match=r"no unique key of name\. Its keys are: id; num"):
        load(Account, records, on_conflict="upsert", key="name")
    with pytest.raises(ConfigurationError, match=r"no field 'numbr'\. Did you mean 'number'"):
        load(Account, records, on_conflict="upsert", key="numbr")


@pytest.mark.parametrize("key", [None, ["a", "b"], ["b", "a"], "pk", "a, b, a"])
def test_a_primary_key_of_several_fields(schema, key):
    run("CREATE TABLE item (a integer, b integer, note text, PRIMARY KEY (a, b))")
    run("INSERT INTO item VALUES (1, 1, 'x')")
    model = make_model(
        pk=models.CompositePrimaryKey("a", "b"),
        a=models.IntegerField(),
        b=models.IntegerField(),
        note=models.TextField(null=True),
    )
    records = [{"a": 1, "b": 1, "note": "y"}, {"a": 1, "b": 2, "note": "z"}]
    assert upsert(model, records, key=key) == {"inserted": 1, "updated": 1}
    for wrong, match in [("a", "no unique key of a. Its keys are: a, b"), ([], "names no field")]:
        with pytest.raises(ConfigurationError, match=match):
            upsert(model, records, key=wrong)


@pytest.mark.parametrize("sql_type", ["json", "point", "json[]"])
def test_newest_is_of_a_type_that_has_an_order(schema, sql_type):
    run(f"CREATE TABLE item (number text PRIMARY KEY, note {sql_type})")
    model = make_model(number=models.TextField(primary_key=True), note=models.TextField(null=True))
    with pytest.raises(ConfigurationError, match="'note', and of two values of its type"):
        upsert(model, [("a", None)], columns=["number", "note"], newest="note")


def test_options_name_fields(item):
    record = {"number": "a1", "note": "x"}
    for options, match in [
        ({"update_fields": ["amount"]}, "'amount', which the source does not feed"),
        ({"update_fields": ["number"]}, "'number', which belongs to the key"),
        ({"keep_if_null": ["nothing"]}, "'nothing', which .* does not have"),
        ({"update_fields": ["note"], "keep_if_null": ["number"]}, "'number', which is not updated"),
        ({"newest": "number"}, "'number', which belongs to the key"),
        ({"key": ""}, "key .* names no field: leave it out, or name one of .*: id; number"),
        ({"key": ["number"], "on_conflict": "error"}, "key .* has no effect"),
        ({"newest": "note", "on_conflict": "ignore"}, "newest .* has no effect"),
    ]:
        with pytest.raises(ConfigurationError, match=match):
            upsert(item, [record], **options)


def test_a_natural_key_through_a_look_up(db):
    known = TransactionFactory(reference="r1")
    record = {
        "account__number": known.account.number,
        "user_id": known.user_id,
        "amount": "5.00",
        "tx_date": "2025-01-01",
        "reference": "r1",
    }
    result = load(type(known), [record], on_conflict="upsert", key=["account__number", "reference"])
    assert counts(result) == {"updated": 1}
    known.refresh_from_db()
    assert str(known.amount) == "5.00"


def test_a_second_unique_key_names_its_constraint(item):
    run("ALTER TABLE item ADD CONSTRAINT one_note UNIQUE (note); UPDATE item SET note = number")
    records = [
        {"number": "a1", "note": "a2"},  # two keys, two rows
        {"number": "a9", "note": "a2"},
        {"number": "a8", "note": "new"},
    ]
    result = load(
        item, records, on_conflict="upsert", key=["number"], on_error="reject", analyze=False
    )
    assert counts(result) == {"inserted": 1, "rejected": 2}
    assert [(it.record, it.kind, it.constraint) for it in result.rejects] == [
        (1, "duplicate", "one_note"),
        (2, "duplicate", "one_note"),
    ]
    with pytest.raises(ConstraintRefused, match=r"record 1, column 'note': 'a2'.*one_note") as told:
        load(item, records, on_conflict="upsert", key=["number"])
    assert "and the key 'item_number_key' decides which row is meant" in str(told.value)
    assert "on_conflict='upsert'" not in str(told.value)


def test_a_key_that_others_refer_to_does_not_change(db):
    known = TransactionFactory().account
    other = AccountFactory()
    records = [
        {"id": known.pk + 100, "number": known.number, "name": "x"},
        {"id": other.pk, "number": other.number, "name": "new"},
    ]
    result = load(Account, records, on_conflict="upsert", key=["number"], on_error="reject")
    assert counts(result) == {"updated": 1, "rejected": 1}
    [reject] = result.rejects
    assert (reject.record, reject.kind) == (1, "reference")


def test_a_trigger_that_changes_the_key(item):
    run("""
        CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.number := CASE WHEN NEW.number LIKE 'x%' THEN 'a1' ELSE NEW.number END;
            RETURN CASE WHEN NEW.note = 'gone' THEN NULL ELSE NEW END;
        END $$;
        CREATE TRIGGER change BEFORE INSERT OR UPDATE ON item
            FOR EACH ROW EXECUTE FUNCTION change();
    """)
    records = [
        {"number": "x1", "note": "x"},
        {"number": "a2", "note": "gone"},
        {"number": "a3", "note": "x"},
    ]
    result = load(item, records, on_conflict="upsert", on_error="reject", analyze=False)
    assert counts(result) == {"inserted": 1, "rejected": 2}
    assert "a trigger or a rule keeps it out" in next(iter(result.rejects)).reason
    with pytest.raises(RecordsRefused, match="a trigger or a rule keeps it out"):
        load(item, records, on_conflict="upsert")


def test_a_missing_partition_refuses_its_rows_alone(schema):
    run("""
        CREATE TABLE item (number text, area text, PRIMARY KEY (number, area))
            PARTITION BY LIST (area);
        CREATE TABLE item_a PARTITION OF item FOR VALUES IN ('a');
    """)
    model = make_model(number=models.TextField(primary_key=True), area=models.TextField())
    records = [{"number": "1", "area": "a"}, {"number": "1", "area": "b"}]
    assert upsert(model, records, on_error="reject") == {"inserted": 1, "rejected": 1}
    with pytest.raises(ConstraintRefused, match='no partition of relation "item" found'):
        upsert(model, records)


def test_a_key_of_a_row_that_row_security_hides(schema):
    run("""
        CREATE TABLE item (number text PRIMARY KEY, owner text, note text);
        INSERT INTO item VALUES ('a', 'me', 'x'), ('b', 'you', 'x');
        ALTER TABLE item ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON item USING (owner = 'me');
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'conflicts_role') THEN
                CREATE ROLE conflicts_role;
            END IF;
        END $$;
    """)
    run(f"GRANT USAGE ON SCHEMA {SCHEMA} TO conflicts_role; GRANT ALL ON item TO conflicts_role")
    run("GRANT ALL ON ALL TABLES IN SCHEMA public TO conflicts_role")
    run("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO conflicts_role")
    model = make_model(
        number=models.TextField(primary_key=True),
        owner=models.TextField(),
        note=models.TextField(null=True),
    )
    records = [
        {"number": "a", "owner": "me", "note": "y"},
        {"number": "b", "owner": "me", "note": "y"},
        {"number": "c", "owner": "me", "note": "y"},
        {"number": "d", "owner": "you", "note": "y"},
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE conflicts_role")
    try:
        result = load(model, records, on_conflict="upsert", on_error="reject", analyze=False)
        assert counts(result) == {"inserted": 1, "updated": 1, "rejected": 2}
        hidden, forbidden = result.rejects
        assert "row security hides a row with the same key" in hidden.reason
        assert "row-level security policy" in forbidden.reason
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
        run("DROP OWNED BY conflicts_role; DROP ROLE conflicts_role")
    assert ask("SELECT owner, note FROM item WHERE number = 'b'") == [("you", "x")]
