"""Documents, lists and ranges: what Python has of them and PostgreSQL refuses.

PostgreSQL would refuse the whole COPY, and name no record of a batch that is sent in one piece.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg.types.numeric import Int4, Int8
from psycopg.types.range import Range

from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DIGITS, MOST_PLACES = 131_072, 16_383
"""Digits that numeric has before and after the point.
https://www.postgresql.org/docs/current/datatype-numeric.html"""
NO_NULL_CHARACTER = "Null characters are not allowed: PostgreSQL cannot store U+0000."
_SUSPECT = ("\\u0000", "\\ud", "\\uD", "NaN", "Infinity")


class MisfitError(ValueError):
    """Why the column's type cannot hold a value."""


def list_fit(fit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what fits a list, and lists in it, by their items."""

    def fit_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError
        if _depth_of_empty(value) is not None:
            return []  # what PostgreSQL makes of {{}} and {{},{}}, and psycopg cannot write
        return [
            fit_list(item) if isinstance(item, list) else None if item is None else fit(item)
            for item in value
        ]

    return fit_list


def _depth_of_empty(value: Any) -> int | None:
    """Return how deep a list of nothing but empty lists is; None for any other value."""
    if not isinstance(value, list):
        return None
    if not value:
        return 1
    depths = {_depth_of_empty(item) for item in value}
    depth = depths.pop()
    return None if depths or depth is None else depth + 1


def range_fit(fit: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what fits a range by its bounds."""

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
    """Return what fits a range of integers: PostgreSQL keeps it as ``[lower,upper)``.

    psycopg writes an integer of too many bits without those that are too many. Before 3.3.9 it
    writes a small one with too few, unless its type says how many.
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
    # PostgreSQL orders NaN after every number; Python has no order for it.
    is_nan = isinstance(bound, Decimal) and bound.is_nan()
    return is_nan, 0 if is_nan else bound


def fit_hstore(value: Any) -> dict[str, str | None]:
    """Refuse what hstore has not: anything but texts, and U+0000 in them."""
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise TypeError
    for text in (*value, *value.values()):
        if text is not None and "\0" in text:
            raise MisfitError(NO_NULL_CHARACTER)
    return value


def fit_json(value: Any) -> Any:
    """Refuse what jsonb has not: NaN, infinities, U+0000 and halves of surrogate pairs.

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
    """Refuse what a column of json has not: it keeps a document as it is written."""
    written, _ = _write(value)
    if isinstance(written, str):
        try:
            _parse(written, str)
        except ValueError as error:
            _blame_encoder(value, error)
        return written
    return value


def fit_json_item(value: Any) -> Any:
    """Refuse the same in an item of an array, which psycopg is to write itself."""
    fit_json(value)
    return value


def _write(value: Any) -> tuple[Any, bool]:
    """Return what is written of a prepared value, and whether ``json`` alone has written it."""
    if not hasattr(value, "obj"):
        return value, False
    dumps = getattr(value, "dumps", None) or json.dumps
    written = dumps(value.obj)
    return written.decode() if isinstance(written, bytes) else written, dumps is json.dumps


def _parse(written: str, read_fraction: Callable[[str], Any]) -> Any:
    return json.loads(written, parse_constant=_refuse_constant, parse_float=read_fraction)


def _blame_encoder(value: Any, error: ValueError) -> None:
    """Raise ``MisfitError`` for what an encoder of the user's wrote; PostgreSQL judges other texts.

    PostgreSQL names what is wrong with a text that a field without an encoder gives.
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
    raise MisfitError(f"{name} is no JSON number: PostgreSQL cannot store it.")


def _check(document: Any) -> None:
    if isinstance(document, str):
        if "\0" in document:
            raise MisfitError(NO_NULL_CHARACTER)
        if any("\ud800" <= character <= "\udfff" for character in document):
            raise MisfitError("a surrogate stands alone: it is no character, but half of one.")
    elif isinstance(document, list):
        for item in document:
            _check(item)
    elif isinstance(document, dict):
        for key, item in document.items():
            _check(key)
            _check(item)
