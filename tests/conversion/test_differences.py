"""Each difference between a load and the ORM that is meant, and mended ones that must not return.

The differences are explained in docs/fields.md.
"""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from django.core.files.base import ContentFile
from django.db import models
from django.db.models import F
from django.test import override_settings

from ingest.conversion.cures import NO_RANGE
from tests.conversion.cells import Cells
from tests.conversion.families import FAMILIES
from tests.conversion.paired_tables import Twins
from tests.conversion.test_differential import JUDGED_BY_POSTGRESQL

pytestmark = pytest.mark.django_db(transaction=True)
BY_NAME = {family.name: family for family in FAMILIES}


FAR_EAST = dt.timezone(dt.timedelta(hours=23, minutes=59))
"""Farther than PostgreSQL reads a time zone."""


def twins_of(family, variant):
    place = list(BY_NAME[family].fields).index(variant)
    return Twins(BY_NAME[family].models[place], family in JUDGED_BY_POSTGRESQL)


def text(*cells):
    return pa.array([cell if isinstance(cell, bytes | None) else cell.encode() for cell in cells])


@pytest.fixture
def loaded(temporary_tables):
    """Convert and copy cells; give what each row stores, or the reason for its refusal."""

    def load(family, variant, column):
        with override_settings(**BY_NAME[family].settings):
            twins = twins_of(family, variant)
            positions = range(1, len(column) + 1)
            verdicts = twins.converted(Cells("", column), positions)
            _, rows = twins.rows(1)
        field = twins.model._meta.get_field("value")
        is_first = field.primary_key or list(twins.model._meta.fields).index(field) == 0
        return [
            verdict.messages[0]
            if verdict.messages
            else cut(rows[position], position, is_first=is_first)
            for position, verdict in zip(positions, verdicts, strict=True)
        ]

    return load


def cut(row, position, *, is_first):
    inner = row.removeprefix("(").removesuffix(")")
    value = inner.removesuffix(f",{position}") if is_first else inner.removeprefix(f"{position},")
    return value.strip('"')


def test_bytes_in_an_array_of_integers(loaded):
    assert loaded("array", "nested", [[b"abc"]]) == ["the column's type integer[] cannot hold it"]


@pytest.mark.parametrize(
    "column",
    [
        text("[12.34, 0.1]"),
        [[12.34, 0.1]],
        [(12.34, 0.1)],
        [[np.float64(12.34), np.float32(0.1)]],
        [np.array([12.34, 0.1])],
        [np.array([12.34, 0.1], np.float32)],
        pa.array([[12.34, 0.1]]),
        pa.array([[12.34, 0.1]], pa.list_(pa.float32())),
        pa.array([[12.34, 0.1]], pa.large_list(pa.float32())),
        pa.array([[12.34, 0.1]], pa.list_(pa.float64(), 2)),
    ],
    ids=lambda column: str(getattr(column, "type", column)),
)
def test_floats_in_an_array_of_decimals_are_their_shortest_texts(loaded, column):
    assert loaded("array", "of decimals", column) == ["{12.34,0.10}"]


def test_a_message_shows_a_tuple_as_a_tuple(loaded):
    assert loaded("integer", "required", [("a",)]) == ["“('a',)” value must be an integer."]


def test_bytes_that_are_no_text(loaded):
    got = loaded("char", "required", text(b"a\xe9", "ab"))
    assert got == [
        "byte 0xE9 is not valid in the source's encoding: specify the file's encoding",
        "ab",
    ]


@pytest.mark.parametrize(
    ("family", "variant", "want"),
    [
        ("char", "blank", ""),
        ("char", "null blank", ""),
        ("integer", "null blank", ""),
        ("char", "required", "This field cannot be blank."),
        ("char", "null", "This field cannot be blank."),
        ("integer", "required", "This field cannot be null."),
        ("foreign key", "by code", "This field cannot be null."),
    ],
)
def test_an_empty_cell(loaded, family, variant, want):
    assert loaded(family, variant, text("")) == [want]


def test_an_empty_cell_is_null_where_it_may_be(temporary_tables):
    twins = twins_of("char", "null blank")
    batch = twins.converted(Cells("text", text("")), [1])
    assert batch[0].messages is None
    assert twins.stored_nulls() == 1


def test_json_is_read(loaded):
    got = loaded("json", "required", text('{"b": 1, "a": null}', '"a"', "a"))
    assert got[0] == '{""a"": null, ""b"": 1}'
    assert got[1].strip('"') == "a"
    assert got[2].startswith("Value must be valid JSON: Expecting value")


def test_zeros_of_an_arrow_type(loaded):
    column = pa.array([Decimal("1.500000000"), Decimal("1.234000000")], pa.decimal128(38, 9))
    want = ["1.50", "Ensure that there are no more than 2 decimal places."]
    assert loaded("decimal", "required", column) == want


