"""Check documents, lists and ranges for values that Python accepts and PostgreSQL refuses.

PostgreSQL would refuse the whole COPY, without naming a record of a batch that is sent at once.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg.types.numeric import Int4, Int8
from psycopg.types.range import Range

from ingest.results.rejects import shorten
from ingest.sources.text import LONE_SURROGATE

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DIGITS, MOST_PLACES = 131_072, 16_383
"""The most digits of a numeric before and after the point.
https://www.postgresql.org/docs/current/datatype-numeric.html"""
NO_NULL_CHARACTER = "Null characters are not allowed: PostgreSQL cannot store U+0000."
_SUSPECT = ("\\u0000", "\\ud", "\\uD", "NaN", "Infinity")


class MisfitError(ValueError):
    """The column's type cannot hold a value; the message says why."""


def list_fit(fit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that fits the items of a list, and of the lists in it."""

    def fit_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError
        if _depth_of_empty(value) is not None:
            return []  # PostgreSQL reads {{}} and {{},{}} as {}; psycopg cannot write them
        return [
            fit_list(item) if isinstance(item, list) else None if item is None else fit(item)
            for item in value
        ]

    return fit_list


def _depth_of_empty(value: Any) -> int | None:
    """Return the depth of a list that has only empty lists, or None for any other value."""
    if not isinstance(value, list):
        return None
    if not value:
        return 1
    depths = {_depth_of_empty(item) for item in value}
    depth = depths.pop()
    return None if depths or depth is None else depth + 1


def range_fit(fit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that fits the bounds of a range."""

    def fit_range(value: Any) -> Any:
        if not isinstance(value, Range):
            raise TypeError
        if value.isempty:
            return value
        lower, upper = (
            None if bound is None else fit(bound) for bound in (value.lower, value.upper)
        )
        if lower is not None and upper is not None and _place(lower) > _place(upper):
            raise MisfitError("range lower bound must be less than or equal to range upper bound")
        return type(value)(lower, upper, value.bounds)

    return fit_range


def integer_fit(fit: Callable[[Any], int], bits: int) -> Callable[[Any], Any]:
    """Return a function that fits a range of integers, which PostgreSQL keeps as ``[lower,upper)``.

    psycopg drops the excess bits of an integer that is too large. Before 3.3.9 it writes a small
    one with too few bits, unless its type says how many.
    """
    limit = 2 ** (bits - 1)
    kind = {32: Int4, 64: Int8}[bits]

    def fit_range(value: Any) -> Any:
        fitted = range_fit(lambda bound: kind(fit(bound)))(value)
        kept = [
            None if bound is None else bound + (mark in marks)
            for bound, mark, marks in zip(
                (fitted.lower, fitted.upper), fitted.bounds or "[)", ("(", "]"), strict=True
            )
        ]
        if any(bound is not None and not -limit <= bound < limit for bound in kept):
            raise MisfitError("integer out of range")
        return fitted

    return fit_range


def _place(bound: Any) -> tuple[bool, Any]:
    # PostgreSQL sorts NaN after every number; Python cannot compare it.
    is_nan = isinstance(bound, Decimal) and bound.is_nan()
    return is_nan, 0 if is_nan else bound


def fit_hstore(value: Any) -> dict[str, str | None]:
    """Refuse what hstore cannot hold: anything except texts, and U+0000 in them."""
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise TypeError
    for text in (*value, *value.values()):
        if text is not None and "\0" in text:
            raise MisfitError(NO_NULL_CHARACTER)
    return value


def fit_json(value: Any) -> Any:
    """Refuse what jsonb cannot hold: NaN, infinities, U+0000 and lone surrogates.

    Source: https://www.postgresql.org/docs/current/datatype-json.html
    """
    written, is_plain = _write(value)
    if isinstance(written, str) and not (
        is_plain and not any(mark in written for mark in _SUSPECT)
    ):
        try:
            document = _parse(written, _read_fraction)
        except ValueError as error:
            _blame_encoder(value, error)
        else:
            _check(document)
    return written if isinstance(written, str) else value


def fit_json_text(value: Any) -> Any:
    """Refuse what a json column cannot hold; it keeps a document exactly as it was written."""
    written, _ = _write(value)
    if isinstance(written, str):
        try:
            _parse(written, str)
        except ValueError as error:
            _blame_encoder(value, error)
        return written
    return value


def fit_json_item(value: Any) -> Any:
    """Refuse the same in an item of an array; return it unchanged, because psycopg writes it."""
    fit_json(value)
    return value


def _write(value: Any) -> tuple[Any, bool]:
    """Return the JSON text of a prepared value, and whether ``json.dumps`` wrote it."""
    if not hasattr(value, "obj"):
        return value, False
    dumps = getattr(value, "dumps", None) or json.dumps
    written = dumps(value.obj)
    return written.decode() if isinstance(written, bytes) else written, dumps is json.dumps


def _parse(written: str, read_fraction: Callable[[str], Any]) -> Any:
    return json.loads(written, parse_constant=_refuse_constant, parse_float=read_fraction)


def _blame_encoder(value: Any, error: ValueError) -> None:
    """Raise ``MisfitError`` if the user's encoder wrote invalid JSON.

    Any other text is sent to PostgreSQL, which says what is wrong with it.
    """
    if isinstance(error, MisfitError):
        raise error
    if hasattr(value, "obj"):
        raise MisfitError(f"the field's encoder does not write valid JSON: {error}.") from error


def _read_fraction(text: str) -> Decimal:
    number = Decimal(text)
    if number and (number.adjusted() >= MOST_DIGITS or _places_of(number) > MOST_PLACES):
        raise MisfitError(f"{shorten(text)} has more digits than PostgreSQL can store")
    return number


def _places_of(number: Decimal) -> int:
    return -int(number.as_tuple().exponent)


def _refuse_constant(name: str) -> None:
    raise MisfitError(f"{name} is not a JSON number: PostgreSQL cannot store it.")


def _check(document: Any) -> None:
    if isinstance(document, str):
        if "\0" in document:
            raise MisfitError(NO_NULL_CHARACTER)
        if any("\ud800" <= character <= "\udfff" for character in document):
            raise MisfitError(LONE_SURROGATE)
    elif isinstance(document, list):
        for item in document:
            _check(item)
    elif isinstance(document, dict):
        for key, item in document.items():
            _check(key)
            _check(item)
