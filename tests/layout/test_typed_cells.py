"""A layout does the same to typed cells as to texts: one table from every kind of source."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import json
import sqlite3
from decimal import Decimal
from types import MappingProxyType

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finance.models import Account
from ingest import load
from ingest.layout import FieldLayout, Layout
from ingest.layout.definition import Condition, Reading, Sign
from tests.end_to_end.contract.models.moments import Moment
from tests.end_to_end.contract.models.numbers import Fraction, Integer
from tests.factories import UserFactory
from tests.sampling import IS_LONG
from tests.sources.workbooks import As, make

EXAMPLES = 300 if IS_LONG else 6
NAMES = ("number", "name", "day", "amount", "side")

pytestmark = pytest.mark.django_db


@dataclasses.dataclass
class Row:
    number: str
    name: str | None
    day: dt.date | None
    amount: Decimal | None
    side: str


def texts(row):
    return ["" if value is None else str(value) for value in row]


def dicts(rows):
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def as_csv(rows, folder):
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([NAMES, *map(texts, rows)])
    return path


def as_json_lines(rows, folder):
    path = folder / "rows.jsonl"
    lines = []
    for record in dicts(rows):
        amount = record["amount"]
        text = json.dumps({**record, "amount": None}, default=str)
        if amount is not None:  # json would write a Decimal as a text
            text = text.replace('"amount": null', f'"amount": {amount}')
        lines.append(text)
    path.write_text("\n".join(lines) + "\n")
    return path


def as_json_array(rows, folder):
    lines = as_json_lines(rows, folder).read_text().replace("}\n", "\n}\n").splitlines()
    path = folder / "rows.json"
    path.write_text("[\n" + "\n".join(lines).replace("}\n", "},\n") + "]\n")
    return path


def as_arrow(rows):
    kinds = [pa.string(), pa.string(), pa.date32(), pa.decimal128(20, 4), pa.string()]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=list(NAMES))


def as_parquet(rows, folder):
    path = folder / "rows.parquet"
    pa.parquet.write_table(as_arrow(rows), path)
    return path


def as_dictionaries(rows, _folder):
    table = as_arrow(rows)
    for place, name in enumerate(NAMES):
        if pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(place, name, table[name].dictionary_encode())
    return table


def as_polars(rows, _folder):
    frame = pl.from_arrow(as_arrow(rows))
    return frame.with_columns(pl.col("side").cast(pl.Categorical))


def as_duckdb(rows, _folder):
    given = as_arrow(rows)  # noqa: F841 - DuckDB finds it by its name
    return duckdb.sql("SELECT * FROM given")


def as_sqlite(rows, _folder):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute("CREATE TABLE t (number, name, day, amount, side)")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?, ?)",
        [[None if value is None else str(value) for value in row] for row in rows],
    )
    return connection.execute("SELECT * FROM t")


def as_workbook(rows, folder):
    cells = [
        [
            As(dt.datetime.combine(cell, dt.time()), "date")
            if isinstance(cell, dt.date)
            else float(cell)
            if isinstance(cell, Decimal)
            else cell
            for cell in row
        ]
        for row in rows
    ]
    return make(folder / "rows.xlsx", [NAMES, *cells])


SOURCES = {
    "csv": as_csv,
    "JSON Lines": as_json_lines,
    "JSON array": as_json_array,
    "Parquet": as_parquet,
    "pyarrow": lambda rows, _folder: as_arrow(rows),
    "dictionaries": as_dictionaries,
    "polars": as_polars,
    "pandas": lambda rows, _folder: as_arrow(rows).to_pandas(types_mapper=pd.ArrowDtype),
    "DuckDB": as_duckdb,
    "dicts": lambda rows, _folder: iter(dicts(rows)),
    "mappings": lambda rows, _folder: map(MappingProxyType, dicts(rows)),
    "dataclasses": lambda rows, _folder: [Row(*row) for row in rows],
    "sqlite3": as_sqlite,
    "workbook": as_workbook,
}

LAYOUTS = {
    "sign, default and skip": Layout(
        read=Reading(strip=True, null=("-", "none"), places="round"),
        skip=(Condition(column="side", equals=("x",)), Condition(column="amount", equals=("0",))),
        fields={
            "binary": FieldLayout(
                column="amount", default="0", sign=Sign(column="side", negative=("D",))
            ),
            "price": FieldLayout(
                column="amount", default="7", sign=Sign(column="side", negative=("D",))
            ),
            "price_or_null": FieldLayout(column="amount", null=("5", "5.0", "5.0000")),
        },
    ),
    "sides and codes": Layout(
        read=Reading(places="zeros"),
        fields={
            "binary": FieldLayout(column="amount", values={"1": "99"}, default="3"),
            "price": FieldLayout(debit="amount", default="1"),
            "binary_or_null": FieldLayout(column="side", values={"D": "1", "C": "2", "x": "3"}),
        },
    ),
}


def shortest(number):
    """Write a number without zeros at its end: of a typed one no others are known."""
    return Decimal(format(number.normalize(), "f")) + 0


ROWS = st.lists(
    st.tuples(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.none() | st.sampled_from(["-", " a ", "none", "b", "Ünï"]),
        st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
        st.none()
        | st.sampled_from(list(map(Decimal, ["0", "1", "5", "-2.5", "12.34", "0.005", "1.125"])))
        | st.decimals(-(10**9), 10**9, places=2).map(shortest),
        st.sampled_from(["D", "C", "x"]),
    ),
    min_size=1,
    max_size=8,
)


def stored(model, fields):
    rows = list(model.objects.order_by("pk").values_list(*fields))
    model.objects.all().delete()
    return rows


@pytest.mark.parametrize("name", LAYOUTS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS)
def test_every_kind_of_source_gives_the_same_table(tmp_path, name, rows):
    layout = LAYOUTS[name]
    constants = {"whole": "1", "tiny": "0.5", "huge": "1"}
    if "binary_or_null" not in layout.fields:
        constants["binary_or_null"] = "1"
    fields = {**layout.fields, **{key: FieldLayout(constant=it) for key, it in constants.items()}}
    layout = dataclasses.replace(layout, fields=fields)
    want = None
    for kind, as_source in SOURCES.items():
        with transaction.atomic():
            result = load(Fraction, as_source(rows, tmp_path), layout=layout, on_error="reject")
            got = (
                stored(Fraction, ("binary", "price", "price_or_null", "binary_or_null")),
                [(reject.record, reject.field, reject.kind) for reject in result.rejects],
                (result.read, result.skipped),
            )
            transaction.set_rollback(True)  # gives back the locks of this load: there are many
        want = want or (kind, got)
        assert (kind, got) == (kind, want[1])


def test_text_and_dates_of_every_kind_of_source(tmp_path):
    user = UserFactory()
    rows = [
        ("a", " x ", dt.date(2024, 2, 29), Decimal(1), "D"),
        ("b", "-", None, None, "C"),
        ("c", None, None, None, "D"),
    ]
    layout = Layout(
        read=Reading(strip=True, null=("-",)),
        fields={
            "user": FieldLayout(constant=user.pk),
            "number": FieldLayout(columns=("number", "side"), join="/"),
            "name": FieldLayout(columns=("name", "amount"), join=" ", default="nobody"),
            "opened_on": FieldLayout(column="day", formats=("%Y-%m-%d",)),
        },
    )
    for kind, as_source in SOURCES.items():
        load(Account, as_source(rows, tmp_path), layout=layout)
        assert (kind, stored(Account, ("number", "name", "opened_on"))) == (
            kind,
            [
                ("a/D", "x 1", dt.date(2024, 2, 29)),
                ("b/C", "nobody", None),
                ("c/D", "nobody", None),
            ],
        )


@pytest.mark.parametrize(
    "rows",
    [
        [{"moment": dt.datetime(2024, 7, 1, 10)}],  # noqa: DTZ001 - the layout knows its zone
        pa.table({"moment": pa.array([dt.datetime(2024, 7, 1, 10)], pa.timestamp("ns"))}),  # noqa: DTZ001
        [{"moment": "2024-07-01 10:00"}],
        [{"moment": "20240701T100000"}],
        [{"moment": "2024-07-01T10:00:00,000"}],
        [{"moment": "2024-W27-1T10"}],
        [{"moment": "2024-07-01T08:00Z"}],
        [{"moment": dt.datetime(2024, 7, 1, 8, tzinfo=dt.UTC)}],
    ],
)
def test_times_without_a_zone_are_in_the_layouts_zone(rows):
    constants = {"day": "2024-01-01", "hour": "10:00", "length": "1"}
    layout = Layout(
        fields={
            "moment": FieldLayout(column="moment", timezone="Europe/Berlin"),
            **{name: FieldLayout(constant=value) for name, value in constants.items()},
        }
    )
    load(Moment, rows, layout=layout)
    [(moment,)] = Moment.objects.values_list("moment")
    assert moment == dt.datetime(2024, 7, 1, 8, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "rows",
    [
        [{"moment": "2024-07-01"}],
        [{"moment": dt.date(2024, 7, 1)}],
        pa.table({"moment": pa.array([dt.date(2024, 7, 1)], pa.date32())}),
    ],
)
def test_a_day_begins_in_the_layouts_zone(rows):
    constants = {"day": "2024-01-01", "hour": "10:00", "length": "1"}
    fields = {name: FieldLayout(constant=value) for name, value in constants.items()}
    fields["moment"] = FieldLayout(column="moment", timezone="Europe/Berlin")
    load(Moment, rows, layout=Layout(fields=fields))
    [(moment,)] = Moment.objects.values_list("moment")
    assert moment == dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)


def test_rounding_is_said_in_the_result():
    layout = Layout(
        fields={
            "price": FieldLayout(column="price", places="round"),
            "binary": FieldLayout(column="price"),
            **{name: FieldLayout(constant="0.5") for name in ("tiny", "huge")},
            "whole": FieldLayout(constant="1"),
        }
    )
    result = load(Fraction, [{"price": "1.005"}, {"price": 2.5}, {"price": "1.015"}], layout=layout)
    [warning] = result.warnings
    assert warning == (
        "Warning: numbers of price were rounded to the places of the field, half to even, as the "
        "layout asks: the first was 1.005, and is now 1.00."
    )
    got = Fraction.objects.order_by("pk").values_list("price", flat=True)
    assert list(map(str, got)) == ["1.00", "2.50", "1.02"]


@pytest.mark.parametrize(
    ("kind", "options", "stored"),
    [
        ("float64", {"values": {"1.0": 5}}, [5, 2, 0]),
        ("Int64", {"values": {"1": 5}}, [5, 2, 0]),
        ("float64", {"sign": Sign(column="side", negative=("D",)), "whole": True}, [-1, 2, 0]),
        ("Int64", {"sign": Sign(column="side", negative=("D",))}, [-1, 2, 0]),
        ("float64", {"decimal": ",", "whole": True}, [1, 2, 0]),
    ],
)
def test_whole_numbers_of_pandas_beside_a_missing_one(kind, options, stored):
    frame = pd.DataFrame({"n": [1.0, 2.0, float("nan")], "side": ["D", "C", "D"]})
    names = ("small", "normal", "big", "positive_small", "positive", "positive_big")
    fields = {name: FieldLayout(constant=1) for name in (*names, "chosen")}
    fields["normal"] = FieldLayout(column="n", default="0", **options)
    layout = Layout(fields=fields, others="ignore")
    load(Integer, frame.astype({"n": kind}), layout=layout)
    assert list(Integer.objects.order_by("id").values_list("normal", flat=True)) == stored
