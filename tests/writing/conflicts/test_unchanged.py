"""When a record changes nothing, whatever the type; and the options in a layout and the command."""

from decimal import Decimal

import pytest
from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.core.management import call_command
from django.db import models

from finance.models import Account
from ingest import load
from ingest.ledger.undo import undo
from tests.factories import AccountFactory
from tests.writing.conflicts.tables import ask, counts, make_model, run, upsert

TYPES = {
    "numeric": ("numeric", models.DecimalField(max_digits=9, decimal_places=4), "1.50", "1.51"),
    "real": ("float8", models.FloatField(), "1.5", "2.5"),
    "text": ("text", models.TextField(), "a", "A"),
    "varchar": ("varchar(9)", models.CharField(max_length=9), "a", "b"),
    "json": ("jsonb", models.JSONField(), {"b": 1, "a": [1, None]}, {"a": [1, 2]}),
    "plain json": ("json", models.JSONField(), {"a": 1}, {"a": 2}),
    "array": (
        "numeric[]",
        ArrayField(models.DecimalField(max_digits=9, decimal_places=4)),
        [Decimal("1.0"), Decimal(2)],
        [Decimal("1.0"), Decimal(3)],
    ),
    "texts": ("text[]", ArrayField(models.TextField(), size=None), ["a", "b"], ["a", "B"]),
    "range": ("int4range", IntegerRangeField(), (1, 5), (1, 6)),
    "interval": ("interval", models.DurationField(), "30 00:00:00", "31 00:00:00"),
    "date": ("date", models.DateField(), "2025-01-31", "2025-02-01"),
    "moment": ("timestamptz", models.DateTimeField(), "2025-01-31T10:00Z", "2025-01-31T11:00Z"),
    "uuid": ("uuid", models.UUIDField(), "0" * 32, "1" * 32),
    "bytes": ("bytea", models.BinaryField(), b"a", b"b"),
    "address": ("inet", models.GenericIPAddressField(), "10.0.0.1", "10.0.0.2"),
    "boolean": ("boolean", models.BooleanField(null=True), True, False),
}


@pytest.mark.parametrize("kind", TYPES)
def test_equal_values_of_a_type_are_unchanged(schema, kind):
    sql_type, field, old, new = TYPES[kind]
    run(f"CREATE TABLE item (number text PRIMARY KEY, value {sql_type})")
    field.null = field.blank = True
    model = make_model(number=models.TextField(primary_key=True), value=field.clone())
    given = (old, new, None, None)
    assert upsert(model, [{"number": "a", "value": old}]) == {"inserted": 1}
    got = [upsert(model, [{"number": "a", "value": value}]) for value in (old, *given[1:])]
    assert got == [{"unchanged": 1}, {"updated": 1}, {"updated": 1}, {"unchanged": 1}]


def test_a_numeric_of_another_scale_is_the_same(schema):
    run("CREATE TABLE item (number text PRIMARY KEY, value numeric)")
    run("INSERT INTO item VALUES ('a', 1.5)")
    model = make_model(
        number=models.TextField(primary_key=True),
        value=models.DecimalField(max_digits=9, decimal_places=4),
    )
    assert upsert(model, [{"number": "a", "value": "1.5000"}]) == {"unchanged": 1}


@pytest.mark.parametrize("duplicates", ["reject", "last"])
@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ('{"a":1,"b":[2]}', '{"b": [2], "a": 1.0}', True),
        ('{"a":1,"a":2}', '{"a":2}', True),
        ("[1,2]", "[2,1]", False),
        (r'"\u0000"', r'"\u0000"', True),
        (r'"\u0000"', r' "\u0000"', False),  # as texts: jsonb refuses the character
        ("1e999999", " 1e999999", False),  # likewise the number
        ("1e300", "1.0e300", True),
    ],
)
def test_texts_of_json_may_be_one_value(schema, old, new, is_same, duplicates):
    run("CREATE TABLE item (number text PRIMARY KEY, value json)")
    model = make_model(number=models.TextField(primary_key=True), value=models.TextField())
    upsert(model, [{"number": "a", "value": old}])
    got = upsert(model, [{"number": "a", "value": new}], duplicates=duplicates)
    assert got == {"unchanged" if is_same else "updated": 1}


def test_columns_with_the_names_of_ours(schema):
    run("""
        CREATE TABLE item (
            ingest_k1 text PRIMARY KEY, ingest_what text, place text, s text, t text
        );
        INSERT INTO item VALUES ('a', '1', '1', '1', '1')
    """)
    names = ("ingest_what", "place", "s", "t")
    model = make_model(
        ingest_k1=models.TextField(primary_key=True), **{name: models.TextField() for name in names}
    )
    for duplicates in ("reject", "last"):
        records = [{"ingest_k1": key, **dict.fromkeys(names, "2")} for key in ("a", duplicates)]
        upsert(model, records, duplicates=duplicates)
    assert ask("SELECT DISTINCT ingest_what, place, s, t FROM item") == [("2", "2", "2", "2")]


def test_a_layout_says_what_becomes_of_conflicts(db, tmp_path):
    known = AccountFactory(number="n1", name="old")
    layout = tmp_path / "accounts.toml"
    layout.write_text(
        f"""
        model = "finance.Account"
        [conflict]
        on_conflict = "upsert"
        key = "number"
        update_fields = ["name"]
        keep_old = true
        [fields]
        number = "No"
        name = "Name"
        user = {{constant = {known.user_id}}}
        """,
        encoding="utf-8",
    )
    path = tmp_path / "rows.csv"
    path.write_text("No,Name\nn1,new\nn2,two\n", encoding="utf-8")
    first = load(Account, path, layout=layout)
    assert counts(first) == {"inserted": 1, "updated": 1}
    again = load(Account, path, layout=layout, on_conflict="ignore")
    assert counts(again) == {"ignored": 2}
    undo(first.load.pk)
    assert list(Account.objects.values_list("number", "name")) == [("n1", "old")]


def test_the_command(db, tmp_path, capsys):
    known = AccountFactory(number="n1", name="old")
    path = tmp_path / "rows.csv"
    path.write_text(f"number,name,user\nn1,new,{known.user_id}\n", encoding="utf-8")
    call_command(
        *("bulk_load", "finance.Account", str(path), "--on-conflict", "upsert"),
        *("--key", "number", "--update-fields", "name", "--duplicates", "first"),
    )
    known.refresh_from_db()
    assert known.name == "new"
    assert "1 updated" in capsys.readouterr().out
