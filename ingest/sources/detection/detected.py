"""What was detected of a file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectedColumn:
    """What the cells of a column are."""

    name: str
    """The source column's name, or its position from 1 where there is no header."""
    date_formats: tuple[str, ...] = ()
    """The formats that its dates are in, the commonest first; empty if it has none."""
    other_date_format: str | None = None
    """Another format that reads these dates, as other days: the first one is then a guess."""
    is_number: bool = False
    """Whether its cells are numbers."""
    decimal_mark: str | None = None
    """What stands before the fraction, where some cell has one."""
    thousands_mark: str | None = None
    """What stands between thousands, where some cell has it."""
    unclear_mark: str | None = None
    """A mark that may be the decimal or the thousands mark: what it is taken for is a guess."""
    has_negative: bool = False
    """Whether some number has a minus, parentheses or ``DR``."""
    words: tuple[str, ...] = ()
    """Its distinct texts, where they are few."""
    is_plain: bool = True
    """Whether its numbers are written as Python writes them."""
    currency: tuple[str, ...] = ()
    """Currency signs and codes beside its numbers."""
    is_known: bool = True
    """Whether it has cells that could be looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detected:
    """What a source is like; ``str()`` gives the findings, a line each."""

    source: str
    """The file's name."""
    options: SourceOptions
    """How it is to be read."""
    columns: tuple[DetectedColumn, ...]
    """Its columns, in order."""
    trailer_pattern: str | None = None
    """A regular expression (RE2) that is found where the trailer begins, and in no record."""
    findings: tuple[str, ...]
    """What was detected and why, in sentences."""

    @property
    def decimal_mark(self) -> str | None:
        """The decimal mark that most columns have."""
        return commonest([column.decimal_mark for column in self.columns])

    def __str__(self) -> str:
        return "\n".join(self.findings)


def commonest(marks: Sequence[str | None]) -> str | None:
    """Return the mark that is there most often; None where none is."""
    said = [mark for mark in marks if mark]
    return max(said, key=said.count, default=None)
