"""What frames of pandas and polars hold goes in as it is, or is refused by name."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from ingest import load
from ingest.exceptions import LayoutError, SourceError
from ingest.sources import open_source, parquet
from tests.end_to_end.contract.models.moments import Moment
from tests.end_to_end.contract.models.structures import Document
from tests.sources.read_source import read

MOMENT = {
    "day": "2024-01-02",
    "moment": "2024-01-02T03:04:05Z",
    "hour": "01:02:03",
    "length": "00:00:02",
}
A_UUID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.mark.parametrize(
    ("column", "read_as"),
    [
        (pd.Series(pd.period_range("2020-01", periods=2, freq="M")), ["2020-01", "2020-02"]),
        (pd.Series(pd.PeriodIndex(["2020-01-05", None], freq="D")), ["2020-01-05", None]),
        (pd.Series(pd.interval_range(0, 2)), ["(0, 1]", "(1, 2]"]),
        (pd.Series([1, None, 2], dtype="category"), [1, None, 2]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series([True, None], dtype="boolean"), [True, None]),
        (pd.Series(pd.arrays.SparseArray([1, 0, 2])), [1, 0, 2]),
        (pd.Series(pd.arrays.SparseArray([1.5, np.nan])), [1.5, None]),
        (pd.Series([2**70, 1, None], dtype=object), [2**70, 1, None]),
        (pd.Series(["\ud800", "a", None], dtype=object), ["\ud800", "a", None]),
        (pd.Series([A_UUID, None], dtype=object), [A_UUID, None]),
        (pd.Series(["a", None], dtype="string[pyarrow]"), ["a", None]),
        (
            pd.Series([Decimal("1.10"), None], dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
            [Decimal("1.10"), None],
        ),
        (pl.Series([2**100, None], dtype=pl.Int128), [str(2**100), None]),
        (pl.Series([A_UUID, None], dtype=pl.Object), [A_UUID, None]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (pl.Series(["a", None], dtype=pl.Enum(["a"])), ["a", None]),
    ],
    ids=str,
)
def test_a_column_of_a_frame(column, read_as):
    if isinstance(column, pl.Series):
        got = read(pl.DataFrame({"a": column, "b": range(len(column))}))
    else:
        got = read(pd.DataFrame({"a": column, "b": range(len(column))}))
    assert got.columns == ("a", "b")
    assert got.rows == list(zip(read_as, range(len(column)), strict=True))


@pytest.mark.parametrize("texts", ["1.5 1.50 2.505", "1E+2 7E+1", "-0 0.0"])
def test_decimals_of_a_frame_keep_their_own_places(texts):
    column = pd.Series([*map(Decimal, texts.split()), None])
    got = [value for (value,) in read(pd.DataFrame({"a": column})).rows]
    assert list(map(str, got)) == [*texts.split(), "None"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns 'a': rename them"),
        (pd.DataFrame({"a": [1j]}), "pandas DataFrame cannot be read .* Convert such values"),
        (pd.Series([1], name="a"), r"one column: give the frame that its to_frame\(\) makes"),
        (pl.Series("a", [1]), r"one column: give the frame that its to_frame\(\) makes"),
    ],
)
def test_what_is_no_table(given, message):
    with pytest.raises(SourceError, match=message):
        read(given)


@pytest.mark.django_db
def test_the_index_of_a_frame_is_called_one():
    frame = pd.DataFrame([MOMENT], index=["five"])
    with pytest.raises(LayoutError, match=r"index of a frame: give frame.reset_index\(drop=True\)"):
        load(Moment, frame)
    load(Moment, frame.reset_index(drop=True))
    assert Moment.objects.count() == 1


FRAME = pd.DataFrame({"a": ["x", "y", "z"], "key": [5, 6, 7]})


def as_file(frame, path):
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize("keys", [[5, 6, 7], [7, 5, 3], [5, 6, 8]])
@pytest.mark.parametrize("source", ["frame", "Parquet"])
def test_a_named_index_is_a_column_however_its_values_are_spaced(source, keys, tmp_path):
    given = FRAME.assign(key=keys).set_index("key")
    given = as_file(given, tmp_path / "rows.parquet") if source == "Parquet" else given
    got = read(given, columns=("key", "a"))
    assert got.rows == list(zip(keys, "xyz", strict=True))
    assert sorted(read(given).columns) == ["a", "key"]
    assert read(given, columns=("key",)).rows == [(key,) for key in keys]


@pytest.mark.parametrize(
    "frame",
    [
        FRAME[FRAME.key != 6],
        FRAME.iloc[[2, 0, 1]],
        pd.concat([FRAME, FRAME]),
        FRAME.set_index("key", drop=False),
    ],
)
@pytest.mark.parametrize("source", ["frame", "table", "Parquet"])
def test_row_numbers_of_a_frame_are_no_column(source, frame, tmp_path):
    given = as_file(frame, tmp_path / "rows.parquet") if source == "Parquet" else frame
    got = read(pa.Table.from_pandas(frame) if source == "table" else given)
    assert got.columns == ("a", "key")
    assert got.rows == list(frame.itertuples(index=False, name=None))


def test_row_groups_and_an_index_that_is_metadata_only(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 2)
    table = pa.Table.from_pandas(FRAME.set_index("key"))
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    assert read(tmp_path / "rows.parquet").rows == [("x", 5), ("y", 6), ("z", 7)]


@pytest.mark.parametrize("source", ["table", "Parquet"])
def test_an_index_whose_values_are_lost_is_told(source, tmp_path):
    given = pa.Table.from_pandas(FRAME.set_index("key"))[1:]
    if source == "Parquet":
        pyarrow.parquet.write_table(given, tmp_path / "rows.parquet")
        given = tmp_path / "rows.parquet"
    with open_source(given) as opened:
        assert opened.columns == ("a",)
        [note] = opened.notes
    assert "the index 'key' of a pandas frame" in note
    assert "frame.reset_index()" in note


TIMES = {
    "time32": pa.array([86_400, 86_399, None], pa.int32()).view(pa.time32("s")),
    "time64": pa.array([86_400_000_000, 1, None], pa.int64()).view(pa.time64("us")),
    "nanoseconds": pa.array([86_400 * 10**9, 1_000, None], pa.int64()).view(pa.time64("ns")),
    "negative": pa.array([-1, 0, None], pa.int64()).view(pa.time64("us")),
}


@pytest.mark.django_db
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_a_time_beyond_the_day_is_no_other_time(times):
    texts = {name: [text] * 3 for name, text in MOMENT.items()}
    table = pa.table({**texts, "hour": times, "hour_or_null": times})
    result = load(Moment, table, on_error="reject")
    beyond = [reject.field for reject in result.rejects if reject.record == 1]
    assert beyond == ["hour", "hour_or_null"]
    assert next(iter(result.rejects)).reason.startswith("it is not a time of day")
    assert [reject.record for reject in result.rejects] == [1, 1, 3]
    kept = Moment.objects.values_list("hour", "hour_or_null").get()
    assert kept[0] == kept[1] == times[1].as_py()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "values", "shown"),
    [
        ("day", pa.array([10**7, 0], pa.int32()).view(pa.date32()), "29349-01-26"),
        ("day", pa.array([2**31 - 1, 0], pa.int32()).view(pa.date32()), "2147483647"),
        ("moment", pa.array([-(10**11), 0], pa.timestamp("s", "UTC")), "-1199-02-15"),
        ("moment", pa.array([2**63 - 1, 0], pa.timestamp("us")), "9223372036854775807"),
    ],
)
def test_years_that_python_does_not_have(field, values, shown):
    texts = {name: [text] * 2 for name, text in MOMENT.items()}
    result = load(Moment, pa.table({**texts, field: values}), on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.field) == (1, field)
    assert shown in reject.value
    assert "whose years are 1 to 9999" in reject.reason
    assert getattr(Moment.objects.get(), field).year == 1970


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("source", ["table", "Parquet"])
def test_a_text_that_is_no_utf8_is_refused_alone(source, kind, tmp_path):
    cells = pa.array([b"01:00", b"02:0\xff", None, b"03:00"], pa.binary())
    if kind == pa.large_string():
        cells = cells.cast(pa.large_binary())
    texts = {name: [text] * 4 for name, text in MOMENT.items()}
    given = pa.table({**texts, "hour_or_null": cells.view(kind)})
    if source == "Parquet":
        pyarrow.parquet.write_table(given, tmp_path / "rows.parquet", store_schema=True)
        given = tmp_path / "rows.parquet"
    result = load(Moment, given, on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.column, reject.value) == (2, "hour_or_null", "02:0\ufffd")
    assert "not valid UTF-8" in reject.reason
    got = Moment.objects.order_by("pk").values_list("hour_or_null", flat=True)
    assert list(got) == [dt.time(1), None, dt.time(3)]


BAD = pa.array([b"01:00", b"02:0\xff", b"03:00"], pa.binary())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), BAD.view(pa.string())), "02:0\ufffd"),
        (BAD.cast(pa.binary_view()).view(pa.string_view()), "02:0\ufffd"),
        (pa.ListArray.from_arrays([0, 1, 2, 3], BAD.view(pa.string())), None),
        (pa.StructArray.from_arrays([BAD.view(pa.string())], ["hour"]), None),
    ],
)
def test_a_text_that_is_no_utf8_is_refused_alone_in_every_type(cells, shown):
    table = pa.table({"content": cells, "encoded": [1, 2, 3]})
    result = load(Document, table, on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.column, reject.value) == (2, "content", shown)
    assert "not valid UTF-8" in reject.reason
    got = Document.objects.order_by("pk").values_list("content", flat=True)
    assert list(got) == [cells[0].as_py(), cells[2].as_py()]


@pytest.mark.django_db
def test_a_table_of_nothing_but_bad_text():
    texts = {name: [text] for name, text in MOMENT.items()}
    given = pa.table({**texts, "hour_or_null": pa.array([b"\xff"]).view(pa.string())})
    assert load(Moment, given, on_error="reject").rejected == 1


def test_a_lazy_frame_is_not_read_before_its_query_has_run():
    frame = pl.LazyFrame({"a": [1, 2]})
    with pytest.raises(TypeError, match=r"Give the result of its collect\(\) instead"):
        open_source(frame)
    assert read(frame.collect()).rows == [(1,), (2,)]
