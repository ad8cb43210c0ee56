"""Batches of small files that are joined: nothing of a record, or of its place, is lost."""

import gzip
import json
import random

import pytest

from ingest.exceptions import SourceError
from ingest.sources import SourceOptions, joining, open_source
from ingest.sources.batch import in_pieces
from ingest.sources.joining import FEW_RECORDS, MOST_FILES, join_small

FILES = 30
BAD = {"csv": ("1\n", "1,2,3\n", 'x,"y"z\n', "\n"), "jsonl": ('{"x": 1}\n', "{\n", "\n")}


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch):
    monkeypatch.setattr(joining, "MOST_SECONDS", 60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Thirty files of 0 to 9 records in two formats, and columns in two orders."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(17)
    for number in range(FILES):
        kind = "jsonl" if number // 5 % 2 else "csv"
        names = ["x", "y"] if number % 3 else ["y", "x"]
        lines = []
        for at in range(rng.randrange(10) if kind == "csv" else rng.randrange(1, 10)):
            values = {"x": f"{number}:{at}", "y": at}
            values = {name: values[name] for name in names}
            lines.append(
                ",".join(map(str, values.values())) if kind == "csv" else json.dumps(values)
            )
            lines[-1] += "\n"
            if rng.random() < 0.3:
                lines.append(rng.choice(BAD[kind]))
        head = ",".join(names) + "\n" if kind == "csv" else ""
        text = (head + "".join(lines)).encode()
        if number % 7 == 6:
            (tmp_path / f"{number:02}.{kind}.gz").write_bytes(gzip.compress(text))
        else:
            (tmp_path / f"{number:02}.{kind}").write_bytes(text)
    return tmp_path


def everything(batches):
    """Return what is known of each record, of the refused ones too, and what is counted."""
    records, rejects, counted = [], [], []
    for batch in batches:
        columns = [
            column if isinstance(column, list) else column.to_pylist() for column in batch.columns
        ]
        for record, cells in zip(batch.records, zip(*columns, strict=True), strict=True):
            found = batch.find_line(record), batch.find_position(record)
            fits = record in batch.padded, record in batch.cut
            records.append((batch.origin(record), cells, *found, *fits))
        for reject, told in zip(batch.rejects, batch.told(batch.rejects), strict=True):
            given = batch.misfits.get(reject.record)
            cells = None if given is None else batch.split_misfit(reject.record, given)
            rejects.append((told, given, cells))
            assert batch.find_line(reject.record) == told.line
        counted.append((batch.records_read, batch.skipped))
    return records, rejects, tuple(map(sum, zip(*counted, strict=True)))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("options", [{}, {"lenient": ("pad", "cut")}])
def test_records_and_rejects_keep_their_files_numbers_lines_and_positions(options):
    options = SourceOptions(**options)
    with open_source("*", options) as source:
        want = everything(source.batches())
    with open_source("*", options) as source:
        joined = list(join_small(source.batches()))
    assert everything(joined) == want
    assert len(joined) == FILES / 5  # the formats come by fives
    assert want[0]
    assert want[1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("rows", [1, 4, 25])
def test_pieces_of_joined_batches(rows):
    with open_source("*") as source:
        want = everything(source.batches())
    with open_source("*") as source:
        assert everything(in_pieces(join_small(source.batches()), rows)) == want


def test_what_is_large_stays_alone(tmp_path):
    rows = [3, 2, FEW_RECORDS + 1, 1, 1]
    for number, count in enumerate(rows):
        (tmp_path / f"{number}.csv").write_text("x\n" + "1\n" * count)
    with open_source(str(tmp_path / "*.csv")) as source:
        joined = list(join_small(source.batches()))
    assert [len(batch.records) for batch in joined] == [5, FEW_RECORDS + 1, 2]
    assert joined[0].source == f"one of the files from {tmp_path}/0.csv to {tmp_path}/1.csv"


def test_no_more_files_than_may_be_kept(tmp_path):
    for number in range(MOST_FILES + 2):
        (tmp_path / f"{number:03}.csv").write_text("x\n1\n")
    with open_source(str(tmp_path / "*.csv")) as source:
        joined = [len(batch.records) for batch in join_small(source.batches())]
    assert joined == [MOST_FILES, 2]


def test_records_do_not_wait_long_for_others(tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "MOST_SECONDS", 0)
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("x\n1\n")
    with open_source(str(tmp_path / "*.csv")) as source:
        assert [batch.files for batch in join_small(source.batches())] == [None] * 3


def test_what_was_read_goes_on_before_an_error(tmp_path):
    for number, name in enumerate("xxy"):
        (tmp_path / f"{number}.csv").write_text(f"{name}\n1\n")
    with open_source(str(tmp_path / "*.csv")) as source:
        batches = join_small(source.batches())
        assert len(next(batches).records) == 2
        with pytest.raises(SourceError, match="has a column 'y'"):
            next(batches)
