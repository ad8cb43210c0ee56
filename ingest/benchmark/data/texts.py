"""Makers of texts: words, tokens, addresses, and texts that match a regular expression."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from django.core import validators

from ingest.exceptions import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from django.db import models

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
"""36¹⁰ tokens: among a million, two are hardly ever equal."""
TEXT_WORDS = 6
SHORT_TEXT = 24
"""A field of at most this length gets a token; a longer one gets words."""
HALF = 0.5


def lengths(field: Field, usual: int) -> tuple[int, int]:
    low, high = 1, getattr(field, "max_length", None) or usual
    for validator in field.validators:
        if isinstance(validator, validators.MinLengthValidator):
            low = max(low, int(validator.limit_value))
        elif isinstance(validator, validators.MaxLengthValidator):
            high = min(high, int(validator.limit_value))
    return low, max(low, high)


def make_text(field: Field) -> Callable[[Random], Any]:
    patterns = _patterns(field)
    if patterns:
        return _pattern(field, patterns[0])
    low, high = lengths(field, 200)
    if high <= SHORT_TEXT:
        return lambda random: "".join(random.choices(TOKEN, k=max(low, random.randint(1, high))))

    def make(random: Random) -> str:
        words = " ".join(random.choices(WORDS, k=random.randint(1, TEXT_WORDS)))
        return words[:high].rstrip().ljust(low, "x")

    return make


def make_unique_text(field: Field) -> Callable[[Random], Any]:
    """Return the maker of texts that are hardly ever equal, even ignoring case."""
    patterns = _patterns(field)
    if patterns and not _may_have_token(patterns):
        return _pattern(field, patterns[0])
    low, high = lengths(field, 200)
    if high <= SHORT_TEXT:
        return lambda random: "".join(random.choices(TOKEN, k=min(high, max(low, TOKEN_LENGTH))))
    return lambda random: (
        f"{random.choice(WORDS)}-{''.join(random.choices(TOKEN, k=TOKEN_LENGTH))}".ljust(low, "x")
    )


def _patterns(field: Field) -> list[validators.RegexValidator]:
    return [
        item
        for item in field.validators
        if isinstance(item, validators.RegexValidator)
        and not isinstance(item, validators.URLValidator)
        and not item.inverse_match
    ]


def _may_have_token(patterns: list[validators.RegexValidator]) -> bool:
    # For user names and the like, a word with a token is valid and reads better than noise.
    return all(item.regex.search(f"{WORDS[0]}-{TOKEN[:TOKEN_LENGTH]}") for item in patterns)  # type: ignore[union-attr]


def _pattern(field: Field, validator: validators.RegexValidator) -> Callable[[Random], Any]:
    pattern = _source(validator)
    if pattern in _SLUGS:
        return make_slug(field)
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
    # The regular expression is compiled on first use; the type checker takes it for a text.
    return str(validator.regex.pattern)


_SLUGS = {
    validators.slug_re.pattern,
    _source(validators.validate_unicode_slug),
}


def make_slug(field: Field) -> Callable[[Random], Any]:
    _, high = lengths(field, 50)
    token = min(TOKEN_LENGTH, high)
    return lambda random: f"{random.choice(WORDS)}-{''.join(random.choices(TOKEN, k=token))}"[
        -high:
    ].strip("-")


def make_email(_: Field) -> Callable[[Random], Any]:
    return lambda random: f"{''.join(random.choices(TOKEN, k=TOKEN_LENGTH))}@example.com"


def make_url(_: Field) -> Callable[[Random], Any]:
    return lambda random: (
        f"https://example.com/{random.choice(WORDS)}/{''.join(random.choices(TOKEN, k=8))}"
    )


def make_path(field: Field) -> Callable[[Random], Any]:
    folder = getattr(field, "path", "") or "files"
    folder = str(folder() if callable(folder) else folder).rstrip("/")
    return lambda random: (
        f"{folder}/{random.choice(WORDS)}_{''.join(random.choices(TOKEN, k=8))}.png"
    )


def make_address(field: Field) -> Callable[[Random], Any]:
    protocol = str(getattr(field, "protocol", "both")).lower()

    def make(random: Random) -> str:
        if protocol == "ipv6" or (protocol == "both" and random.random() < HALF):
            return str(IPv6Address((0x2001_0DB8 << 96) + random.getrandbits(64)))
        return str(IPv4Address(random.getrandbits(32)))

    return make


def make_words(_: Field) -> Callable[[Random], Any]:
    return lambda random: " ".join(random.sample(WORDS, 3))
