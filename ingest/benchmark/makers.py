"""For each kind of field, a maker: a function of a random generator that gives a likely value.

A maker knows the field's lengths, digits and bounds. It need not know everything: what it makes is
put before the field's own ``clean`` by the caller, and made again when refused.
"""

from __future__ import annotations

import datetime as dt
import string
import uuid
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField, HStoreField
from django.contrib.postgres.fields.ranges import RangeField
from django.contrib.postgres.search import SearchVectorField
from django.core import validators
from django.db import models
from django.utils import timezone

from ingest.exceptions import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Field = models.Field[Any, Any]

WORDS = tuple(
    """
    account bakery book bread cash card charge cinema coffee credit dinner doctor energy fee
    flight food fuel garden gift grocery gym holiday hotel income insurance interest internet
    invoice lunch market medicine music order parking payment pension phone refund rent repair
    salary school shoes shop standing subscription tax taxi ticket tools train transfer travel
    water
    """.split()  # noqa: SIM905 - fifty quoted words are no easier to read
)
TOKEN = string.ascii_lowercase + string.digits
TOKEN_LENGTH = 10
"""36¹⁰ tokens: a million of them hardly ever meet."""
TEXT_WORDS = 6
DAYS = 4_000
"""About eleven years: dates are as dense as in books that were kept for so long."""
LAST_DAY = dt.date(2025, 12, 31)
FLOAT_SPREAD = 1_000.0
DECIMAL_DIGITS = (12, 2)
"""For a decimal field that does not say how many digits it has."""
SAFE_INTEGER_BITS = 31
SHORT_TEXT = 24
"""A field of at most this length gets a token; a longer one gets words."""
ITEMS = 4
HALF = 0.5
BLOB_BYTES = 48


def find_maker(field: Field) -> Callable[[Random], Any]:
    """Give the maker for a field, or raise ``BenchmarkError`` for one of unknown kind."""
    if field.flatchoices:
        values = [value for value, _ in field.flatchoices if value not in (None, "")]
        return lambda random: random.choice(values)
    for kind, make in _MAKERS:
        if isinstance(field, kind):
            return make(field)
    known = getattr(models, field.get_internal_type(), None)
    for kind, make in _MAKERS:
        if isinstance(known, type) and issubclass(known, kind):
            return make(field)
    raise BenchmarkError(
        f"Rows cannot be made for {field.model._meta.label}: the field {field.name!r} is of an "
        f"unknown kind, {type(field).__name__}. Give a file of rows with --source FILE."
    )


def _bounds(field: Field, low: Any, high: Any) -> tuple[Any, Any]:
    # The field's validators hold the bounds of its column, too.
    for validator in field.validators:
        if isinstance(validator, (validators.MinValueValidator, validators.MaxValueValidator)):
            limit = validator.limit_value
            limit = limit() if callable(limit) else limit
            if isinstance(validator, validators.MinValueValidator):
                low = max(low, limit)
            else:
                high = min(high, limit)
    return low, high


def _lengths(field: Field, usual: int) -> tuple[int, int]:
    low, high = 1, getattr(field, "max_length", None) or usual
    for validator in field.validators:
        if isinstance(validator, validators.MinLengthValidator):
            low = max(low, int(validator.limit_value))
        elif isinstance(validator, validators.MaxLengthValidator):
            high = min(high, int(validator.limit_value))
    return low, max(low, high)


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
        # Every number of digits is as likely as every other: amounts are rarely in the billions.
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


def _text(field: Field) -> Callable[[Random], Any]:
    patterns = [
        item
        for item in field.validators
        if isinstance(item, validators.RegexValidator)
        and not isinstance(item, validators.URLValidator)
        and not item.inverse_match
    ]
    if patterns:
        return _pattern(field, patterns[0])
    low, high = _lengths(field, 200)
    if high <= SHORT_TEXT:
        return lambda random: "".join(random.choices(TOKEN, k=max(low, random.randint(1, high))))

    def make(random: Random) -> str:
        words = " ".join(random.choices(WORDS, k=random.randint(1, TEXT_WORDS)))
        return words[:high].rstrip().ljust(low, "x")

    return make


def unique_text(field: Field) -> Callable[[Random], Any]:
    """Give the maker of texts that hardly ever meet, also when case does not count."""
    low, high = _lengths(field, 200)
    if high <= SHORT_TEXT:
        return lambda random: "".join(random.choices(TOKEN, k=min(high, max(low, TOKEN_LENGTH))))
    return lambda random: (
        f"{random.choice(WORDS)}-{''.join(random.choices(TOKEN, k=TOKEN_LENGTH))}".ljust(low, "x")
    )


