"""Tell the user what to do about a refused value, if the field's own message does not."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField, HStoreField, RangeField
from django.db import models
from psycopg.types.range import Range

from ingest.exceptions import null_cure

if TYPE_CHECKING:
    Field = models.Field[Any, Any]

WHOLE = "To load whole numbers that are written with a point, set whole = true in the layout."
MARKS = (
    "To load numbers in this format, set decimal and thousands in the layout, or give --decimal "
    "and --thousands to the command."
)
FORMATS = (
    "To load dates and times in this format, set formats in the layout, or give --date-format to "
    "the command: --detect proposes them."
)
WORDS = (
    "To load other words, set true and false in the layout, or give --true and --false to the "
    "command."
)
NO_JSON = (
    "JSON has no dates, decimals, sets and bytes: give texts and numbers, or give the field an "
    "encoder, such as DjangoJSONEncoder."
)
NO_BASE64 = (
    "It is not Base64: write bytes in Base64, or load what PostgreSQL writes, such as "
    r"\x6162, with format='postgres-csv'."
)
NO_NAN = (
    "NaN is not a missing value: give None, or the frame itself, whose missing values become NULL."
)
_WHOLE = re.compile(r"\s*[-+]?[0-9]+\.0*\s*", re.ASCII)
_MARKED = re.compile(r"\s*[-+]?[0-9]+([., '][0-9]{3})*([.,][0-9]+)?\s*", re.ASCII)
_GROUPED = re.compile(r"\s*[-+]?[0-9]+([., '][0-9]{3})+\s*", re.ASCII)
_DIGIT = re.compile(r"[0-9]", re.ASCII)

_PLAIN = (
    *(models.IntegerField, models.DecimalField, models.FloatField, models.BooleanField),
    *(models.DateField, models.TimeField, models.DurationField, models.UUIDField),
    *(models.GenericIPAddressField, models.ForeignKey),
)
"""Fields of numbers, dates and the like, none of whose values is a word."""

NO_LIST = (
    'It is not a list: write [1, 2] or ["a", "b"], or load what PostgreSQL writes, such as {1,2}, '
    "with format='postgres-csv'."
)
NO_RANGE = (
    'It is not a range: write {"lower": 1, "upper": 5}, or load what PostgreSQL writes, such as '
    "[1,5), with format='postgres-csv'."
)
_TAKEN: tuple[tuple[type[Field], Any, str], ...] = (
    (models.DateTimeField, dt.datetime, "a datetime, or a text such as '2024-12-31 23:59:59'"),
    (models.DateField, dt.date, "a date, or a text such as '2024-12-31'"),
    (models.TimeField, dt.time, "a time, or a text such as '23:59:59'"),
    (models.DurationField, dt.timedelta, "a timedelta, or a text such as '1 23:59:59'"),
    (models.BinaryField, (bytes, bytearray, memoryview), "bytes, or a text of Base64"),
    (models.UUIDField, UUID, "a UUID, or its text"),
    (ArrayField, (list, tuple), "a list, or a text of JSON"),
    (RangeField, Range, "a range, or a text of JSON"),
    (HStoreField, dict, "a dict, or a text of JSON"),
)
"""The types and texts that fields accept, because Python's own error messages do not help."""
_TEXTS: tuple[tuple[type[Field], str], ...] = (
    (models.BinaryField, NO_BASE64),
    (ArrayField, NO_LIST),
    (RangeField, NO_RANGE),
)
"""The formats of fields' texts, because Python's own error messages do not help."""


def with_cure(field: Field, value: Any, reason: str) -> str:
    """Return why a field refused a value and, if it is known, what to do about it."""
    cure = _cure(field, value, reason)
    return reason if cure is None else f"{reason} {cure}"


def _cure(field: Field, value: Any, reason: str) -> str | None:
    messages = field.error_messages
    if value.__class__ is not type(value):  # a lazy object claims the class that it wraps
        return None
    if not isinstance(value, str):
        if isinstance(value, float) and value != value:  # noqa: PLR0124 - true only for NaN
            return NO_NAN
        is_no_json = isinstance(field, models.JSONField) and reason == str(messages["invalid"])
        return NO_JSON if is_no_json else None
    if isinstance(field, _PLAIN) and (nulls := null_cure(value)):
        return nulls.strip()
    if isinstance(field, models.BooleanField):
        return WORDS if value.strip() else None
    if isinstance(field, models.DateField | models.TimeField):
        is_unread = reason == _filled(messages.get("invalid"), value)
        return FORMATS if is_unread and _DIGIT.search(value) else None
    if isinstance(field, models.IntegerField) and _WHOLE.fullmatch(value):
        return WHOLE
    is_number = isinstance(field, models.IntegerField | models.DecimalField | models.FloatField)
    is_unread = is_number and reason == _filled(messages.get("invalid"), value)
    pattern = _GROUPED if isinstance(field, models.IntegerField) else _MARKED
    return MARKS if is_unread and pattern.fullmatch(value) else None


def _filled(message: Any, value: str) -> str | None:
    try:
        return str(message) % {"value": value}
    except (KeyError, TypeError, ValueError):
        return None


def _of_items(field: Field) -> str | None:
    base = getattr(field, "base_field", None)
    if not isinstance(field, ArrayField) or base is None:
        return None
    return f"An item of the list has another type than {type(base).__name__} takes."


def why_unread(field: Field, value: Any) -> str | None:
    """Return what a field accepts, if it could not read this value at all, or None."""
    kind = type(value)
    if issubclass(kind, str):
        return next((why for base, why in _TEXTS if isinstance(field, base)), None)
    if isinstance(field, RangeField) and issubclass(kind, dict):
        return NO_RANGE
    for base, own, taken in _TAKEN:
        if isinstance(field, base):
            if issubclass(kind, own):
                return _of_items(field)
            return f"Its type is {kind.__name__}, but {type(field).__name__} takes {taken}."
    return None
