"""A maker for each type of field: a function of a random generator that returns a likely value.

A maker respects the field's lengths, digits and bounds. It need not respect everything: the caller
validates each value with the field's own ``clean``, and makes another if it is refused.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField, HStoreField
from django.contrib.postgres.fields.ranges import RangeField
from django.contrib.postgres.search import SearchVectorField
from django.core import validators
from django.db import models
from django.utils import timezone

from ingest.benchmark.data import texts
from ingest.exceptions import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Field = models.Field[Any, Any]

DAYS = 4_000
"""About eleven years: dates are as dense as in accounts kept for that long."""
LAST_DAY = dt.date(2025, 12, 31)
FLOAT_SPREAD = 1_000.0
DECIMAL_DIGITS = (12, 2)
"""For a decimal field without a number of digits."""
SAFE_INTEGER_BITS = 31
ITEMS = 4
BLOB_BYTES = 48


def find_maker(field: Field, *, is_unique: bool = False) -> Callable[[Random], Any]:
    """Return the maker for a field, or raise ``BenchmarkError`` for an unknown type.

    With ``is_unique`` texts are hardly ever equal; the range of other types is not changed by it.
    """
    if field.flatchoices:
        values = [value for value, _ in field.flatchoices if value not in (None, "")]
        return lambda random: random.choice(values)
    known = getattr(models, field.get_internal_type(), None)
    by_class = (make for kind, make in _MAKERS if isinstance(field, kind))
    by_name = (
        make for kind, make in _MAKERS if isinstance(known, type) and issubclass(known, kind)
    )
    make = next(by_class, None) or next(by_name, None)
    if make is None:
        raise BenchmarkError(
            f"Rows cannot be made for {field.model._meta.label}: the field {field.name!r} is of an "
            f"unknown kind, {type(field).__name__}. Give a file of rows with --source FILE."
        )
    if is_unique and make is texts.make_text:
        make = texts.make_unique_text
    return make(field)


def _bounds(field: Field, low: Any, high: Any) -> tuple[Any, Any]:
    # The field's validators include the bounds of its column.
    for validator in field.validators:
        if isinstance(validator, (validators.MinValueValidator, validators.MaxValueValidator)):
            limit = validator.limit_value
            limit = limit() if callable(limit) else limit
            if isinstance(validator, validators.MinValueValidator):
                low = max(low, limit)
            else:
                high = min(high, limit)
    return low, high


def _integer(field: Field) -> Callable[[Random], Any]:
    limit = 2**SAFE_INTEGER_BITS - 1
    low, high = _bounds(field, -limit, limit)
    low, high = int(-(-low // 1)), int(high // 1)
    steps = [
        int(item.limit_value)
        for item in field.validators
        if isinstance(item, validators.StepValueValidator)
    ]
    step = steps[0] if steps else 1
    return lambda random: random.randint(-(-low // step), high // step) * step


def _decimal(field: Field) -> Callable[[Random], Any]:
    digits = getattr(field, "max_digits", None) or DECIMAL_DIGITS[0]
    places = getattr(field, "decimal_places", None)
    places = DECIMAL_DIGITS[1] if places is None else places
    low, high = 1 - 10**digits, 10**digits - 1
    with localcontext(prec=2 * digits):
        least, most = _bounds(field, Decimal("-Infinity"), Decimal("Infinity"))
        if least.is_finite():
            low = int(least.scaleb(places).to_integral_value(ROUND_CEILING))
        if most.is_finite():
            high = int(most.scaleb(places).to_integral_value(ROUND_FLOOR))

    def make(random: Random) -> Decimal:
        # Every number of digits is equally likely: amounts are rarely in the billions.
        size = 10 ** random.randint(1, digits)
        number = random.randint(-size, size)
        if not low <= number <= high:
            number = low + number % (high - low + 1)
        return Decimal(f"{number}e-{places}")

    return make


def _float(field: Field) -> Callable[[Random], Any]:
    low, high = _bounds(field, float("-inf"), float("inf"))
    if low == float("-inf") and high == float("inf"):
        return lambda random: random.gauss(0, FLOAT_SPREAD)
    low = high - FLOAT_SPREAD if low == float("-inf") else low
    high = low + FLOAT_SPREAD if high == float("inf") else high
    return lambda random: random.uniform(float(low), float(high))


def _boolean(_: Field) -> Callable[[Random], Any]:
    return lambda random: random.random() < texts.HALF


def _uuid(_: Field) -> Callable[[Random], Any]:
    return lambda random: uuid.UUID(int=random.getrandbits(128), version=4)


def _date(field: Field) -> Callable[[Random], Any]:
    low, high = _bounds(field, LAST_DAY - dt.timedelta(days=DAYS), LAST_DAY)
    low = min(low, high)
    return lambda random: low + dt.timedelta(days=random.randint(0, (high - low).days))


def _moment(field: Field) -> Callable[[Random], Any]:
    end = dt.datetime.combine(LAST_DAY, dt.time(), tzinfo=dt.UTC)
    if not timezone.is_aware(timezone.now()):
        end = end.replace(tzinfo=None)
    low, high = _bounds(field, end - dt.timedelta(days=DAYS), end)
    span = max((high - low) // dt.timedelta(microseconds=1), 0)
    return lambda random: low + dt.timedelta(microseconds=random.randint(0, span))


def _time(_: Field) -> Callable[[Random], Any]:
    return lambda random: dt.time(
        random.randrange(24), random.randrange(60), random.randrange(60), random.randrange(10**6)
    )


def _duration(field: Field) -> Callable[[Random], Any]:
    low, high = _bounds(field, dt.timedelta(), dt.timedelta(days=100))
    span = max((high - low) // dt.timedelta(microseconds=1), 0)
    return lambda random: low + dt.timedelta(microseconds=random.randint(0, span))


def _blob(field: Field) -> Callable[[Random], Any]:
    low, high = texts.lengths(field, BLOB_BYTES)
    return lambda random: random.randbytes(random.randint(low, max(low, min(high, BLOB_BYTES))))


def _document(_: Field) -> Callable[[Random], Any]:
    return lambda random: {
        "name": random.choice(texts.WORDS),
        "count": random.randint(0, 1_000),
        "tags": random.sample(texts.WORDS, 2),
        "is_open": random.random() < texts.HALF,
    }


def _entries(_: Field) -> Callable[[Random], Any]:
    return lambda random: {
        word: str(random.randint(0, 99)) for word in random.sample(texts.WORDS, 3)
    }


def _array(field: Any, *, is_inner: bool = False) -> Callable[[Random], Any]:
    inner = _bound_to(field.base_field, field)
    # The inner arrays of an array must have the same length.
    make = _array(inner, is_inner=True) if isinstance(inner, ArrayField) else find_maker(inner)
    low, high = texts.lengths(field, ITEMS)
    low, high = (field.size, field.size) if field.size else (low, min(high, max(low, ITEMS)))
    low = high if is_inner else low
    return lambda random: [make(random) for _ in range(random.randint(low, high))]


def _range(field: Any) -> Callable[[Random], Any]:
    make = find_maker(_bound_to(field.base_field, field))
    bounds = getattr(field, "default_bounds", "[)")

    def make_range(random: Random) -> Any:
        low, high = sorted([make(random), make(random)])
        return field.range_type(low, high, bounds if low != high else "[]")

    return make_range


def _bound_to(inner: Any, field: Field) -> Any:
    # Messages name the model's field, not the nameless field inside.
    if not hasattr(inner, "model"):
        inner.set_attributes_from_name(field.name)
        inner.model = field.model
    return inner


_MAKERS: tuple[tuple[type[Any], Callable[[Any], Callable[[Random], Any]]], ...] = (
    (ArrayField, _array),
    (HStoreField, _entries),
    (RangeField, _range),
    (SearchVectorField, texts.make_words),
    (models.DecimalField, _decimal),
    (models.FloatField, _float),
    (models.BooleanField, _boolean),
    (models.IntegerField, _integer),
    (models.SlugField, texts.make_slug),
    (models.EmailField, texts.make_email),
    (models.URLField, texts.make_url),
    (models.FileField, texts.make_path),
    (models.FilePathField, texts.make_path),
    (models.GenericIPAddressField, texts.make_address),
    (models.CharField, texts.make_text),
    (models.TextField, texts.make_text),
    (models.UUIDField, _uuid),
    (models.DateTimeField, _moment),
    (models.DateField, _date),
    (models.TimeField, _time),
    (models.DurationField, _duration),
    (models.BinaryField, _blob),
    (models.JSONField, _document),
)
"""The most specific types first."""