def _pattern(field: Field, validator: validators.RegexValidator) -> Callable[[Random], Any]:
    pattern = _source(validator)
    if pattern in _SLUGS:
        return _slug(field)
    try:
        import rstr
    except ImportError as error:
        raise BenchmarkError(
            f"Rows for {field.model._meta.label}.{field.name} are made from its regular "
            "expression, which needs a library: pip install 'django-ingest[benchmark]'. "
            "Or give a file of rows with --source FILE."
        ) from error
    return lambda random: rstr.Rstr(random).xeger(pattern)


def _source(validator: Any) -> str:
    # The regular expression is compiled at its first use, and a text to the type checker.
    return str(validator.regex.pattern)


_SLUGS = {
    validators.slug_re.pattern,
    _source(validators.validate_unicode_slug),
}


def _slug(field: Field) -> Callable[[Random], Any]:
    _, high = _lengths(field, 50)
    token = min(TOKEN_LENGTH, high)
    return lambda random: f"{random.choice(WORDS)}-{''.join(random.choices(TOKEN, k=token))}"[
        -high:
    ].strip("-")


def _email(_: Field) -> Callable[[Random], Any]:
    return lambda random: f"{''.join(random.choices(TOKEN, k=TOKEN_LENGTH))}@example.com"


def _url(_: Field) -> Callable[[Random], Any]:
    return lambda random: (
        f"https://example.com/{random.choice(WORDS)}/{''.join(random.choices(TOKEN, k=8))}"
    )


def _path(field: Field) -> Callable[[Random], Any]:
    folder = getattr(field, "path", "") or "files"
    folder = str(folder() if callable(folder) else folder).rstrip("/")
    return lambda random: (
        f"{folder}/{random.choice(WORDS)}_{''.join(random.choices(TOKEN, k=8))}.png"
    )


def _address(field: Field) -> Callable[[Random], Any]:
    protocol = str(getattr(field, "protocol", "both")).lower()

    def make(random: Random) -> str:
        if protocol == "ipv6" or (protocol == "both" and random.random() < HALF):
            return str(IPv6Address((0x2001_0DB8 << 96) + random.getrandbits(64)))
        return str(IPv4Address(random.getrandbits(32)))

    return make


def _boolean(_: Field) -> Callable[[Random], Any]:
    return lambda random: random.random() < HALF


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
    low, high = _lengths(field, BLOB_BYTES)
    return lambda random: random.randbytes(random.randint(low, max(low, min(high, BLOB_BYTES))))


def _document(_: Field) -> Callable[[Random], Any]:
    return lambda random: {
        "name": random.choice(WORDS),
        "count": random.randint(0, 1_000),
        "tags": random.sample(WORDS, 2),
        "is_open": random.random() < HALF,
    }


def _entries(_: Field) -> Callable[[Random], Any]:
    return lambda random: {word: str(random.randint(0, 99)) for word in random.sample(WORDS, 3)}


def _words(_: Field) -> Callable[[Random], Any]:
    return lambda random: " ".join(random.sample(WORDS, 3))


def _array(field: Any) -> Callable[[Random], Any]:
    make = find_maker(_bound_to(field.base_field, field))
    low, high = _lengths(field, ITEMS)
    low, high = (field.size, field.size) if field.size else (low, min(high, max(low, ITEMS)))
    return lambda random: [make(random) for _ in range(random.randint(low, high))]


def _range(field: Any) -> Callable[[Random], Any]:
    make = find_maker(_bound_to(field.base_field, field))
    bounds = getattr(field, "default_bounds", "[)")

    def make_range(random: Random) -> Any:
        low, high = sorted([make(random), make(random)])
        return field.range_type(low, high, bounds if low != high else "[]")

    return make_range


def _bound_to(inner: Any, field: Field) -> Any:
    # Messages name the model's field, not the nameless one inside.
    if not hasattr(inner, "model"):
        inner.set_attributes_from_name(field.name)
        inner.model = field.model
    return inner


_MAKERS: tuple[tuple[type[Any], Callable[[Any], Callable[[Random], Any]]], ...] = (
    (ArrayField, _array),
    (HStoreField, _entries),
    (RangeField, _range),
    (SearchVectorField, _words),
    (models.DecimalField, _decimal),
    (models.FloatField, _float),
    (models.BooleanField, _boolean),
    (models.IntegerField, _integer),
    (models.SlugField, _slug),
    (models.EmailField, _email),
    (models.URLField, _url),
    (models.FileField, _path),
    (models.FilePathField, _path),
    (models.GenericIPAddressField, _address),
    (models.CharField, _text),
    (models.TextField, _text),
    (models.UUIDField, _uuid),
    (models.DateTimeField, _moment),
    (models.DateField, _date),
    (models.TimeField, _time),
    (models.DurationField, _duration),
    (models.BinaryField, _blob),
    (models.JSONField, _document),
)
"""The most particular kinds first."""
