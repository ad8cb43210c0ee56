"""Values that DuckDB's export to Arrow would change are loaded as DuckDB writes them."""

import datetime as dt

import duckdb
import pytest
from django.contrib.auth.models import User

from ingest import load
from tests.end_to_end.contract.models.moments import Moment
from tests.sources.read_source import read

MANY = "340282366920938463463374607431768211455"


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("'12:00:00+02'::TIMETZ", "12:00:00+02"),
        ("'12:00:00.123456-02:30'::TIMETZ", "12:00:00.123456-02:30"),
        (f"{MANY}::UHUGEINT", MANY),
        ("'101'::BIT", "101"),
        ("'12345678901234567890123456789012345678901234567890'::BIGNUM", f"{'1234567890' * 5}"),
        ("['10:00:00+01'::TIMETZ, NULL]", ["10:00:00+01", None]),
        ("[['10:00:00+01'::TIMETZ]]", [["10:00:00+01"]]),
        ("array_value('101'::BIT, NULL)", ["101", None]),
        ("{'a \"b': '10:00:00+01'::TIMETZ, 'BIT': 1}", {'a "b': "10:00:00+01", "BIT": 1}),
        ("MAP{'a': ['10:00:00+01'::TIMETZ]}", {"a": ["10:00:00+01"]}),
        ("union_value(k := '10:00:00+01'::TIMETZ)", "10:00:00+01"),
        ("row('10:00:00+01'::TIMETZ, 1)", {"element1": "10:00:00+01", "element2": 1}),
        ("NULL::TIMETZ", None),
        ("['[1]'::JSON, NULL, 'null'::JSON]", [[1], None, None]),
        ("[['{\"a\": 1}'::JSON]]", [[{"a": 1}]]),
        ("array_value('1'::JSON, '\"a\"'::JSON)", [1, "a"]),
        ("{'x': '{\"a\": [1]}'::JSON, 'y': '[1]'}", {"x": {"a": [1]}, "y": "[1]"}),
        ("{'x': ['1'::JSON], 't': '10:00:00+01'::TIMETZ}", {"x": [1], "t": "10:00:00+01"}),
        ("MAP{'k': '{\"a\": 1}'::JSON}", {"k": {"a": 1}}),
        ("NULL::JSON[]", None),
        ("'BIT'::ENUM('BIT')", "BIT"),
        ("{'BIT': 1}", {"BIT": 1}),
    ],
)
def test_values_that_arrow_would_not_get_as_they_are(written, read_as):
    given = duckdb.sql(f'SELECT 1 AS "x""y", {written} AS "a b", \'[1]\'::JSON AS j')
    got = read(given)
    assert got.columns == ('x"y', "a b", "j")
    assert got.rows == [(1, read_as, [1])]


def test_two_columns_of_one_name():
    got = read(duckdb.sql("SELECT '10:00:00+01'::TIMETZ AS a, '11:00:00+01'::TIMETZ AS a"))
    assert got.rows == [("10:00:00+01", "11:00:00+01")]


@pytest.mark.django_db
@pytest.mark.parametrize("source", ["DuckDB", "dicts of texts", "dicts of times", "CSV"])
def test_an_offset_that_a_field_drops_is_told(source, tmp_path):
    record = {"day": "2024-01-02", "moment": "2024-01-02T03:04:05Z", "length": "2"}
    given = [{**record, "hour": "12:00:00+02"}]
    if source == "DuckDB":
        given = duckdb.sql(
            "SELECT DATE '2024-01-02' AS day, TIMESTAMPTZ '2024-01-02 03:04:05Z' AS moment, "
            "INTERVAL 2 SECONDS AS length, '12:00:00+02'::TIMETZ AS hour"
        )
    elif source == "dicts of times":
        given = [{**record, "hour": dt.time(12, tzinfo=dt.timezone(dt.timedelta(hours=2)))}]
    elif source == "CSV":
        given = tmp_path / "hours.csv"
        values = [*record.values(), "12:00:00+02"]
        given.write_text(f"{','.join([*record, 'hour'])}\n{','.join(values)}\n")
    result = load(Moment, given)
    assert Moment.objects.get().hour == dt.time(12)
    [warning] = [text for text in result.warnings if "offset" in text]
    assert "the field hour was given times with an offset, such as '12:00:00+02" in warning
    assert "stores 12:00:00, as the ORM would" in warning


@pytest.mark.django_db
def test_texts_of_them_are_stored_whole():
    given = duckdb.sql(
        f"SELECT '12:00:00+02'::TIMETZ AS first_name, {MANY}::UHUGEINT AS username, 'x' AS password"
    )
    assert load(User, given).rows == 1
    assert User.objects.values_list("first_name", "username").get() == ("12:00:00+02", MANY)
