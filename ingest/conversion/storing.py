"""Convert prepared values to Arrow values of the column's type, as PostgreSQL would store them.

Arrow alone is too permissive: it truncates 1.5 to 1 and accepts 0.1 as a timestamp in 1970. Here a
value fits only if PostgreSQL would read it as the same value.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
from django.utils.dateparse import parse_duration

from ingest.conversion.structures import (
    MOST_DIGITS,
    MOST_PLACES,
    NO_NULL_CHARACTER,
    MisfitError,
    fit_hstore,
    fit_json,
    fit_json_item,
    fit_json_text,
    integer_fit,
    list_fit,
    range_fit,
)
from ingest.conversion.timezones import check_offset

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from ingest.postgres.catalog import Column
    from ingest.postgres.encoding import ColumnEncoding

HEADER_BYTES = 4
"""The number that PostgreSQL adds to a length in ``atttypmod``: VARHDRSZ."""
LARGEST_REAL = 3.4028234663852886e38
_INTEGER = re.compile(r"\s*[-+]?[0-9]+\s*", re.ASCII)
_FLOAT = re.compile(
    r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?\s*", re.ASCII | re.IGNORECASE
)


def make_fit(encoding: ColumnEncoding, zone: ZoneInfo) -> Callable[[Any], Any]:
    """Return the function that converts a prepared value for the column's Arrow type.

    ``zone`` is the time zone of Django's connection. The function raises ``MisfitError`` with a
    reason, or any other exception for a value of another type.
    """
    column, kind = encoding.column, encoding.arrow_type
    if encoding.dump is not None:
        return _dumped(encoding.dump, _structure_fit(column, zone))
    if pa.types.is_timestamp(kind):
        return _moment_fit(zone, has_zone=kind.tz is not None)
    if pa.types.is_string(kind):
        return _text_fit(column)
    for is_kind, fit in _FITS:
        if is_kind(kind):
            return fit
    return _same


def text_limit(column: Column) -> int | None:
    """Return the length *n* of a ``varchar(n)`` or ``char(n)`` column, or of its array items."""
    name = column.type_name.removeprefix("_")
    if name in {"varchar", "bpchar"} and column.type_modifier >= HEADER_BYTES:
        return column.type_modifier - HEADER_BYTES
    return None


def _same(value: Any) -> Any:
    return value


def _dumped(dump: Callable[[Any], bytes], fit: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    return lambda value: dump(fit(value))


def _structure_fit(column: Column, zone: ZoneInfo) -> Callable[[Any], Any]:
    """Return the function that checks a value before psycopg dumps it.

    It refuses the values that psycopg would write and PostgreSQL would refuse.
    """
    fits = {
        "int4range": integer_fit(_integer, 32),
        "int8range": integer_fit(_integer, 64),
        "numrange": range_fit(_exact_decimal),
        "daterange": range_fit(_date),
        "tstzrange": range_fit(_moment_fit(zone, has_zone=True)),
        "hstore": fit_hstore,
        "interval": _length_or_literal,
        "_interval": list_fit(_length),
        "json": fit_json_text,
        "jsonb": fit_json,
        "_jsonb": list_fit(fit_json_item),
        "text": _text_fit(column),
        "varchar": _text_fit(column),
    }
    name = column.type_name
    if name in fits:
        return fits[name]
    fit = fits.get(name.removeprefix("_"), _same)
    return list_fit(fit) if name.startswith("_") else fit


def _check_digits(value: Decimal, column: Column) -> None:
    """Raise ``MisfitError`` for a number too long for numeric, before its digits are written."""
    exponent = value.as_tuple().exponent
    if (
        isinstance(exponent, int)
        and value
        and (value.adjusted() >= MOST_DIGITS or exponent < -MOST_PLACES)
    ):
        raise MisfitError(f"it has more digits than the column's type {column.sql_type} can hold")


def _text_fit(column: Column) -> Callable[[Any], str]:
    limit = text_limit(column)

    def fit(value: Any) -> str:
        if isinstance(value, str):
            # str() of a text that is also an Enum would return its name.
            text = str.__str__(value)
        elif isinstance(value, Decimal):
            _check_digits(value, column)
            text = format(value or value.copy_abs(), "f")  # numeric has no -0
        elif type(value) in {int, UUID, dt.date}:
            text = str(value)
        else:
            raise TypeError
        if "\0" in text:
            raise MisfitError(NO_NULL_CHARACTER)
        # PostgreSQL cuts off excess characters only if they are spaces.
        if limit is not None and text[limit:].strip(" "):
            raise MisfitError(f"value too long for type {column.sql_type}")
        return text

    return fit


def in_zone(moment: dt.datetime, zone: ZoneInfo, *, has_zone: bool) -> dt.datetime:
    """Convert a time as PostgreSQL does in a session's time zone, for a type with or without zone.

    An ambiguous or nonexistent local time is standard time: DetermineTimeZoneOffset in
    src/backend/utils/adt/datetime.c.
    """
    if has_zone == (moment.utcoffset() is not None):
        return moment
    if not has_zone:
        return moment.astimezone(zone).replace(tzinfo=None)
    readings = [moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    return min(readings, key=lambda reading: reading.utcoffset() or dt.timedelta())


def _moment_fit(zone: ZoneInfo, *, has_zone: bool) -> Callable[[Any], dt.datetime]:
    def fit(value: Any) -> dt.datetime:
        if isinstance(value, str):
            read = dt.datetime.fromisoformat(value)
            # If the column has no time zone, PostgreSQL ignores that of a literal.
            value = read if has_zone else read.replace(tzinfo=None)
        if not isinstance(value, dt.datetime):
            raise TypeError
        check_offset(value)
        return in_zone(value, zone, has_zone=has_zone)

    return fit


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int | Decimal | str):
        raise TypeError
    if isinstance(value, str) and not _FLOAT.fullmatch(value):
        raise TypeError
    return float(value)


def _real(value: Any) -> float:
    number = _float(value)
    if math.isfinite(number) and abs(number) > LARGEST_REAL:
        raise TypeError
    return number


def _decimal(value: Any) -> Decimal:
    decimal = _exact_decimal(value)
    # Arrow fails at a zero with a large exponent.
    return decimal or Decimal()


def _exact_decimal(value: Any) -> Decimal:
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        value = Decimal(value.strip())
    elif isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise TypeError
    return Decimal(value)


def _date(value: Any) -> dt.date:
    if isinstance(value, str):
        return dt.date.fromisoformat(value)
    if isinstance(value, dt.datetime) or not isinstance(value, dt.date):
        raise TypeError
    return value


def _length_or_literal(value: Any) -> dt.timedelta | str:
    """Return an interval, or its text if only PostgreSQL can read it, as with months."""
    is_text = isinstance(value, str) and value
    return str(value) if is_text and parse_duration(value) is None else _length(value)


def _length(value: Any) -> dt.timedelta:
    # A text would be sent unchanged, and PostgreSQL would read its bytes as a binary interval.
    # PostgreSQL refuses an empty text, for which parse_duration() returns None.
    length = parse_duration(value) if isinstance(value, str) and value else value
    if not isinstance(length, dt.timedelta):
        raise TypeError
    return length


def _time(value: Any) -> dt.time:
    if isinstance(value, str):
        value = dt.time.fromisoformat(value)
    if not isinstance(value, dt.time):
        raise TypeError
    if value.tzinfo is not None and value.utcoffset() is None:
        raise MisfitError(f"a time of day has no offset in {value.tzinfo} without its date")
    return value.replace(tzinfo=None)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _uuid(value: Any) -> bytes:
    return (value if isinstance(value, UUID) else UUID(value)).bytes


_FITS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]], ...] = (
    (pa.types.is_boolean, _boolean),
    (pa.types.is_integer, _integer),
    (pa.types.is_float32, _real),
    (pa.types.is_float64, _float),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_date, _date),
    (pa.types.is_time, _time),
    (pa.types.is_fixed_size_binary, _uuid),
    (pa.types.is_binary, _bytes),
)
