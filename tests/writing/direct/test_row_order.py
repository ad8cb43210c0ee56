"""Batches go in the order of an index, and nobody can tell but by the places of the rows."""

import pytest
from django.db import models

from ingest import ConstraintRefused, load
from ingest.benchmark.methods.copying import DirectMethod
from tests.writing.direct.tables import ask, make_model, outcome, run, target_of, write

ORDER = "Order: each batch goes in the order of the index 'child_parent_id'."
KEPT = "Indexes: maintained row by row, because the table holds rows already."
SET = "References: 1 foreign key checked as a set."
ROWS = [(9, "a"), (1, "b"), (None, "c"), (5, "d"), (1, "e")]
COLUMNS = ["parent_id", "note"]


@pytest.fixture(autouse=True)
def occupied(tables, monkeypatch):
    monkeypatch.setattr("ingest.writing.row_order.LEAST_INDEX_BYTES", 0)
    run("INSERT INTO child (parent_id, note) VALUES (2, 'old')")


AROUND = "bedac"
"""The notes of these rows by their parents, none last; a batch may begin with any of them."""


def stored(by="id"):
    return ask(f"SELECT id, parent_id, note FROM direct_test.child WHERE id > 1 ORDER BY {by}")


def written(rows=ROWS, **options):
    method = DirectMethod(target_of(make_model()), **options)
    assert write(method, rows) == len(rows)
    return method.decisions


def test_keys_go_by_the_records_and_places_by_the_index():
    assert written() == [KEPT, ORDER, SET]
    assert stored() == [(number, *row) for number, row in enumerate(ROWS, 2)]
    assert "".join(note for _, _, note in stored("ctid")) in AROUND * 2
    run("INSERT INTO child DEFAULT VALUES")
    assert ask("SELECT max(id) FROM direct_test.child")[0][0] >= 7


def test_over_several_batches(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 2)
    rows = [(number % 9 + 1, f"n{number}") for number in range(31)]
    written(rows)
    assert [(parent, note) for _, parent, note in stored()] == rows


def test_batches_begin_at_places_of_their_own(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", len(ROWS))
    written(ROWS * 8)
    notes = "".join(note for _, _, note in stored("ctid"))
    batches = [notes[at : at + len(ROWS)] for at in range(0, len(notes), len(ROWS))]
    assert len(batches) == 8
    assert all(batch in AROUND * 2 for batch in batches)
    assert len(set(batches)) > 2


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_load(is_recorded, monkeypatch):
    if not is_recorded:
        monkeypatch.setattr("ingest.loading.loader.find_whole_ledger", lambda _: {})
    got = load(make_model(), ROWS, columns=COLUMNS)
    assert ORDER in got.decisions
    assert [row[1:] for row in stored()] == ROWS
    assert "".join(note for _, _, note in stored("ctid")) in AROUND * 2


def test_the_record_that_is_refused_is_named():
    run("ALTER TABLE child ADD CONSTRAINT short CHECK (length(note) < 4)")
    method = DirectMethod(target_of(make_model()))
    got = outcome(method, [(9, "a"), (5, "much"), (1, "b"), (2, "c")])
    assert ORDER in method.decisions
    assert "record 2, column 'note': 'much': " in got.message
    assert got.rows == (("2", "old"),)


def test_a_missing_parent_is_named():
    with pytest.raises(ConstraintRefused, match=r"record 3, column 'parent_id': 77: Key"):
        written([(9, "a"), (5, "b"), (77, "c"), (1, "d")])


def test_the_first_record_of_a_key_stays_where_others_are_refused():
    run("CREATE UNIQUE INDEX once ON child (note)")
    rows = [(9, "x"), (1, "x"), (5, "y"), (77, "z"), (2, "y"), (3, "old")]
    got = load(make_model(), rows, columns=COLUMNS, on_error="reject")
    assert any(decision.startswith("Order: ") for decision in got.decisions)
    assert [row[1:] for row in stored()] == [(9, "x"), (5, "y")]
    assert [(reject.record, reject.kind) for reject in got.rejects] == [
        (2, "duplicate"), (4, "reference"), (5, "duplicate"), (6, "duplicate"),
    ]  # fmt: skip


STAY = {
    "small indexes": "",
    "BRIN": "CREATE INDEX places ON child USING brin (id)",
    "CLUSTER": "ALTER TABLE child CLUSTER ON child_parent_id",
    "no index but the key's": "DROP INDEX child_parent_id",
    "an expression alone": "DROP INDEX child_parent_id; CREATE INDEX e ON child (lower(note))",
    "another default": "ALTER TABLE child ADD at timestamptz DEFAULT clock_timestamp()",
    "keys that a function gives": (
        "CREATE FUNCTION next_id() RETURNS bigint LANGUAGE sql VOLATILE AS "
        "'SELECT coalesce(max(id), 0) + 1 FROM direct_test.child'; "
        "ALTER TABLE child ALTER id DROP IDENTITY, ALTER id SET DEFAULT direct_test.next_id()"
    ),
    "a trigger": (
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER t AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION look()"
    ),
}


@pytest.mark.parametrize("case", STAY)
def test_rows_stay_in_the_order_of_the_records(case, monkeypatch):
    if case == "small indexes":
        monkeypatch.setattr("ingest.writing.row_order.LEAST_INDEX_BYTES", 2**30)
    if STAY[case]:
        run(STAY[case])
    assert not any("Order: " in decision for decision in written())
    assert [row[1:] for row in stored("ctid")] == ROWS


def test_rows_stay_in_order_where_indexes_are_to_be_kept():
    assert not any("Order: " in decision for decision in written(indexes="keep"))
    assert [row[1:] for row in stored("ctid")] == ROWS


def test_the_index_whose_first_column_begins_most_bytes():
    run("INSERT INTO child (parent_id, note) "
        "SELECT n % 9 + 1, 'n' || n FROM generate_series(1, 5000) n")  # fmt: skip
    run("CREATE INDEX large ON child (note, id, parent_id); "
        "CREATE INDEX pair ON child (parent_id, note DESC, id, (id + 1)) "
        "INCLUDE (note)")  # fmt: skip
    assert "Order: each batch goes in the order of the index 'pair'." in written()


def test_a_key_that_the_source_gives():
    model = make_model(
        id=models.BigIntegerField(primary_key=True),
        parent_id=models.BigIntegerField(),
    )
    got = load(model, [(30, 9), (20, 1), (25, 5)], columns=["id", "parent_id"])
    assert ORDER in got.decisions
    keys = tuple(row[0] for row in stored("ctid"))
    assert keys in {(20, 25, 30), (25, 30, 20), (30, 20, 25)}
