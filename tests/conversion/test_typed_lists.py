"""Lists and times of every kind of source: the same values, the same refusals, as text gives."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.test.utils import isolate_apps

from ingest import load
from tests.end_to_end.contract.models.base import Sample

pytestmark = pytest.mark.django_db
KEY = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
NOON = dt.datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
NULLABLE = {"null": True, "blank": True}
DECIMAL = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)


@pytest.fixture
def model():
    """A table with a nullable list of items of every type."""
    with isolate_apps("tests.end_to_end.contract"):

        class Listed(Sample):
            decimals = ArrayField(DECIMAL, **NULLABLE)
            days = ArrayField(models.DateField(**NULLABLE), **NULLABLE)
            moments = ArrayField(models.DateTimeField(**NULLABLE), **NULLABLE)
            hours = ArrayField(models.TimeField(**NULLABLE), **NULLABLE)
            lengths = ArrayField(models.DurationField(**NULLABLE), **NULLABLE)
            keys = ArrayField(models.UUIDField(**NULLABLE), **NULLABLE)
            floats = ArrayField(models.FloatField(**NULLABLE), **NULLABLE)
            flags = ArrayField(models.BooleanField(**NULLABLE), **NULLABLE)
            texts = ArrayField(models.CharField(max_length=9, **NULLABLE), **NULLABLE)
            nested = ArrayField(ArrayField(models.IntegerField(**NULLABLE)), **NULLABLE)

            class Meta:
                app_label = "contract"

        with connection.schema_editor() as editor:
            editor.create_model(Listed)
        yield Listed


LISTS = {
    "decimals": ([[Decimal("1.50"), None, Decimal("-2.25")], [], None], pa.decimal128(12, 2)),
    "days": ([[dt.date(2024, 2, 29), None], [dt.date(1, 1, 1)], [], None], pa.date32()),
    "moments": ([[NOON, None], [], None], pa.timestamp("us", "UTC")),
    "hours": ([[dt.time(23, 59, 59, 999999), None], [], None], pa.time64("us")),
    "lengths": ([[dt.timedelta(days=1, seconds=3), None], [], None], pa.duration("us")),
    "keys": ([[str(KEY), None], [], None], pa.string()),
    "floats": ([[1.5, None, 1e300, -0.25], [], None], pa.float64()),
    "flags": ([[True, False, None], [], None], pa.bool_()),
    "texts": ([["a,b", None, '"x"', "{}", "NULL", ""], [], None], pa.string()),
    "nested": ([[[1, None], [3, 4]], [], None], pa.list_(pa.int64())),
}


def in_json(value):
    return json.dumps(value, default=str)


def sources(name, rows, kind, folder):
    """Yield the rows as every kind of source has them."""
    texts = [None if row is None else in_json(row) for row in rows]
    table = pa.table({name: pa.array(rows, pa.list_(kind))})
    lines, array = folder / "rows.jsonl", folder / "rows.json"
    objects = [in_json({name: row}) for row in rows]
    lines.write_text("".join(f"{line}\n" for line in objects))
    array.write_text(f"[{','.join(objects)}]")
    frame = pd.DataFrame({name: [text or "" for text in texts], "more": "x"})
    frame.to_csv(folder / "rows.csv", index=False)
    pa.parquet.write_table(table, folder / "rows.parquet")
    yield "csv", folder / "rows.csv"
    yield "JSON Lines", lines
    yield "JSON array", array
    yield "Parquet", folder / "rows.parquet"
    yield "Arrow", table
    yield "polars", pl.from_arrow(table)
    yield "pandas", table.to_pandas(types_mapper=pd.ArrowDtype)
    yield "DuckDB", duckdb.from_arrow(table)
    yield "dicts", [{name: row} for row in rows]
    yield "dicts of tuples", [{name: None if row is None else tuple(row)} for row in rows]
    yield "dicts of texts", [{name: text} for text in texts]


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_every_kind_of_source(model, tmp_path, name):
    rows, kind = LISTS[name]
    model.objects.bulk_create([model(**{name: row}) for row in rows])
    want = list(model.objects.order_by("pk").values_list(name, flat=True))
    for label, source in sources(name, rows, kind, tmp_path):
        model.objects.all().delete()
        load(model, source, ignore_columns=["more"] if label == "csv" else None)
        got = list(model.objects.order_by("pk").values_list(name, flat=True))
        assert (label, got) == (label, want)


@pytest.mark.parametrize(
    ("name", "given", "want"),
    [
        ("nested", [["1", 2.0]], [[1, 2]]),
        ("floats", ["1.5", 2, True], [1.5, 2.0, 1.0]),
        ("flags", ["t", 0, "True"], [True, False, True]),
        ("texts", [1, 1.5, True], ["1", "1.5", "True"]),
        ("decimals", [1.1, 2, "3.00"], [Decimal("1.10"), Decimal(2), Decimal(3)]),
        ("lengths", ["P1DT3S", "1 00:00:03"], [dt.timedelta(days=1, seconds=3)] * 2),
    ],
)
def test_items_are_read_as_in_a_text(model, tmp_path, name, given, want):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({name: given}) + "\n")
    for source in (path, [{name: given}], [{name: tuple(given)}], [{name: json.dumps(given)}]):
        load(model, source, on_repeat="warn")
    assert list(model.objects.values_list(name, flat=True)) == [want] * 4


@pytest.mark.parametrize(
    ("name", "given"),
    [("nested", [["x"]]), ("floats", ["x"]), ("decimals", ["1.234"]), ("lengths", ["x"])],
)
def test_items_are_refused_as_in_a_text(model, name, given):
    result = load(model, [{name: given}, {name: json.dumps(given)}], on_error="reject")
    assert [reject.record for reject in result.rejects] == [1, 2]


FINE = "2024-01-01T00:00:00.123456789+00:00"
COUNTED = 1_704_067_200_123_456_789


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("moments", [FINE]),
        ("moments", json.dumps([FINE])),
        ("moments", [np.datetime64(COUNTED, "ns")]),
        ("hours", ["10:00:00.1234567"]),
        ("lengths", ["P1DT0.1234567S"]),
        ("lengths", [np.timedelta64(1, "ns")]),
        ("lengths", [pd.Timedelta(1, "ns")]),
    ],
)
def test_nanoseconds_in_lists_are_refused(model, name, given):
    [reject] = load(model, [{name: given}], on_error="reject").rejects
    assert "it has nanoseconds" in reject.reason


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns", "UTC"), pa.timestamp("ns"), pa.duration("ns")], ids=str
)
def test_nanoseconds_in_lists_of_arrow_are_refused(model, kind):
    name = "lengths" if pa.types.is_duration(kind) else "moments"
    cells = pa.array([[COUNTED], [COUNTED - 789], [None], None], pa.list_(kind))
    result = load(model, pa.table({name: cells}), on_error="reject")
    [reject] = result.rejects
    assert (result.rows, reject.record) == (3, 1)
    assert "it has nanoseconds" in reject.reason


def test_months_have_no_fixed_length(model):
    made = duckdb.sql("SELECT [INTERVAL 2 DAYS] AS lengths UNION ALL SELECT [INTERVAL 1 MONTH]")
    result = load(model, made, on_error="reject")
    [reject] = result.rejects
    assert "it has months" in reject.reason
    assert list(model.objects.values_list("lengths", flat=True)) == [[dt.timedelta(days=2)]]


@pytest.mark.parametrize(
    ("items", "want"),
    [([1.0, "x"], "1.0"), (["x", float("nan")], "nan"), ([True], "True"), ([{"k": 1}], "{'k': 1}")],
)
@pytest.mark.parametrize("source", [list, pd.DataFrame])
def test_items_that_are_no_texts_are_told_in_a_warning(model, source, items, want):
    [warning] = load(model, source([{"texts": ["fine"]}, {"texts": items}])).warnings
    assert "the text field texts was given" in warning
    assert f"and stores {want!r}" in warning
    assert want in model.objects.latest("pk").texts


def test_lists_of_texts_and_whole_numbers_give_no_warning(model):
    rows = [{"texts": value} for value in (["x"], [1], [], ["x", None], None)]
    assert load(model, rows).warnings == ()
