import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ingest.exceptions import SourceError
from ingest.sources import arrow
from tests.sources.read_source import read

TABLE = pa.table({"a": list(range(100)), "b": ["x"] * 100, "c": [b"\xff"] * 100})


@pytest.mark.parametrize("given", [TABLE, TABLE.to_batches()[0], TABLE.to_reader()])
def test_arrow_things(given, monkeypatch):
    monkeypatch.setattr(arrow, "BATCH_ROWS", 33)
    got = read(given)
    assert got.columns == ("a", "b", "c")
    assert got.rows == [(number, "x", b"\xff") for number in range(100)]
    assert got.records == list(range(1, 101))


def test_chosen_columns():
    assert read(TABLE, columns=("b", "a")).rows[1] == ("x", 1)
    assert read(TABLE, columns=("c", "b", "a")).rows[1] == (b"\xff", "x", 1)
    with pytest.raises(SourceError, match="pyarrow Table has no column 'd'"):
        read(TABLE, columns=("d",))


def test_two_columns_of_one_name():
    table = pa.table([[1], [2]], names=["a", "a"])
    got = read(table)
    assert (got.columns, got.rows) == (("a", "a"), [(1, 2)])


KIND = pa.map_(pa.string(), pa.int32())
PAIRS, READ = [("a", 1), ("b", None)], {"a": 1, "b": None}


@pytest.mark.parametrize(
    ("value", "kind", "read_as"),
    [
        (PAIRS, KIND, READ),
        ({"x": PAIRS, "y": 1}, pa.struct({"x": KIND, "y": pa.int8()}), {"x": READ, "y": 1}),
        ([PAIRS, None], pa.list_(KIND), [READ, None]),
        ([PAIRS], pa.list_(KIND, 1), [READ]),
        ([PAIRS], pa.list_view(KIND), [READ]),
        ([("m", PAIRS)], pa.map_(pa.string(), KIND), {"m": READ}),
        ([{"x": [PAIRS]}], pa.large_list(pa.struct({"x": pa.list_(KIND)})), [{"x": [READ]}]),
    ],
    ids=str,
)
def test_maps_are_objects_at_every_depth(value, kind, read_as):
    table = pa.table({"a": pa.array([value, None], kind)})
    assert read(table).rows == [(read_as,), (None,)]


def test_no_rows():
    assert read(TABLE.slice(0, 0)).rows == []


def test_a_stream_that_breaks():
    def batches():
        yield TABLE.to_batches()[0]
        raise ValueError("the wire was cut")

    with pytest.raises(SourceError) as caught:
        read(pa.RecordBatchReader.from_batches(TABLE.schema, batches()))
    assert "pyarrow RecordBatchReader broke after record 100: " in str(caught.value)
    assert "the wire was cut" in str(caught.value)


def test_objects_of_pandas_are_judged_alone(monkeypatch):
    monkeypatch.setattr(arrow, "BATCH_ROWS", 2)
    frame = pd.DataFrame(
        {
            "n": range(5),
            "object": [{"a": 1}, {"b": [np.float64(1.5), None]}, None, {"a": np.int64(2)}, "x"],
            "list": [[1], ["a", 2], [], float("nan"), [None]],
            "mixed": ["a", 1, 2.5, pd.NA, True],
            "text": ["a", None, "b", "c", "d"],
        },
        index=[7, 7, 8, 9, 9],
    )
    frame["mixed"] = frame["mixed"].astype(object)
    before = frame.copy(deep=True)
    got = read(frame, columns=("mixed", "n", "object", "list", "text"))
    assert got.rows == [
        ("a", 0, {"a": 1}, [1], "a"),
        (1, 1, {"b": [1.5, None]}, ["a", 2], None),
        (2.5, 2, None, [], "b"),
        (None, 3, {"a": 2}, None, "c"),
        (True, 4, "x", [None], "d"),
    ]
    pd.testing.assert_frame_equal(frame, before)
