"""Rejects: refused records, with the reasons."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Any, Literal

from ingest.terminal import safe_line

Kind = Literal["parse", "value", "reference", "duplicate", "constraint", "missing"]

VALUE_SHOWN = 40
"""Characters of a refused value that a message shows."""
REASON_SHOWN = 1_000
"""Characters of a reason that a message shows: a field's message may repeat the whole value."""
KEPT_CHARACTERS = 1_000
"""Characters of a refused value and of its reason that the ledger keeps; a reject file has all."""
_MOST_NESTED = 20
"""How deeply lists and dicts are written as JSON; deeper ones are written as their text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reject:
    """One reason why one record was refused."""

    source: str
    """The file's name as given, or the kind of iterable."""
    record: int
    """The record's number in the source, from 1; the header is not a record."""
    column: str | None
    """The source column, or None if the whole record was refused."""
    field: str | None
    """The model field's name, or None if the reason concerns no field."""
    value: Any
    """The value in the source."""
    reason: str
    """What is wrong, as the field or PostgreSQL says it, and how to fix it."""
    kind: Kind
    """The stage that refused the record."""
    constraint: str | None = None
    """The name of the constraint that PostgreSQL reported."""
    line: int | None = None
    """The line of the file on which the record begins, from 1, if the file has lines."""

    def __str__(self) -> str:
        where = f"{self.source}, record {self.record:,}"
        if self.line is not None and self.line != self.record:
            where += f" (line {self.line:,})"
        if self.column is not None:
            where += f", column {self.column!r}"
        if self.field is not None and self.field != self.column:
            where += f" (field {self.field!r})"
        shown = "" if self.column is None else f": {shorten(self.value)}"
        return safe_line(f"{where}{shown}: {cut(self.reason, REASON_SHOWN)}")

    def kept(self) -> Reject:
        """Return the reject as the ledger keeps it: cut, and as values for JSON."""
        return dataclasses.replace(
            self,
            source=as_text(self.source),
            column=None if self.column is None else as_text(self.column),
            value=_cut_value(as_json(self.value)),
            reason=cut(as_text(self.reason), KEPT_CHARACTERS),
        )


def shorten(value: Any) -> str:
    """Return the value as a message shows it: its repr, cut to ``VALUE_SHOWN`` characters."""
    if isinstance(value, str | bytes):
        value = value[:VALUE_SHOWN]  # avoids the repr of a long value
    return cut(as_text(_repr(value)), VALUE_SHOWN)


def cut(text: str, length: int) -> str:
    """Return the text, cut to ``length`` characters with an ellipsis if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def as_text(text: str) -> str:
    """Return the text as valid UTF-8: a lone surrogate is replaced by its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Any, depth: int = 0) -> Any:  # noqa: C901 - a case for each kind
    """Return the value as JSON and PostgreSQL's jsonb can hold it; other types as their text."""
    is_lazy = value.__class__ is not type(value)
    if is_lazy:  # it says that it is what it wraps
        return as_text(_str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return as_text(str.__str__(value))
    if isinstance(value, int):
        return int(value) if value.bit_length() < _MOST_BITS else as_text(_repr(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="backslashreplace")
    if isinstance(value, dt.date | dt.time):
        return str(value)
    if depth < _MOST_NESTED:
        if isinstance(value, dict):
            return {as_text(_str(key)): as_json(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [as_json(item, depth + 1) for item in value]
    return as_text(_str(value))


_MOST_BITS = 10_000
"""The bits of an integer that Python can write in decimal: its limit is 4,300 digits."""


def _cut_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    shown = value if isinstance(value, str) else _repr(value)
    return value if len(shown) <= KEPT_CHARACTERS else cut(shown, KEPT_CHARACTERS)


def _str(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a user's own method, or a value that contains itself
        return f"<{type(value).__name__}>"


def _repr(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() >= _MOST_BITS:
        return hex(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's own method
        return f"<{type(value).__name__}>"
