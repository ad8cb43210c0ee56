"""The result of detecting how to read a file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectedColumn:
    """A source column and the kind of its cells."""

    name: str
    """The source column's name, or its position from 1 if there is no header."""
    date_formats: tuple[str, ...] = ()
    """The formats of its dates, the most frequent first; empty if it has no dates."""
    other_date_format: str | None = None
    """Another format that reads these dates as other days, so that the first one is a guess."""
    is_number: bool = False
    """Whether its cells are numbers."""
    decimal_mark: str | None = None
    """The mark before the fraction, if a cell has one."""
    thousands_mark: str | None = None
    """The mark between thousands, if a cell has one."""
    unclear_mark: str | None = None
    """A mark that could be the decimal or the thousands mark, so that its meaning is a guess."""
    has_negative: bool = False
    """Whether some number has a minus, parentheses or ``DR``."""
    words: tuple[str, ...] = ()
    """Its distinct texts, if there are few."""
    is_plain: bool = True
    """Whether its numbers are written as in Python."""
    currency: tuple[str, ...] = ()
    """Currency signs and codes beside its numbers."""
    is_running: bool = False
    """Whether its cells are running numbers, which count the records."""
    is_padded: bool = False
    """Whether most of its cells begin or end with blanks."""
    is_known: bool = True
    """Whether it has cells that could be examined."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detected:
    """How to read a source; ``str()`` returns the findings, one on each line."""

    source: str
    """The file's name."""
    options: SourceOptions
    """The options with which to read it."""
    columns: tuple[DetectedColumn, ...]
    """Its columns, in order."""
    trailer_pattern: str | None = None
    """A regular expression (RE2) that matches the first record of the trailer, and no other."""
    repeated_header: tuple[int, str] | None = None
    """A column, from 0, and its name in the header, if the header is repeated within the table."""
    findings: tuple[str, ...]
    """What was detected and why, in sentences."""

    @property
    def decimal_mark(self) -> str | None:
        """The most frequent decimal mark of the columns."""
        return commonest([column.decimal_mark for column in self.columns])

    def __str__(self) -> str:
        return "\n".join(self.findings)


def commonest(marks: Sequence[str | None]) -> str | None:
    """Return the most frequent mark, or None if there is none."""
    said = [mark for mark in marks if mark]
    return max(said, key=said.count, default=None)
