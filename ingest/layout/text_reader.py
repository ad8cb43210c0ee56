"""Apply a layout's reading rules to the text of one field."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast, get_args
from zoneinfo import ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc
from django.db import models

from ingest.layout.datetimes import DateTimeReader
from ingest.layout.formats import check_format, suits
from ingest.layout.numbers import NumberReader, Places
from ingest.layout.truths import TruthWords

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.layout.definition import FieldLayout, Layout
    from ingest.layout.formats import Kind

NUMBERS = (models.IntegerField, models.DecimalField, models.FloatField)
"""The number fields."""
_MOMENTS: tuple[tuple[type[Any], Kind], ...] = (
    (models.DateTimeField, "datetime"),
    (models.DateField, "date"),
    (models.TimeField, "time"),
)

KINDS: dict[str, tuple[type[models.Field[Any, Any]], ...]] = {
    **dict.fromkeys(("decimal", "thousands", "currency", "grouping", "exponent"), NUMBERS),
    "places": (models.IntegerField, models.DecimalField),
    "whole": (models.IntegerField,),
    **dict.fromkeys(("formats", "pivot", "year"), (models.DateField, models.TimeField)),
    "timezone": (models.DateTimeField,),
    **dict.fromkeys(("true", "false"), (models.BooleanField,)),
}
"""The fields to which a key of ``Reading`` applies; a key that is not here applies to all."""
KINDS_READ = {
    **dict.fromkeys(("decimal", "thousands", "currency", "grouping", "exponent"), "a number"),
    "places": "a number with a limit to its places",
    "whole": "a whole number",
    **dict.fromkeys(("formats", "pivot", "year"), "a date or a time"),
    "timezone": "a date with a time",
    **dict.fromkeys(("true", "false"), "a boolean"),
}
"""The same in words, for messages."""


class FieldTextReader:
    """Converts the distinct texts of one field to text that the field itself reads."""

    def __init__(self, layout: Layout, name: str, field: models.Field[Any, Any]) -> None:
        rules = layout.reading_of(name)
        self._strip = bool(rules.strip)
        self._null = _words(rules.null)
        self._codes = _codes(rules)
        self._default = None if rules.default is None else as_text(rules.default)
        self.number = _number_reader(layout, name, rules, field)
        self.formats = _formats(layout, name, rules, field)
        """The formats of its dates or times."""
        self._moment = _moment_reader(layout, name, rules, field, self.formats)
        is_boolean = isinstance(field, models.BooleanField)
        self._words = TruthWords.of(layout, name, rules) if is_boolean else None
        self.changes = self._strip or any(
            item is not None
            for item in (
                *(self._null, self._codes, self._default),
                *(self.number, self._moment, self._words),
            )
        )
        """Whether it changes any text."""

    def prepare(self, texts: pa.Array) -> pa.Array:
        """Apply the first steps, before texts are joined or read: strip, null words, codes."""
        if self._strip or self.number is not None or self._moment is not None:
            texts = pc.utf8_trim_whitespace(texts)
        if self._null is not None:
            texts = pc.if_else(pc.is_in(texts, value_set=self._null), "", texts)
        if self._codes is not None:
            texts = _replace(texts, self._codes)
        return texts

    def read(self, texts: pa.Array) -> tuple[pa.Array, pa.Array | None]:
        """Read prepared texts, and return which could be read (None: all)."""
        readable = None
        if self.number is not None:
            texts, readable = self.number.read(texts)
        elif self._moment is not None:
            texts, readable = self._moment.read(texts)
        elif self._words is not None:
            texts = self._words.read(texts)
        return texts, readable

    @property
    def reads_nothing(self) -> bool:
        """Whether an empty cell means true or false in a boolean field."""
        return self._words is not None and self._words.has_nothing

    def is_word(self, texts: pa.Array) -> pa.BooleanArray | None:
        """Return which texts are words for true or false; None if the layout has no such words."""
        return None if self._words is None else self._words.are(texts)

    def is_nothing(self, texts: pa.Array) -> pa.BooleanArray:
        """Return which texts are white space only, or words for null."""
        trimmed = pc.utf8_trim_whitespace(texts)
        blank = pc.equal(trimmed, "")
        if self._null is None:
            return blank
        return pc.or_(blank, pc.is_in(trimmed, value_set=self._null))

    def read_typed(self, value: Any) -> Any:
        """Return a typed value with the layout's rules for its kind applied: its time zone."""
        if self._moment is not None:
            return self._moment.localize(value)
        return value

    def complete(self, texts: pa.Array) -> pa.Array:
        """Replace empty texts with the default."""
        if self._default is None:
            return texts
        return pc.if_else(pc.fill_null(pc.equal(texts, ""), True), self._default, texts)


