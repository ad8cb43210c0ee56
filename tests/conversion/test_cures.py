"""A refused value is named with what can be done about it."""

import datetime as dt
import json
import math
from collections import OrderedDict
from decimal import Decimal
from enum import Enum
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from django.utils.functional import SimpleLazyObject

from finance.models import Transaction
from ingest import load
from ingest.conversion.cures import (
    FORMATS,
    MARKS,
    NO_BASE64,
    NO_JSON,
    NO_LIST,
    NO_NAN,
    NO_RANGE,
    WHOLE,
    WORDS,
)
from ingest.conversion.structures import LONE_SURROGATE
from ingest.layout import FieldLayout, Layout, Reading
from tests.end_to_end.contract.models.arrays import Array
from tests.end_to_end.contract.models.moments import Moment
from tests.end_to_end.contract.models.numbers import Coercion
from tests.end_to_end.contract.models.ranges import Span
from tests.end_to_end.contract.models.structures import Blob, Document, Flag, Identifier
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db

DAY = "2024-01-02"
COERCION = {
    "whole": 1,
    "binary": 1,
    "price": 1,
    "day": "2024-01-02",
    "moment": "2024-01-02T03:04:05Z",
    "is_true": "True",
    "text": "a",
    "identifier": "0f8fad5b-d9cb-469f-a165-70867728950e",
}


def reason_of(model, record, field):
    fields = {item.name: None for item in model._meta.fields if not item.primary_key}
    result = load(model, [fields | record], on_error="reject")
    [found] = [reject for reject in result.rejects if reject.field == field]
    assert found.record == 1
    return found.reason


@pytest.mark.parametrize(
    ("field", "value", "cure"),
    [
        ("whole", "-1.0", WHOLE),
        ("whole", " 12. ", WHOLE),
        ("whole", "1,234", MARKS),
        ("whole", "1 234 567", MARKS),
        ("price", "1.234,50", MARKS),
        ("binary", "1'234.5", MARKS),
        ("day", "31.12.2024", FORMATS),
        ("moment", "31.12.2024 10:00", FORMATS),
        ("is_true", "yes", WORDS),
        ("whole", float("nan"), NO_NAN),
        ("price", np.float64("nan"), NO_NAN),
    ],
)
def test_the_cure_follows_the_words_of_the_field(field, value, cure):
    reason = reason_of(Coercion, {**COERCION, field: value}, field)
    assert reason.endswith(f" {cure}")
    assert reason.startswith(f"“{value}” value ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", "a"),
        ("whole", "1.5"),
        ("whole", "1.0.0"),
        ("day", "today"),
        ("price", "1.234"),
        ("is_true", ""),
    ],
)
def test_no_cure_is_made_up(field, value):
    reason = reason_of(Coercion, {**COERCION, field: value}, field)
    assert not any(cure in reason for cure in (WHOLE, MARKS, FORMATS, WORDS))


MOMENT = {"day": "2024-01-02", "moment": "2024-01-02T03:04Z", "hour": "01:02", "length": "1"}


@pytest.mark.parametrize(
    ("model", "record", "field", "reason"),
    [
        (Moment, MOMENT, "day", "DateField takes a date, or a text such as '2024-12-31'."),
        (
            Moment,
            MOMENT,
            "moment",
            "DateTimeField takes a datetime, or a text such as '2024-12-31 23:59:59'.",
        ),
        (Moment, MOMENT, "hour", "TimeField takes a time, or a text such as '23:59:59'."),
        (
            Moment,
            MOMENT,
            "length",
            "DurationField takes a timedelta, or a text such as '1 23:59:59'.",
        ),
        (Blob, {"short": b"a"}, "short", "BinaryField takes bytes, or a text of Base64."),
        (Array, {}, "integers", "ArrayField takes a list, or a text of JSON."),
        (Span, {}, "days", "DateRangeField takes a range, or a text of JSON."),
    ],
)
def test_a_value_of_another_type(model, record, field, reason):
    value = SimpleLazyObject(lambda: 5)  # which reads as a number where numbers are looked for
    for given, name in ((3.5, "float"), (value, "SimpleLazyObject"), (object(), "object")):
        assert reason_of(model, {**record, field: given}, field) == (
            f"Its type is {name}, but {reason}"
        )


@pytest.mark.parametrize(
    ("model", "field", "value", "reason"),
    [
        (Blob, "short", "a", NO_BASE64),
        (Blob, "short", "ü", NO_BASE64),
        (Blob, "short", r"\x6162", NO_BASE64),
        (Array, "integers", "1", NO_LIST),
        (Array, "integers", "null", NO_LIST),
        (Array, "integers", "{1,2}", NO_LIST),
        (Span, "days", "[1,2]", NO_RANGE),
        (Span, "days", '{"from": 1}', NO_RANGE),
        (Span, "days", {"from": 1}, NO_RANGE),
    ],
)
def test_a_text_that_is_written_in_another_way(model, field, value, reason):
    assert reason_of(model, {field: value}, field) == reason


