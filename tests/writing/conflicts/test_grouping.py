"""Several batches are settled together, and new rows are inserted in the order of the key."""

import pytest
from django.db import models

from ingest import load
from ingest.exceptions import ConstraintRefused
from ingest.writing import staging
from ingest.writing.conflicts import grouping
from ingest.writing.conflicts.references import FEW_ROWS
from ingest.writing.conflicts.writer import ConflictWriter
from tests.writing.conflicts.tables import ask, counts, make_model, run

HEADER = b"number,note\n"
TRIGGER = """
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER note BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION note()
"""


@pytest.fixture
def numbered(schema):
    run("CREATE TABLE item (id serial PRIMARY KEY, number text NOT NULL UNIQUE, note text)")
    return make_model(
        number=models.TextField(unique=True), note=models.TextField(null=True, blank=True)
    )


def test_keys_follow_the_source_where_rows_do_not(numbered, monkeypatch):
    """So it is from the first batch of many records on, however few the first one has."""
    few, count = 4_000, 4_000 + FEW_ROWS + 1
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", few)
    monkeypatch.setattr(ConflictWriter, "_may_wait", lambda _: True)  # however busy the server is
    numbers = [f"n{place * 7_919 % 20_011:05}" for place in range(count)]
    result = load(
        numbered,
        ((number, "") for number in numbers),
        columns=["number", "note"],
        on_conflict="upsert",
        analyze=False,
    )
    assert counts(result) == {"inserted": count}
    assert [number for (number,) in ask("SELECT number FROM item ORDER BY id")] == numbers
    # Neighbours of the key lie beside one another.
    lying = [number for (number,) in ask("SELECT number FROM item ORDER BY ctid")]
    assert lying == numbers[:few] + sorted(numbers[few:])


@pytest.mark.parametrize(
    "made",
    [
        TRIGGER,
        "ALTER TABLE item ADD COLUMN other serial",
    ],
)
def test_rows_keep_their_order_where_somebody_may_notice(numbered, made):
    run(made)
    numbers = [f"n{place * 7_919 % 20_011:05}" for place in range(FEW_ROWS + 1)]
    load(
        numbered,
        ((number, "") for number in numbers),
        columns=["number", "note"],
        on_conflict="upsert",
        analyze=False,
    )
    assert [number for (number,) in ask("SELECT number FROM item ORDER BY ctid")] == numbers


def written(path, records):
    path.write_bytes(HEADER + b"".join(b"%b,%b\n" % record for record in records))
    return path


def test_batches_that_are_read_meanwhile_are_joined(numbered, tmp_path, monkeypatch):
    """Records, lines and texts of what was refused are those of the file."""
    run("ALTER TABLE item ADD CONSTRAINT good CHECK (note <> 'bad')")
    monkeypatch.setattr("ingest.sources.delimited.BLOCK_BYTES", 2_000)
    monkeypatch.setattr(ConflictWriter, "_may_wait", lambda _: True)  # however busy the server is
    sizes = []
    join = grouping.joined
    monkeypatch.setattr(grouping, "joined", lambda group: sizes.append(len(group)) or join(group))
    records = [(b"n%d" % place, b"x" * 40) for place in range(3_000)]
    records[1_000] = (b"", b"no number")
    records[1_500] = (b"n1500", b"bad")
    records[2_000] = (b"n2000", b"one")
    records[2_500] = (b"n7", b"again")
    path = written(tmp_path / "rows.csv", records)
    text = path.read_bytes().replace(b"n2000,one\n", b"n2000\n")
    path.write_bytes(text)
    result = load(
        numbered,
        path,
        on_conflict="upsert",
        on_error="reject",
        reject_file=tmp_path / "rejects.csv",
    )
    assert max(sizes) > 1
    assert counts(result) == {"inserted": 2_996, "rejected": 4}
    got = [(it.record, it.line, it.kind, it.value) for it in result.rejects]
    assert got == [
        (1_001, 1_002, "value", ""),
        (1_501, 1_502, "constraint", "bad"),
        (2_001, 2_002, "parse", "n2000"),
        (2_501, 2_502, "duplicate", "n7"),
    ]
    left = (tmp_path / "rejects.csv").read_bytes().splitlines()[1:]
    assert [line.split(b",")[0] for line in left] == [b"", b"n1500", b"n2000", b"n7"]


@pytest.mark.parametrize("aborts", [False, True])
def test_a_group_is_staged_by_several_copies(numbered, monkeypatch, aborts):
    """A value that only its type refuses is found in whichever of them it is sent."""
    run("CREATE TYPE mood AS ENUM ('ok')")
    run("ALTER TABLE item ALTER COLUMN note TYPE mood USING note::mood")
    monkeypatch.setattr(staging, "PIECE_BYTES", 1_000)
    copies = []
    filling = staging.StagingTable.filling

    def noted(stage, rows, places):
        copies.append(rows.num_rows)
        return filling(stage, rows, places)

    monkeypatch.setattr(staging.StagingTable, "filling", noted)
    records = [(f"n{place}", "ok") for place in range(600)]
    for place in (0, 301, 302, 599):
        records[place] = (f"n{place}", "bad")
    options = {"columns": ["number", "note"], "on_conflict": "upsert", "analyze": False}
    if aborts:
        with pytest.raises(ConstraintRefused, match="record 1, column 'note': 'bad'"):
            load(numbered, records, **options)
        assert ask("SELECT count(*) FROM item") == [(0,)]
        return
    result = load(numbered, records, on_error="reject", **options)
    assert counts(result) == {"inserted": 596, "rejected": 4}
    assert [(it.record, it.value) for it in result.rejects] == [
        (record, "bad") for record in (1, 302, 303, 600)
    ]
    stored = ask("SELECT array_agg(number) FROM (SELECT number FROM item ORDER BY id) i")
    assert stored == [([number for number, note in records if note == "ok"],)]
    assert copies[0] < len(records)
