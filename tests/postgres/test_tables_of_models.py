"""The tables of a model's rows, and the values that rows made by a layout store."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateRange
from psycopg import Binary
from psycopg.types.json import Jsonb

from ingest import load
from ingest.postgres.catalog import quote_db_table
from ingest.postgres.text_format import as_postgresql_text
from tests.end_to_end.contract.models.inheritance import Place, PlaceProxy
from tests.end_to_end.contract.writing import rows_removed

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_proxy_is_loaded_into_its_models_table():
    with rows_removed(Place):
        assert load(PlaceProxy, [{"name": "a"}, {"name": "b"}]).rows == 2
        assert sorted(Place.objects.values_list("name", flat=True)) == ["a", "b"]


@pytest.mark.parametrize("name", ["plain", '"Whole"."Name"', 'ods"."trick'])
def test_names_of_tables_are_quoted_as_django_does(name):
    assert quote_db_table(name) == connection.ops.quote_name(name)


@pytest.mark.parametrize(
    ("value", "sql_type"),
    [
        (b"\x00none\xff", "bytea"),
        (["a", 'b",{', "NULL"], "text[]"),
        ([1, 2], "int[]"),
        (True, "boolean"),
        (uuid.UUID(int=7), "uuid"),
        (Decimal("1.50"), "numeric"),
        (dt.date(2024, 2, 29), "date"),
        (dt.datetime(2024, 2, 29, 1, 2, 3, 4, dt.UTC), "timestamptz"),
        (dt.timedelta(days=-1, microseconds=1), "interval"),
        (DateRange(dt.date(2024, 1, 1), dt.date(2024, 1, 2)), "daterange"),
    ],
)
def test_prepared_values_are_written_as_postgresql_reads_them(value, sql_type):
    prepared = Binary(value) if isinstance(value, bytes) else value
    text = as_postgresql_text(prepared, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::text::{sql_type}", [text])
        [got] = cursor.fetchone()
    assert (bytes(got) if isinstance(value, bytes) else got) == value


def test_json_is_written_as_json():
    assert as_postgresql_text(Jsonb({"a": [1, None]}), connection) == '{"a": [1, null]}'