@pytest.mark.parametrize("value", [dt.date(2024, 1, 2), Decimal("1.5"), {"a": [dt.time(1)]}, {1}])
def test_what_json_does_not_have(value):
    reason = reason_of(Document, {"content": value, "encoded": 1}, "content")
    assert reason == f"Value must be valid JSON. {NO_JSON}"


@pytest.mark.parametrize("field", ["text", "whole"])
def test_half_a_surrogate_pair(field):
    reason = reason_of(Coercion, {**COERCION, field: "\ud800"}, field)
    assert reason == LONE_SURROGATE if field == "text" else "must be an integer" in reason


@pytest.mark.parametrize("field", COERCION)
def test_lazy_objects_are_judged_alone(field):
    held = ["a", 5, 1.5, None, True, [1]]
    lazy = [SimpleLazyObject(partial(next, iter([value]))) for value in held]
    records = [{**COERCION, field: value} for value in (*lazy, COERCION[field])]
    result = load(Coercion, records, on_error="reject")
    assert {reject.record for reject in result.rejects} <= {1, 2, 3, 4, 5, 6}
    assert {reject.field for reject in result.rejects} <= {field}
    assert result.rows + result.rejected == 7
    assert result.rows >= 1


@pytest.mark.parametrize("source", ["records", "frame"])
def test_whole_is_named_beside_texts_and_then_helps(source, tmp_path):
    records = [{**COERCION, "whole": value} for value in (1.0, "1,234", -1.0)]
    given = pd.DataFrame(records) if source == "frame" else records
    fields = {name: FieldLayout(column=name) for name in COERCION}
    layout = Layout(fields=fields, read=Reading(thousands=(",",)))
    result = load(Coercion, given, layout=layout, on_error="reject")
    assert [(reject.record, reject.reason[-len(WHOLE) :]) for reject in result.rejects] == [
        (1, WHOLE),
        (3, WHOLE),
    ]
    layout = Layout(fields=fields, read=Reading(thousands=(",",), whole=True))
    load(Coercion, given, layout=layout)
    got = Coercion.objects.order_by("pk").values_list("whole", flat=True)
    assert list(got) == [1_234, 1, 1_234, -1]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.int64(5), 5),
        (np.float64(1.5), 1.5),
        (np.True_, True),
        (np.array([1, 2]), [1, 2]),
        (np.array(5), 5),
        (np.str_("a"), "a"),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_values_of_numpy_in_a_document(value, stored):
    rows = [{"content": value, "encoded": 1}, {"content": {"b": 1}, "encoded": [1]}]
    load(Document, rows)
    got = Document.objects.order_by("pk").values_list("content", flat=True)
    assert list(got) == [stored, {"b": 1}]


def test_the_longest_float_of_numpy():
    load(Coercion, [{**COERCION, "price": np.longdouble("0.1"), "binary": np.longdouble("0.1")}])
    assert Coercion.objects.values_list("price", "binary").get() == (Decimal("0.10"), 0.1)


@pytest.mark.parametrize(
    ("field", "value", "example"),
    [
        ("whole", 1.5, "1.5"),
        ("whole", Decimal("-2.5"), "-2.5"),
        ("day", dt.datetime(2024, 1, 2, 3), "2024-01-02 03:00:00"),  # noqa: DTZ001
    ],
)
@pytest.mark.parametrize("source", ["records", "frame"])
def test_a_value_that_is_cut_is_told(source, field, value, example):
    record = {**COERCION, field: value}
    result = load(Coercion, pd.DataFrame([record]) if source == "frame" else [record])
    [warning] = [line for line in result.decisions if line.startswith("Warning")]
    assert f" {field} was given " in warning
    assert f"such as {example}, and " in warning


@pytest.mark.parametrize(
    ("value", "example"), [(Decimal("1E+2"), "Decimal('1E+2')"), (Decimal("5.0"), "Decimal('5.0')")]
)
def test_a_decimal_in_a_text_field_is_told(value, example):
    result = load(Coercion, [{**COERCION, "text": value}])
    [warning] = [line for line in result.decisions if line.startswith("Warning")]
    assert " text was given decimals, " in warning
    assert f"such as {example}, and " in warning


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Colour.RED, "members of an Enum"),
        (SimpleNamespace(a=1), "objects"),
        (Coercion(pk=7), "model instances"),
        (OrderedDict(a=1), "nested JSON"),
    ],
)
def test_an_object_in_a_text_field_is_told(value, what):
    result = load(Coercion, [{**COERCION, "text": value}])
    [warning] = [line for line in result.decisions if line.startswith("Warning")]
    assert f" text was given {what}, such as " in warning
    assert Coercion.objects.get().text == str(value)


