"""A zip archive with one file."""

import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest import detect
from ingest.exceptions import SourceError
from ingest.sources import SourceOptions, open_source
from tests.sources.read_source import Pipe, read
from tests.sources.workbooks import make, make_locked


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(given, **options):
    with pytest.raises(SourceError) as caught:
        read(given, **options)
    return str(caught.value)


def test_the_one_file_is_read_in_its_format(tmp_path):
    make(tmp_path / "rows.xlsx", [["a"], [1], ["x"]])
    pq.write_table(pa.table({"a": ["1", "x"]}), tmp_path / "rows.parquet")
    contents = {
        "rows.csv": b"a\n1\nx\n",
        "rows.jsonl": b'{"a": "1"}\n{"a": "x"}\n',
        "rows.json": b'[{"a": "1"}, {"a": "x"}]',
        "rows.xlsx": (tmp_path / "rows.xlsx").read_bytes(),
        "rows.parquet": (tmp_path / "rows.parquet").read_bytes(),
    }
    for name, content in contents.items():
        path = zipped(tmp_path / "rows.zip", **{name: content})
        got = read(path)
        cells = [cell for (cell,) in got.rows]
        shown = [it.decode() if isinstance(it, bytes) else str(it) for it in cells]
        assert (name, got.columns, shown) == (name, ("a",), ["1", "x"])
        assert got.name == f"{path}/{name}"
        assert got.bytes_read == got.bytes_total


def test_by_any_way_and_with_options(tmp_path):
    path = zipped(tmp_path / "rows.zip", **{"rows.txt": b"a;b\n1;2\n"})
    content = path.read_bytes()
    for given in (Pipe(content), io.BytesIO(content)):
        assert read(given, format="zip", delimiter=";").texts == [("1", "2")]
    with open_source(path, SourceOptions(delimiter=";")) as source:
        assert (source.format, source.read_format) == ("zip", "delimited")
        assert "sheet" in source.ignores
    found = detect(path)
    assert (found.options.delimiter, len(found.columns)) == (";", 2)


def test_several_files_none_and_archives_are_refused_by_name(tmp_path):
    path = zipped(tmp_path / "two.zip", **{"a.csv": "a\n", "b/c.csv": "a\n"})
    assert refused(path) == (
        f"{path} has 2 files, and must have one: 'a.csv', 'b/c.csv'. Unpack it, and load them as "
        "several files."
    )
    path = zipped(tmp_path / "none.zip")
    assert refused(path) == f"{path} has 0 files, and must have one: there is nothing to load."
    path = zipped(tmp_path / "nested.zip", **{"a.zip": b"PK\x03\x04"})
    assert refused(path) == f"{path} has a zip archive in it: unpack it."


def test_names_with_path_parts_do_no_harm(tmp_path):
    for name in ("../../etc/rows.csv", "/rows.csv", "C:\\x\\rows.csv", "a/\x1b[31mrows.csv"):
        path = zipped(tmp_path / "rows.zip", **{name: "a\n1\n", "__MACOSX/._rows.csv": "x"})
        got = read(path)
        assert got.texts == [("1",)]
        assert "\x1b" not in got.name
    assert sorted(it.name for it in tmp_path.iterdir()) == ["rows.zip"]


def test_a_password_is_told(tmp_path):
    path = make_locked(tmp_path / "rows.zip")
    assert refused(path) == f"{path} is protected by a password: save it without one."


def test_bombs_and_damage(tmp_path):
    path = zipped(tmp_path / "bomb.zip", **{"rows.csv": b"a\n" + bytes(80 << 20)})
    assert "times its size" in refused(path)
    path = zipped(tmp_path / "cut.zip", **{"rows.csv": "a\n1\n"})
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    assert "is truncated or damaged" in refused(path)
    broken = content.replace(b"a\n1\n", b"a\n2\n") if b"a\n1\n" in content else content
    path.write_bytes(broken)
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("rows.csv", "a\n1\n")
    plain.write_bytes(plain.read_bytes().replace(b"a\n1\n", b"a\n2\n", 1))
    assert "is truncated or damaged: its member 'rows.csv'" in refused(plain)