def test_zeros_of_a_decimal_count(loaded):
    want = ["Ensure that there are no more than 2 decimal places."]
    assert loaded("decimal", "required", [Decimal("1.500")]) == want


def test_a_moment_that_python_does_not_have(loaded):
    column = pa.array([1, 1_000], pa.int64()).view(pa.timestamp("ns", tz="UTC"))
    reason, stored = loaded("moment", "required", column)
    assert reason == (
        "it has nanoseconds, and PostgreSQL stores microseconds: round it in the source"
    )
    assert stored == "1970-01-01 00:00:00.000001+00"


def test_a_text_too_long_for_an_array(loaded):
    want = ["value too long for type character varying(5)[]", '{""(1,)""}']
    assert loaded("array", "of texts", [[(1, 2)], [(1,)]]) == want


def test_a_range_as_an_object_is_read_as_its_text_is(loaded):
    day, moment = dt.date(2025, 1, 5), dt.datetime(2025, 1, 6, 10)  # noqa: DTZ001
    assert loaded(
        "range",
        "days",
        [
            {"lower": "2025-01-05", "upper": None},
            {"lower": day, "upper": "2025-01-06", "bounds": "[]"},
            {"lower": day, "upper": moment},
            {"from": day},
        ],
    ) == [
        "[2025-01-05,)",
        "[2025-01-05,2025-01-07)",
        "the column's type daterange cannot hold it",
        NO_RANGE,
    ]
    assert loaded("range", "big", [{"lower": "1", "upper": 5}]) == ["[1,5)"]


def test_a_text_that_is_no_range_or_list_says_how_to_write_one(loaded):
    [reason] = loaded("range", "days", text("[2025-01-05,2025-01-06)"))
    assert '{"lower": 1, "upper": 5}' in reason
    assert "postgres-csv" in reason
    [reason] = loaded("array", "nested", text("{1,2}"))
    assert "[1, 2]" in reason
    assert "postgres-csv" in reason


def test_a_range_from_a_day_to_a_moment(loaded):
    day = dt.date(2025, 1, 5)
    want = ["the column's type daterange cannot hold it", "[2025-01-05,2025-01-06)"]
    moment = dt.datetime(2025, 1, 6, 10, tzinfo=dt.UTC)
    assert loaded("range", "days", [(day, moment), (day, dt.date(2025, 1, 6))]) == want


def test_the_sign_of_zero_is_kept(loaded):
    assert loaded("float", "required", [-0.0]) == ["-0"]


def test_naive_times_are_read_in_the_default_time_zone(loaded):
    moments = map(dt.datetime.fromisoformat, ("2025-01-05 10:00", "2025-10-26 02:30"))
    column = [*moments, dt.date(2025, 7, 1)]
    want = ["2025-01-05 09:00:00+00", "2025-10-26 00:30:00+00", "2025-06-30 22:00:00+00"]
    assert loaded("moment in Berlin", "required", column) == want


def test_a_time_after_the_time_zone_files_end(loaded):
    column = text("2038-07-01 12:00:00", "2025-07-01 12:00:00")
    want = ["2038-07-01 10:00:00+00", "2025-07-01 10:00:00+00"]
    assert loaded("moment in Berlin", "required", column) == want


def test_an_automatic_column_in_a_source(loaded):
    assert loaded("date", "automatic", text("2001-02-03")) == ["2001-02-03"]


def test_an_empty_automatic_key(loaded):
    assert loaded("automatic key", "normal", text("", "7")) == ["This field cannot be null.", "7"]


def test_an_expression(loaded):
    [reason] = loaded("integer", "required", [F("position")])
    assert reason == "an SQL expression cannot be sent as a value: use the ORM for this row"


def test_a_file_that_is_not_stored_yet(loaded):
    [reason] = loaded("slug, email, url, path", "file", [ContentFile(b"a", name="a")])
    assert reason == "TypeError: a file's name is a text, not ContentFile"


def test_texts_for_a_column_that_django_does_not_know(loaded):
    assert loaded("custom type", "real", text("1.25", "1e3", "x")) == [
        "1.25",
        "1000",
        "the column's type real cannot hold it",
    ]
    assert loaded("custom type", "numeric", text("1.23", "1.235")) == [
        "1.23",
        "the column's type numeric(5,2) cannot hold it",
    ]
    want = ["2025-01-05 10:00:00"]
    assert loaded("custom type", "naive moment", text("2025-01-05T10:00")) == want


