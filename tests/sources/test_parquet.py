import datetime as dt
import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from ingest.exceptions import SourceError
from ingest.sources import parquet
from tests.sources.read_source import Pipe, read

TABLE = pa.table(
    {
        "number": list(range(1000)),
        "amount": [Decimal("1.10")] * 1000,
        "day": [dt.date(2026, 1, 2)] * 1000,
        "raw": [b"\xff"] * 1000,
        "word": pa.array(["a", None] * 500).dictionary_encode(),
    }
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.parquet"
    pyarrow.parquet.write_table(TABLE, path, row_group_size=300)
    return path


def test_values_keep_their_types(path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 70)
    got = read(path)
    assert got.columns == tuple(TABLE.column_names)
    assert got.rows == [tuple(row.values()) for row in TABLE.to_pylist()]
    assert got.records == list(range(1, 1001))
    assert got.bytes_read == got.bytes_total == path.stat().st_size
    assert got.lines == [None] * 1000


def test_an_open_file(path):
    with path.open("rb") as file:
        assert len(read(file).rows) == 1000
    assert len(read(io.BytesIO(path.read_bytes()), format="parquet").rows) == 1000


def test_chosen_columns(path):
    assert read(path, columns=("day", "number")).rows[1] == (dt.date(2026, 1, 2), 1)
    with pytest.raises(SourceError) as caught:
        read(path, columns=("numbr",))
    assert str(caught.value) == f"{path} has no column 'numbr'. Did you mean 'number'?"


def test_no_rows(path):
    pyarrow.parquet.write_table(TABLE.slice(0, 0), path)
    got = read(path)
    assert (got.columns, got.rows) == (tuple(TABLE.column_names), [])


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n"])
def test_no_parquet_file(tmp_path, content):
    path = tmp_path / "file.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"file\.parquet is not a Parquet file: "):
        read(path)


def test_a_damaged_file(path):
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"file\.parquet cannot be read after row "):
        read(path)


def test_what_cannot_be_read_from_its_end():
    with pytest.raises(SourceError) as caught:
        read(Pipe(b""), format="parquet")
    assert str(caught.value) == (
        "pipe cannot be read as Parquet, which is read from its end: save it as a file first."
    )


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="There is no file"):
        read(tmp_path / "x.parquet")
