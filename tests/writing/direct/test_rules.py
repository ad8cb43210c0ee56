"""Rules and views: what COPY would pass over, or cannot write, is refused before the first row."""

import pytest
from django.db import models

from ingest import ConfigurationError, UnsupportedModelError, load
from tests.writing.direct.tables import SCHEMA, ask, make_model, run

RULES = {
    "DO ALSO": "DO ALSO INSERT INTO direct_test.noted VALUES (NEW.note)",
    "DO INSTEAD NOTHING": "WHERE NEW.note = 'spam' DO INSTEAD NOTHING",
    "DO INSTEAD": "DO INSTEAD INSERT INTO direct_test.noted VALUES (NEW.note)",
}
NOTE = {"note": models.TextField()}


@pytest.mark.parametrize("options", [{}, {"on_error": "reject"}, {"method": "copy"},
                                     {"dry_run": True}, {"chunk_rows": 1}])  # fmt: skip
@pytest.mark.parametrize("case", RULES)
def test_a_table_with_a_rule_on_insert_is_refused(tables, case, options):
    run(f"CREATE TABLE noted (note text); CREATE RULE seen AS ON INSERT TO child {RULES[case]}")
    read = []

    def rows():
        for note in ("spam", "good"):
            read.append(note)
            yield {"note": note}

    with pytest.raises(UnsupportedModelError) as caught:
        load(make_model(**NOTE), rows(), **options)
    assert str(caught.value) == (
        '"direct_test"."child" has the rule \'seen\' on INSERT, which COPY would pass over: use '
        'the ORM, or drop it (DROP RULE "seen" ON "direct_test"."child"). Nothing was loaded.'
    )
    assert ask(f"SELECT count(*) FROM {SCHEMA}.child") == [(0,)]
    run("ALTER TABLE child DISABLE RULE seen")
    assert load(make_model(**NOTE), [{"note": "a"}]).rows == 1
    assert ask(f"SELECT note FROM {SCHEMA}.child") == [("a",)]


def test_rules_on_update_and_delete_do_not_matter(tables):
    run("CREATE RULE kept AS ON DELETE TO child DO INSTEAD NOTHING; "
        "CREATE RULE fixed AS ON UPDATE TO child DO INSTEAD NOTHING")  # fmt: skip
    assert load(make_model(**NOTE), [{"note": "a"}]).rows == 1


def test_a_rule_that_appears_between_two_chunks(tables):
    def rows():
        yield {"note": "a"}
        yield {"note": "b"}
        run("CREATE RULE seen AS ON INSERT TO child DO INSTEAD NOTHING")
        yield {"note": "c"}
        yield {"note": "d"}

    with pytest.raises(Exception, match="was changed while rows were loaded into it"):
        load(make_model(**NOTE), rows(), chunk_rows=1)


VIEWS = {
    "view": ("CREATE VIEW seen AS SELECT * FROM child", "a view"),
    "materialized view": ("CREATE MATERIALIZED VIEW seen AS SELECT * FROM child",
                          "a materialized view"),
    "trigger of another kind": (
        ("CREATE VIEW seen AS SELECT * FROM child; CREATE FUNCTION take() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER t INSTEAD OF DELETE ON seen "
        "FOR EACH ROW EXECUTE FUNCTION take()"),
        "a view",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VIEWS)
def test_a_view_that_copy_cannot_write(tables, case):
    sql, kind = VIEWS[case]
    run(sql)
    with pytest.raises(UnsupportedModelError) as caught:
        load(make_model("seen", **NOTE), [{"note": "a"}])
    assert str(caught.value) == (
        f'"direct_test"."seen" is {kind}, to which COPY cannot write: load into its table, or '
        "give the view an INSTEAD OF INSERT trigger. Nothing was loaded."
    )


def test_a_view_whose_rule_inserts_is_refused_as_a_rule(tables):
    run("CREATE VIEW seen AS SELECT * FROM child; CREATE RULE put AS ON INSERT TO seen "
        "DO INSTEAD INSERT INTO direct_test.child (note) VALUES (NEW.note)")  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="has the rule 'put' on INSERT"):
        load(make_model("seen", **NOTE), [{"note": "a"}])


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_a_view_whose_trigger_takes_the_rows(tables, on_error):
    run("CREATE VIEW seen AS SELECT * FROM child; "
        "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.note = 'spam' THEN RAISE check_violation; END IF; "
        "INSERT INTO direct_test.child (note) VALUES (upper(NEW.note)); RETURN NEW; END $$; "
        "CREATE TRIGGER t INSTEAD OF INSERT ON seen FOR EACH ROW "
        "EXECUTE FUNCTION take()")  # fmt: skip
    rows = [{"id": 1, "note": "a"}, {"id": 2, "note": "b"}]
    if on_error == "reject":
        rows.insert(1, {"id": 3, "note": "spam"})
    model = make_model("seen", id=models.BigIntegerField(primary_key=True), **NOTE)
    got = load(model, rows, on_error=on_error)
    assert (got.rows, got.rejected) == (2, len(rows) - 2)
    assert ask(f"SELECT note FROM {SCHEMA}.child ORDER BY id") == [("A",), ("B",)]
    assert any("cannot be undone" in item for item in got.decisions)
    with pytest.raises(ConfigurationError, match="is a view, which has none: load into its table"):
        load(model, rows, on_conflict="upsert")


@pytest.mark.parametrize("on_error", ["abort", "reject"])
@pytest.mark.parametrize("is_view", [True, False])
def test_an_automatic_key_that_a_trigger_sets(tables, is_view, on_error):
    """The ORM leaves the key out, and so does a load."""
    run("CREATE TABLE plain (id integer PRIMARY KEY, note text); CREATE SEQUENCE numbers START 7; "
        "CREATE VIEW seen AS SELECT * FROM plain; "
        "CREATE FUNCTION number() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.id = nextval('direct_test.numbers'); "
        "IF TG_OP = 'INSERT' AND TG_WHEN = 'INSTEAD OF' THEN "
        "INSERT INTO direct_test.plain VALUES (NEW.*); END IF; RETURN NEW; END $$; "
        "CREATE TRIGGER t BEFORE INSERT ON plain FOR EACH ROW WHEN (NEW.id IS NULL) "
        "EXECUTE FUNCTION number(); "
        "CREATE TRIGGER t INSTEAD OF INSERT ON seen FOR EACH ROW "
        "EXECUTE FUNCTION number()")  # fmt: skip
    model = make_model("seen" if is_view else "plain", id=models.AutoField(primary_key=True),
                       **NOTE)  # fmt: skip
    got = load(model, [{"note": "a"}, {"note": "b"}], on_error=on_error)
    assert got.rows == 2
    notes = [note for _, note in ask(f"SELECT id, note FROM {SCHEMA}.plain WHERE id >= 7")]
    assert sorted(notes) == ["a", "b"]
    assert any("cannot be undone" in item for item in got.decisions)
