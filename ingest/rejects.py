"""A record that was refused, and why."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Kind = Literal["parse", "value", "reference", "duplicate", "constraint"]

VALUE_SHOWN = 40
"""Characters of a refused value that a message shows."""


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
        return f"{where}{shown}: {self.reason}"


def shorten(value: Any) -> str:
    """Give the value as a message shows it: its repr, cut to ``VALUE_SHOWN`` characters."""
    shown = repr(value)
    return shown if len(shown) <= VALUE_SHOWN else f"{shown[: VALUE_SHOWN - 1]}…"
