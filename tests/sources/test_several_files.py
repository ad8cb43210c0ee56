import os
from pathlib import Path

import pytest

from ingest.exceptions import SourceError
from tests.sources.read_source import read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("x,y\n1,2\n3\n")
    Path("b.csv").write_text("y,x\n5,4\n\n6\n")
    Path("c.jsonl").write_text('{"x": 7, "y": 8}\n{"x": 9}\n')
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_each_record_is_named_in_its_own_file():
    got = read(["a.csv", Path("b.csv"), "c.jsonl"])
    assert got.columns == ("x", "y")
    assert got.rows == [(b"1", b"2"), (b"4", b"5"), (7, 8)]
    assert got.sources == ["a.csv", "b.csv", "c.jsonl"]
    assert got.records == [1, 1, 1]
    assert got.lines == [2, 2, 1]
    where = [(reject.source, reject.record, reject.line) for reject in got.rejects]
    assert where == [("a.csv", 2, 3), ("b.csv", 2, 4), ("c.jsonl", 2, 2)]
    assert got.name == "3 files from a.csv to c.jsonl"
    assert got.bytes_read == got.bytes_total == sum(map(os.path.getsize, os.listdir()))  # noqa: PTH208


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("pattern", ["*.csv", "[ab].csv", "?.csv", "**/*.csv"])
def test_a_pattern(pattern):
    assert read(pattern).sources == ["a.csv", "b.csv"]
    assert read([pattern, "c.jsonl"]).sources == ["a.csv", "b.csv", "c.jsonl"]


@pytest.mark.usefixtures("folder")
def test_a_file_whose_name_is_like_a_pattern():
    Path("[ab].csv").write_text("x\n1\n")
    got = read("[ab].csv")
    assert (got.name, got.texts, got.sources) == ("[ab].csv", [("1",)], ["[ab].csv"])


@pytest.mark.usefixtures("folder")
def test_a_pattern_that_no_file_is_like():
    with pytest.raises(SourceError) as caught:
        read("z*.csv")
    assert str(caught.value) == "No file matches 'z*.csv'."


@pytest.mark.usefixtures("folder")
def test_one_file_that_is_not_there():
    with pytest.raises(SourceError, match=r"There is no file 'd\.csv'\."):
        read(["a.csv", "d.csv"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("header", "want"),
    [
        (
            "x,yy",
            "d.csv, unlike a.csv, has a column 'yy'. Did you mean 'y'?",
        ),
        (
            "x",
            "d.csv, unlike a.csv, has no column 'y'.",
        ),
        (
            "x,y,y",
            "d.csv, unlike a.csv, has a column 'y'. Did you mean 'y'?",
        ),
    ],
)
def test_columns_that_do_not_agree(header, want):
    Path("d.csv").write_text(header + "\n")
    with pytest.raises(SourceError) as caught:
        read(["a.csv", "d.csv"])
    assert str(caught.value) == f"{want} Files that are loaded together must have the same columns."


@pytest.mark.usefixtures("folder")
def test_columns_of_one_name_in_another_order():
    Path("d.csv").write_text("x,y,x\n1,2,3\n")
    Path("e.csv").write_text("x,x,y\n1,2,3\n")
    assert read(["d.csv", "d.csv"]).texts == [("1", "2", "3")] * 2
    with pytest.raises(SourceError, match="two of them are called 'x'"):
        read(["d.csv", "e.csv"])


@pytest.mark.usefixtures("folder")
def test_preambles_and_trailers_are_those_of_each_file():
    for name in ("d.csv", "e.csv"):
        Path(name).write_text("bank\nx,y\n1,2\ntotal,2\n")
    got = read(["d.csv", "e.csv"], skip_records=1, trailer_records=1)
    assert (got.texts, got.skipped, got.lines) == ([("1", "2")] * 2, 2, [3, 3])
