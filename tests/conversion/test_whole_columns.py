"""Which columns are converted without asking the field about a single value."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from django.db import DEFAULT_DB_ALIAS
from django.test import override_settings

from ingest.conversion import Converter
from ingest.conversion.columns import ColumnConverter
from ingest.postgres.encoding import decode
from ingest.sources import Batch
from tests.conversion.cells import Cells
from tests.conversion.families import FAMILIES
from tests.conversion.families.structures import NUMBER
from tests.conversion.paired_tables import Twins
from tests.whole_table import whole_table

pytestmark = pytest.mark.django_db(transaction=True)
BY_NAME = {family.name: family for family in FAMILIES}
LONG = dt.timedelta(days=-3, hours=5, microseconds=7)
DAYS = [dt.date(1, 1, 1), dt.date(2025, 1, 5)]


@pytest.fixture(autouse=True)
def _no_field_is_asked(monkeypatch):
    def judge(self, values, *, is_text):
        pytest.fail(f"{self.field} was asked about {values} ({is_text=}).")

    monkeypatch.setattr(ColumnConverter, "_judge_each", judge)


def model_of(family, variant):
    return BY_NAME[family].models[list(BY_NAME[family].fields).index(variant)]


def form_of(column):
    if not isinstance(column, pa.Array):
        return "python"
    return "text" if pa.types.is_binary(column.type) else "arrow"


def texts(*cells):
    return pa.array([None if cell is None else cell.encode() for cell in cells], pa.binary())


@pytest.mark.parametrize(
    ("family", "variant", "column"),
    [
        ("duration", "null blank", texts("1 02:03:04.5", "00:10:00", "99:59:59.000001", None)),
        ("duration", "required", pa.array([LONG], pa.duration("us"))),
        ("duration", "required", pa.array([dt.timedelta(hours=-1)], pa.duration("s"))),
        ("duration", "null blank", [LONG, None, dt.timedelta(0)]),
        ("address", "null blank", texts("1.2.3.4", "255.255.255.0", None)),
        ("address", "v4", ["0.0.0.0", "10.0.0.1"]),
        ("binary", "required", texts("YWJj", "YWJjZA==")),
        ("binary", "length", [b"abc", None, b"\x00"]),
        ("uuid", "null blank", [UUID(NUMBER), None]),
        ("foreign key", "universal", texts(NUMBER, NUMBER.upper())),
        ("foreign key", "universal", [UUID(NUMBER)]),
        ("decimal", "limits", pa.array([1.5, 2.25])),
        ("decimal", "limits", pa.array([1.5], pa.float32())),
        ("decimal", "limits", pa.array([Decimal("1.50")], pa.decimal128(38, 9))),
        ("decimal", "limits", [Decimal("1.50"), Decimal("0.01")]),
        ("float", "limits", pa.array([0.05, 0.1])),
        ("float", "required", pa.array([0.1, 1e30], pa.float32())),
        ("float", "required", pa.array([1, 2**53])),
        ("boolean", "null blank", pa.array([True, None, False])),
        ("array", "of uuids", texts(f'["{NUMBER}"]', f'["{NUMBER.upper()}", "{NUMBER}"]')),
        ("array", "of uuids", [[UUID(NUMBER)], [UUID(int=0), UUID(int=1)]]),
        ("array", "of days", texts('["0001-01-01", "2025-01-05"]')),
        ("array", "of days", pa.array([DAYS, DAYS[1:]], pa.list_(pa.date32()))),
        ("array", "of days", [DAYS]),
        ("array", "of floats", texts("[1.5, -0.25, 1e30, 7]", "[0]")),
        ("array", "of floats", pa.array([[0.1, float("inf")]], pa.list_(pa.float64()))),
        ("array", "of floats", [[0.1, float("nan")]]),
        ("array", "of decimals", texts("[1.5, 2, -0.01]", "[999.99]")),
        ("array", "of flags", texts("[true, false]", "[false]")),
        ("array", "of flags", pa.array([[True]], pa.list_(pa.bool_()))),
        ("array", "of flags", [[True, False]]),
        ("array", "of tags", texts(*['["a", "b"]', "[]", '["é"]'] * 200)),
    ],
)
def test_a_column_is_taken_as_a_whole_and_stored_as_the_orm_does(
    family, variant, column, temporary_tables
):
    with override_settings(**BY_NAME[family].settings):
        twins = Twins(model_of(family, variant))
        assert twins.compare(Cells(form_of(column), column)) == []


@pytest.mark.parametrize(
    ("family", "variant", "written", "values"),
    [
        (
            "array",
            "of tags",
            ['{a,"b c","NULL"}', "{}", "{ß}"],
            [["a", "b c", "NULL"], [], ["ß"]],
        ),
        ("array", "of texts", ['{""}', '{"","a"}'], [[""], ["", "a"]]),
        ("array", "required", ["{1,-5}"], [[1, -5]]),
        ("array", "of uuids", [f"{{{NUMBER}}}"], [[UUID(NUMBER)]]),
        ("array", "of days", ["{0001-01-01,2025-01-05}"], [DAYS]),
        ("array", "of floats", ["{0.1,1e+30,-7}"], [[0.1, 1e30, -7.0]]),
        ("array", "of decimals", ["{1.50,3.00}"], [[Decimal("1.50"), Decimal("3.00")]]),
        ("array", "of flags", ["{t,f}"], [[True, False]]),
        ("binary", "required", ["\\x00ff"], [b"\x00\xff"]),
    ],
)
def test_what_postgresql_writes_is_read_as_a_whole(
    family, variant, written, values, temporary_tables
):
    model = model_of(family, variant)
    twins = Twins(model)
    table = whole_table(twins.session, model)
    converter = Converter(
        table=table,
        fields=[model._meta.get_field(name) for name in ("position", "value")],
        alias=DEFAULT_DB_ALIAS,
        context=None,
        has_postgres_text=True,
    )
    records = range(1, len(written) + 1)
    batch = Batch(source="rows", records=records, columns=(list(records), texts(*written)))
    typed = converter.convert(batch)
    rows = decode(converter.encoding, typed.rows, None)
    assert [value for _, value in rows] == values
