"""The preview of a load with ``on_conflict``: what would become of each record."""

import json
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import models, transaction

from ingest import ConfigurationError, Layout, preview
from ingest.layout.definition import Conflict
from tests.writing.conflicts.tables import ask, make_model, run

RECORDS = [
    {"number": "a1", "amount": "1.0", "note": "one"},
    {"number": "a2", "amount": "2", "note": "two"},
    {"number": "a3", "amount": "3", "note": "three"},
]


def see(model, records, **options):
    found = preview(model, records, rows=20, **{"on_conflict": "upsert", **options})
    pairs = zip(found.records, found.outcomes, strict=True)
    return {record: (each.what, each.changes) for record, each in pairs}, found


def rows():
    return ask("SELECT number, amount, note FROM item ORDER BY number")


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("upsert", {1: "unchanged", 2: "update", 3: "insert"}),
        ("ignore", {1: "ignored", 2: "ignored", 3: "insert"}),
        ("update", {1: "unchanged", 2: "update"}),
    ],
)
def test_a_preview_shows_what_would_happen_to_each_record(item, mode, want):
    before = rows()
    got, found = see(item, RECORDS, on_conflict=mode)
    assert {record: what for record, (what, _) in got.items()} == want
    assert rows() == before
    if "update" in want.values():
        assert got[2][1] == {"note": (None, "two")}
    assert [reject.kind for reject in found.rejects] == (["missing"] if mode == "update" else [])


def test_a_sync_is_shown_as_an_upsert(item):
    got, _ = see(item, RECORDS, on_conflict="sync", scope="all")
    assert {record: what for record, (what, _) in got.items()} == {
        1: "unchanged",
        2: "update",
        3: "insert",
    }
    assert len(rows()) == 2


def test_the_conflict_of_a_layout_is_shown_as_it_would_be_loaded(item):
    layout = Layout(others="match", conflict=Conflict(on_conflict="upsert", key=("number",)))
    found = preview(item, RECORDS, rows=20, layout=layout)
    assert [each.what for each in found.outcomes] == ["unchanged", "update", "insert"]
    found = preview(item, RECORDS, rows=20, layout=layout, on_conflict="ignore")
    assert [each.what for each in found.outcomes] == ["ignored", "ignored", "insert"]


def test_values_are_those_of_the_table(item):
    got, _ = see(item, [{"number": "a1", "amount": "1.50", "note": None}], keep_if_null=["note"])
    assert got == {1: ("update", {"amount": (Decimal("1.00"), Decimal("1.50"))})}


def test_what_postgresql_refuses_is_a_reject(item):
    run("ALTER TABLE item ADD CONSTRAINT small CHECK (amount < 100)")
    records = [*RECORDS, {"number": "a1", "amount": "100", "note": "x"}]
    records += [{"number": "a4", "amount": "100", "note": "y"}, {"number": "a5", "amount": "x"}]
    got, found = see(item, records)
    assert list(got) == [1, 2, 3]
    assert [(each.record, each.kind, each.constraint) for each in found.rejects] == [
        (4, "duplicate", "item_number_key"),
        (5, "constraint", "small"),
        (6, "parse", None),
    ]


@pytest.mark.parametrize(
    ("duplicates", "want"),
    [("first", {1: "insert", 2: "skipped"}), ("last", {1: "insert", 2: "update"})],
)
def test_a_preview_settles_records_of_one_key(item, duplicates, want):
    records = [{"number": "b", "amount": "1"}, {"number": "b", "amount": "2"}]
    got, found = see(item, records, duplicates=duplicates)
    assert {record: what for record, (what, _) in got.items()} == want
    assert not found.rejects


def test_json_and_arrays(schema):
    run("CREATE TABLE item (id uuid PRIMARY KEY, facts jsonb, words text[])")
    run("""INSERT INTO item VALUES ('00000000-0000-0000-0000-000000000001',
        '{"a": 1, "b": [2]}', '{x,y}')""")
    from django.contrib.postgres.fields import ArrayField

    model = make_model(
        id=models.UUIDField(primary_key=True),
        facts=models.JSONField(),
        words=ArrayField(models.TextField()),
    )
    record = {"id": "00000000-0000-0000-0000-000000000001"}
    got, _ = see(model, [{**record, "facts": {"b": [2], "a": 1}, "words": ["x", "y"]}])
    assert got == {1: ("unchanged", {})}
    got, _ = see(model, [{**record, "facts": {"a": 1}, "words": ["x"]}])
    what, changes = got[1]
    assert what == "update"
    assert changes["words"] == (["x", "y"], ["x"])
    assert [json.loads(each) for each in changes["facts"]] == [{"a": 1, "b": [2]}, {"a": 1}]


def test_in_a_transaction_of_the_caller(item):
    with transaction.atomic():
        run("UPDATE conflicts_test.item SET note = 'mine' WHERE number = 'a2'")
        got, _ = see(item, RECORDS)
        assert got[2] == ("update", {"note": ("mine", "two")})
        assert rows()[1] == ("a2", Decimal(2), "mine")
        assert len(rows()) == 2


def test_options_that_do_not_fit(item):
    with pytest.raises(ConfigurationError, match="has no unique key of note"):
        see(item, RECORDS, key=["note"])


def test_the_command_shows_old_and_new(tmp_path, capsys):
    from tests.factories import AccountFactory

    account = AccountFactory(number="DE1", name="Giro")
    path = tmp_path / "accounts.csv"
    path.write_text(f"number,name,user_id\nDE1,Main,{account.user_id}\nDE2,New,{account.user_id}\n")
    call_command(
        *("bulk_load", "finance.Account", str(path), "--preview", "--on-conflict", "upsert"),
        *("--key", "number"),
    )
    shown = capsys.readouterr().out
    assert "what happens" in shown
    assert "Giro → Main" in shown
    account.refresh_from_db()
    assert account.name == "Giro"