@pytest.mark.parametrize(
    ("value", "example"),
    [("1e400", "1e400"), ("9" * 400, "9999"), (Decimal("1e400"), "1E+400"), ("-2e308", "-2e308")],
)
@pytest.mark.parametrize("source", ["records", "CSV"])
def test_a_number_beyond_all_floats_is_told(source, value, example):
    record = {**COERCION, "binary": value}
    lines = ",".join(record), ",".join(map(str, record.values()))
    given = BytesIO("\n".join(lines).encode()) if source == "CSV" else [record]
    result = load(Coercion, given)
    [warning] = [line for line in result.decisions if line.startswith("Warning")]
    assert " binary was given numbers that are too large for a float, such as " in warning
    assert example in warning
    assert math.isinf(Coercion.objects.get().binary)


@pytest.mark.parametrize("value", [float("inf"), "Infinity", "-inf", Decimal("Infinity"), "1e308"])
def test_a_float_that_is_written_as_what_it_is_is_not_told(value):
    result = load(Coercion, [{**COERCION, "binary": value}])
    assert [line for line in result.decisions if line.startswith("Warning")] == []
    assert Coercion.objects.get().binary == float(value)


@pytest.mark.parametrize("form", ["lines", "array", "several files"])
def test_a_number_of_json_is_a_document_itself(form, tmp_path):
    numbers = ["1.5", "1.10", "1e2", "-0.0", "7", "12345678901234567890123", "1e400"]
    lines = [f'{{"content": {number}, "encoded": {number}}}' for number in numbers]
    path = tmp_path / "numbers.json"
    path.write_text(f"[{', '.join(lines)}]" if form == "array" else "\n".join(lines))
    given = [path] if form == "several files" else path
    result = load(Document, given, on_error="reject")
    assert [(it.record, it.field) for it in result.rejects] == [(7, "content"), (7, "encoded")]
    assert next(iter(result.rejects)).reason.startswith("Infinity is not a JSON number")
    want = [json.loads(number) for number in numbers[:-1]]
    for name in ("content", "encoded"):
        got = list(Document.objects.order_by("pk").values_list(name, flat=True))
        assert got == want
        assert list(map(type, got)) == list(map(type, want))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", 2.0),
        ("whole", Decimal("2.00")),
        ("day", dt.datetime(2024, 1, 2)),  # noqa: DTZ001
        ("day", dt.date(2024, 1, 2)),
        ("text", Decimal("5.05")),
    ],
)
def test_a_value_that_is_kept_is_not(field, value):
    result = load(Coercion, [{**COERCION, field: value}])
    assert [line for line in result.decisions if line.startswith("Warning")] == []


@pytest.mark.parametrize("value", [[1.5], [2, Decimal("1.5")], "[1.5]", "[1, 25e-1]"])
def test_an_item_of_a_list_that_is_cut_is_told(value):
    names = [item.name for item in Array._meta.fields if item.name != "id"]
    empty = {name: [] for name in names} | {"integers_or_null": None}
    result = load(Array, [{**empty, "integers": value, "board": [[1, 2.0]], "floats": [1.5]}])
    [warning] = [line for line in result.decisions if line.startswith("Warning")]
    assert warning.startswith("Warning: the field integers was given numbers with a fraction")


@pytest.mark.parametrize("value", [[[1]], ["a"], [{"a": 1}]])
def test_a_list_with_items_of_another_type(value):
    reason = reason_of(Array, {"integers": value}, "integers")
    assert "not supported between" not in reason
    assert "item" in reason.casefold()


def test_booleans_and_uuids_say_what_they_take():
    assert reason_of(Flag, {"is_set": "ja"}, "is_set").endswith(WORDS)
    assert reason_of(Identifier, {"number": dt.date(2024, 1, 2)}, "number") == (
        "Its type is date, but UUIDField takes a UUID, or its text."
    )
    load(Identifier, [{"number": UUID(int=1)}])


def test_an_instance_of_another_model_is_no_parent():
    account = AccountFactory()
    row = {"user": account, "account": account, "amount": 1, "description": "x", "tx_date": DAY}
    reason = reason_of(Transaction, row, "user")
    assert reason == "it is an instance of finance.Account, and user refers to auth.User"
    load(Transaction, [{**row, "user": SimpleLazyObject(lambda: account.user)}])
    assert Transaction.objects.get().user == account.user