def as_text(value: Any) -> str:
    """Return a constant of a layout as text that Django's fields read."""
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _number_reader(
    layout: Layout, name: str, rules: FieldLayout, field: models.Field[Any, Any]
) -> NumberReader | None:
    own: tuple[Any, ...] = (rules.decimal, rules.thousands, rules.currency)
    own += (rules.grouping, rules.exponent, rules.places, rules.whole)
    columns = (rules.sign, rules.debit, rules.credit)
    if not isinstance(field, NUMBERS) or all(item is None for item in own + columns):
        return None
    for key, known in (("grouping", ("indian",)), ("places", get_args(Places))):
        value = getattr(rules, key)
        if value is not None and value not in known:
            raise layout.error(
                ("fields", name, key), f"{key} is {value!r}: use {' or '.join(map(repr, known))}."
            )
    marks = [rules.decimal or ".", *(rules.thousands or ())]
    for mark in marks:
        if len(mark) != 1 or mark.isdigit() or mark in "+-()":
            raise layout.error(("fields", name, "thousands"), f"the mark {mark!r} cannot be used.")
    if len(set(marks)) < len(marks):
        raise layout.error(("fields", name), f"the mark {marks[0]!r} of {name} has two meanings.")
    places: Places = cast("Places", rules.places or "exact")
    field_places = getattr(field, "decimal_places", None)
    if isinstance(field, models.IntegerField):
        field_places = 0
        places = "zeros" if rules.whole and places == "exact" else places
    return NumberReader(
        marks[0],
        marks[1:],
        rules.currency or (),
        is_indian=rules.grouping == "indian",
        has_exponent=bool(rules.exponent),
        field_places=field_places,
        places=places,
    )


def _kind(field: models.Field[Any, Any]) -> Kind | None:
    return next((kind for base, kind in _MOMENTS if isinstance(field, base)), None)


def _formats(
    layout: Layout, name: str, rules: FieldLayout, field: models.Field[Any, Any]
) -> tuple[str, ...]:
    """Return the formats for a field: its own, or those of ``read`` that suit it.

    The formats of ``read`` are for all fields of dates and times, of which each has its own kind.
    """
    kind = _kind(field)
    if kind is None or rules.formats is None:
        return ()
    try:
        for item in rules.formats:
            check_format(item)
    except ValueError as error:
        raise layout.error(("fields", name), f"{name}: {error}.") from error
    is_own = layout.fields[name].formats is not None
    return tuple(item for item in rules.formats if is_own or suits(item, kind))


def _moment_reader(
    layout: Layout,
    name: str,
    rules: FieldLayout,
    field: models.Field[Any, Any],
    formats: tuple[str, ...],
) -> DateTimeReader | None:
    kind = _kind(field)
    if kind is None or not (formats or (rules.timezone is not None and kind == "datetime")):
        return None
    try:
        return DateTimeReader(
            kind, formats, pivot=rules.pivot, year=rules.year, timezone=rules.timezone
        )
    except ZoneInfoNotFoundError as error:
        raise layout.error(("timezone",), f"there is no time zone {rules.timezone!r}.") from error
    except ValueError as error:
        raise layout.error(("fields", name), f"{name}: {error}.") from error


def _words(words: tuple[str, ...] | None) -> pa.Array | None:
    return pa.array(words, pa.string()) if words else None


_Codes = tuple[pa.Array, pa.Array, "str | None"]


def _codes(rules: FieldLayout) -> _Codes | None:
    if rules.values is None:
        return None
    otherwise = None if rules.otherwise is None else as_text(rules.otherwise)
    return _table({code: as_text(value) for code, value in rules.values.items()}, otherwise)


def _table(words: Mapping[str, str], otherwise: str | None) -> _Codes:
    return pa.array(list(words), pa.string()), pa.array(list(words.values())), otherwise


def _replace(texts: pa.Array, codes: _Codes) -> pa.Array:
    words, meanings, otherwise = codes
    found = meanings.take(pc.index_in(texts, value_set=words))
    if otherwise is None:
        return pc.coalesce(found, texts)
    rest = pc.if_else(pc.equal(texts, ""), texts, pa.scalar(otherwise))
    return pc.coalesce(found, rest)
