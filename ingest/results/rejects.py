"""A record that was refused, and why."""

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
"""Characters of a reason that a message shows: a field may repeat the whole value in its own."""
KEPT_CHARACTERS = 1_000
"""Characters of a refused value and of its reason that the ledger keeps; a reject file has all."""
_MOST_NESTED = 20
"""Lists in lists that JSON is made of; what lies deeper is written as its repr."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reject:
    """One reason why one record was refused."""

    source: str
    """The file's name as given, or the kind of iterable."""
    record: int
    """The record's number in the source, from 1; the header is not a record."""
    column: str | None
    """The source column, or None where the whole record is at fault."""
    field: str | None
    """The model field's name, or None where no field is concerned."""
    value: Any
    """What the source had there."""
    reason: str
    """What is wrong, in the field's or PostgreSQL's own words, and the cure."""
    kind: Kind
    """At which stage the record was refused."""
    constraint: str | None = None
    """The name of the constraint that PostgreSQL reported."""
    line: int | None = None
    """The physical line of the file on which the record begins, from 1, where there are lines."""

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
        """Return it as the ledger keeps it: of JSON's kinds of values, and cut."""
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
        value = value[:VALUE_SHOWN]  # the repr of a long one would be longer still
    return cut(as_text(_repr(value)), VALUE_SHOWN)


def cut(text: str, length: int) -> str:
    """Return the text, or its beginning and an ellipsis, in no more than so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def as_text(text: str) -> str:
    """Return the text as UTF-8 can have it: half a surrogate pair is shown as it is escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON, and PostgreSQL's jsonb, can have it; any other by its text."""
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
"""Of an integer that Python writes as decimal digits: it has a limit of 4,300 digits."""


def _cut_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    shown = value if isinstance(value, str) else _repr(value)
    return value if len(shown) <= KEPT_CHARACTERS else cut(shown, KEPT_CHARACTERS)


def _str(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - somebody's own method, or a circle
        return f"<{type(value).__name__}>"


def _repr(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() >= _MOST_BITS:
        return hex(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - somebody's own method
        return f"<{type(value).__name__}>"
