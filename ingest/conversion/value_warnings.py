"""Warnings about values that are stored as the ORM would, but are probably not meant so."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.functional import Promise

from ingest.conversion.cleaning import RefusedValue
from ingest.results.rejects import VALUE_SHOWN, cut, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAMES_UNLIKE_TEXT = {
    bool: "booleans",
    float: "numbers with a fraction",
    Decimal: "decimals",
    dict: "nested JSON",
    list: "lists",
    tuple: "lists",
    set: "sets",
    bytes: "bytes",
    bytearray: "bytes",
    memoryview: "bytes",
    models.Model: "model instances",
    Enum: "members of an Enum",
}
_FRACTION = re.compile(r"[0-9]\.0*[1-9]|[0-9][eE]-")
_WITH_OFFSET = re.compile(r":.*(Z|[+-][0-9:]+)\s*$")


class ValueWarnings:
    """Collects the warnings about one field's values, one of each kind."""

    def __init__(self, field: models.Field[Any, Any]) -> None:
        self.sentences: dict[str, None] = {}
        self._field = field
        self._warned: set[type] = set()
        base, self._is_of_arrays = _base_field(field), isinstance(field, ArrayField)
        self._is_of_text = isinstance(base, models.CharField | models.TextField)
        self._is_of_hours = isinstance(field, models.TimeField)
        self._is_of_floats = isinstance(field, models.FloatField)
        self._cut = _what_is_cut(field)

    def note_texts(self, values: list[Any]) -> None:
        """Note values of a typed source that a text field stores as their Python text."""
        if not self._is_of_text:
            return
        if self._is_of_arrays:
            values = list(_items(values))
        for kind in set(map(type, values)) - self._warned:
            name = _name_unlike_text(kind)
            if name is None:
                continue
            of_kind = (value for value in values if type(value) is kind)
            example = next(filter(_is_unlike_text, of_kind), None)
            if example is not None:
                self._warned.add(kind)
                self._warn(
                    f"the text field {self._field.name} was given "
                    f"{name}, such as {shorten(example)}, and stores "
                    f"{shorten(str(example))}, as the ORM would. Convert them in the source if "
                    "that is not meant."
                )

    def note(self, values: list[Any], cleaned: list[Any], *, is_text: bool) -> None:
        """Note values of which the field stores less, or something else, once it cleaned them."""
        if self._is_of_hours and dt.time not in self._warned:
            self._note_offset(values, cleaned)
        if self._is_of_floats and float not in self._warned:
            self._note_infinity(values, cleaned)
        if self._cut is not None and (not is_text or isinstance(self._field, ArrayField)):
            self._note_cut(values, cleaned)

    def _note_offset(self, values: list[Any], cleaned: list[Any]) -> None:
        """Note a time of day whose offset the field drops, as the ORM does."""
        for value, hour in zip(values, cleaned, strict=True):
            if isinstance(hour, dt.time) and _has_offset(value):
                self._warned.add(dt.time)
                self._warn(
                    f"the field {self._field.name} was given times with an offset, such "
                    f"as {shorten(str(value))}, and stores {hour.replace(tzinfo=None)}, as the ORM "
                    "would. Convert them in the source if that is not meant."
                )
                return

    def _note_infinity(self, values: list[Any], cleaned: list[Any]) -> None:
        """Note a number beyond all floats, which Python makes infinity, as the ORM does."""
        for value, got in zip(values, cleaned, strict=True):
            if isinstance(got, float) and math.isinf(got) and "inf" not in str(value).lower():
                self._warned.add(float)
                self._warn(
                    f"the field {self._field.name} was given numbers that are too large "
                    f"for a float, such as {cut(str(value), VALUE_SHOWN)}, and stores {got}, as "
                    "the ORM would. Leave them empty in the source if that is not meant."
                )
                return

    def _note_cut(self, values: list[Any], cleaned: list[Any]) -> None:
        """Note a value of a typed source of which the field, as in the ORM, keeps only a part."""
        kinds, what = self._cut or ((), "")
        for value, got in zip(values, cleaned, strict=True):
            if isinstance(value, kinds) and not isinstance(got, RefusedValue) and _is_cut(value):
                self._cut = None
                self._warn(
                    f"the field {self._field.name} was given {what}, such as "
                    f"{cut(str(value), VALUE_SHOWN)}, and keeps a part of them, as the ORM would. "
                    "Convert them in the source if that is not meant."
                )
                return

    def _warn(self, sentence: str) -> None:
        self.sentences[f"Warning: {sentence}"] = None


def _what_is_cut(field: models.Field[Any, Any]) -> tuple[tuple[type, ...], str] | None:
    """Return the types of values of which a field keeps only a part, and their name in words."""
    kinds: tuple[type, ...] = (list, tuple) if isinstance(field, ArrayField) else (float, Decimal)
    field = _base_field(field)
    if isinstance(field, models.IntegerField):
        return (*kinds, str) if list in kinds else kinds, "numbers with a fraction"
    if isinstance(field, models.DateField) and not isinstance(field, models.DateTimeField):
        return (dt.datetime,), "dates with a time"
    return None


def _base_field(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field of an array's items, of any depth; any other field itself."""
    while isinstance(field, ArrayField):
        field = field.base_field
    return field


def _items(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of lists, of any depth."""
    for value in values:
        if isinstance(value, list | tuple):
            lists = any(isinstance(item, list | tuple) for item in value)
            yield from _items(value) if lists else value


def _is_cut(value: Any) -> bool:
    """Return whether a field would keep only a part of a value."""
    if isinstance(value, str):  # a list in JSON
        return _FRACTION.search(value) is not None
    if isinstance(value, list | tuple):
        return any(map(_is_cut, value))
    if isinstance(value, dt.datetime):
        return value.time() != dt.time()
    if isinstance(value, Decimal):  # whose remainder is an error for large and infinite numbers
        return value.is_finite() and value != value.to_integral_value()
    return isinstance(value, float) and value % 1 != 0


def _name_unlike_text(kind: type) -> str | None:
    """Return the name of such values if Python's text of them is probably not intended."""
    if issubclass(kind, str | Promise) or kind is RefusedValue:
        return None
    for base, name in _NAMES_UNLIKE_TEXT.items():
        if (issubclass(kind, base) and not issubclass(kind, int)) or kind is base:
            return name
    has_text = issubclass(kind, int | None) or kind.__str__ is not object.__str__
    return None if has_text else "objects"


def _is_unlike_text(value: Any) -> bool:
    """Return whether Python's text of a value is probably not intended; a plain decimal's is."""
    if not isinstance(value, Decimal):
        return True
    text = str(value)
    return "E" in text or (value.is_finite() and "." in text and value == value.to_integral_value())


def _has_offset(value: Any) -> bool:
    if isinstance(value, str):
        return _WITH_OFFSET.search(value) is not None
    return isinstance(value, dt.time) and value.tzinfo is not None