@pytest.mark.parametrize(
    ("family", "variant", "column"),
    [
        # Once stored as -2147483648: psycopg's binary form drops what does not fit.
        ("range", "required", [(2**31, None)]),
        ("range", "required", ["x", (5, 1), 0, (Decimal(5), None), (Decimal("5.0"), None)]),
        ("range", "moments", [(dt.date(2025, 1, 5), None), ("2025-01-05", None)]),
        ("custom type", "naive moment", text("2025-03-30T10:00+02:00")),
        # Once stopped the whole load.
        ("json", "required", [float("nan"), {"a": "\0"}, "\ud800", [1]]),
        ("array", "of documents", [["\ud800"], [1]]),
        ("foreign key", "by code", text("abcdef", "abcde")),
        ("slug, email, url, path", "file", text("abcdef", "abcde", "abcde ")),
        ("address", "blank", ["", "::1"]),
        ("moment", "blank", ["", "2025-01-05T10:00Z"]),
        ("decimal", "required", [Decimal("Infinity"), Decimal(1)]),
        ("decimal", "required", text("0E713")),
        # Once cut or taken for something else.
        ("binary", "required", [5, b"a"]),
        ("decimal", "only places", text("0", "0.1")),
        ("integer", "null", [None, 1]),
        ("date", "limit of another type", text("2025-01-05")),
        ("duration", "blank", [[], "", dt.timedelta(1)]),
        ("time", "required", [dt.time(1, tzinfo=dt.UTC)]),
        ("range", "moments", [(None, dt.datetime(2024, 2, 29, tzinfo=FAR_EAST))]),
    ],
)
def test_what_was_once_different(temporary_tables, family, variant, column):
    form = "text" if isinstance(column, pa.Array) else "python"
    with override_settings(**BY_NAME[family].settings):
        assert twins_of(family, variant).compare(Cells(form, column)) == []


def test_each_family_has_a_field_of_django(temporary_tables):
    """A new field of Django's must not be forgotten."""
    kinds = {type(field) for family in FAMILIES for field in family.fields.values()}
    known = {
        kind
        for kind in vars(models).values()
        if isinstance(kind, type) and issubclass(kind, models.Field)
    }
    without_column = {"Field", "GeneratedField", "ManyToManyField", "ForeignObject"}
    same_as_another = {"OneToOneField", "CompositePrimaryKey", "OrderWrt"}
    removed = {"CommaSeparatedIntegerField", "IPAddressField", "NullBooleanField"}
    missing = {kind.__name__ for kind in known - kinds}
    assert missing - without_column - same_as_another - removed == set()


def test_the_differences_are_documented():
    page = Path(__file__).parents[2] / "docs" / "fields.md"
    differences = page.read_text().partition("## Differences from the ORM\n")[2]
    headings = [line for line in differences.splitlines() if line.startswith("### ")]
    assert len(headings) == 24


@pytest.mark.parametrize(
    ("family", "variant", "cells"),
    [
        ("custom type", "padded", Cells("python", [Decimal("-0.00"), Decimal("-0")])),
        ("custom type", "short", Cells("python", [Decimal("-0.0"), Decimal("0.0")])),
        ("array", "nested", Cells("text", text("[[]]", "[[],[]]", "[[],[1]]", "[[1],[]]", "[]"))),
        ("array", "nested", Cells("python", [[[]], [[], []], [[[]], [[]]], [[[]], []]])),
        ("array", "sized", Cells("text", text(f'["{"x" * 2000}"]'))),
        ("custom number", "cents", Cells("python", [Decimal("Infinity"), Decimal("1E+30")])),
    ],
)
def test_what_long_random_runs_found(family, variant, cells, temporary_tables):
    assert twins_of(family, variant).compare(cells) == []


@pytest.mark.parametrize("length", [999, 5000])
def test_a_long_value_does_not_hide_what_is_wrong_with_it(length, temporary_tables):
    cells = Cells("text", text("x" * length))
    with override_settings(**BY_NAME["moment in Berlin"].settings):
        twins = twins_of("moment in Berlin", "required")
        assert twins.compare(cells) == []
        [verdict] = twins.converted(cells, [1_000])
    [message] = verdict.messages
    assert message.startswith(f"“{'x' * 39}…” value has an invalid format.")


@pytest.mark.parametrize(
    ("variant", "bad", "reason"),
    [
        (
            "separating encoder",
            [1, 2],
            (
                "the field's encoder does not write valid JSON: Expecting ',' delimiter: "
                "line 1 column 3 (char 2)."
            ),
        ),
        ("encoder of a huge number", 5, "'1e200000' has more digits than PostgreSQL can store"),
        ("failing encoder", [{1}], "LookupError: {1}"),
    ],
)
def test_what_an_encoder_does_wrong_refuses_its_record_alone(loaded, variant, bad, reason):
    first, wrong, last = loaded("json", variant, ["a", bad, [1]])
    assert wrong == reason
    assert "a" in first
    assert "[1]" in last
