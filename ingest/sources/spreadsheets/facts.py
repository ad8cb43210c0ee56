"""The result of scanning a sheet, and helpers of the scanners."""

from __future__ import annotations

import dataclasses

from ingest.exceptions import SourceError
from ingest.plurals import counted

FEW_CELLS = 5_000_000
"""calamine holds the whole rectangle from the first to the last cell, 32 bytes for each cell."""
MOST_EMPTY = 20
"""A larger rectangle with more empty cells than this for each filled one is refused."""

ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
"""Excel's errors by their codes in its binary formats (MS-XLS 2.5.10)."""


@dataclasses.dataclass
class SheetFacts:
    """Facts about a sheet that calamine does not report; rows and columns count from 1."""

    errors: dict[int, dict[int, str]] = dataclasses.field(default_factory=dict)
    """The texts of cells with an error, by row and column."""
    texts: dict[int, dict[int, str]] = dataclasses.field(default_factory=dict)
    """The texts that calamine reads without their tabs and line breaks, by row and column."""
    hidden: list[int] = dataclasses.field(default_factory=list)
    """The hidden rows."""
    hidden_columns: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    """The hidden columns, as ranges: the first and the last of each."""
    unknown: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """The cells with a formula but no stored value."""
    zeros: set[int] = dataclasses.field(default_factory=set)
    """The columns with numbers that are shown with leading zeros."""
    merged: list[str] = dataclasses.field(default_factory=list)
    """One item for each range of merged cells, in formats for which calamine does not report them.
    """

    def add_error(self, row: int, column: int, shown: str) -> None:
        """Add a cell with an error."""
        self.errors.setdefault(row, {})[column] = shown


def check_extent(name: str, sheet: str, *, rows: int, columns: int, cells: int) -> None:
    """Raise ``SourceError`` if few cells are so far apart that the sheet would need much memory."""
    if rows * columns > max(FEW_CELLS, (MOST_EMPTY + 1) * cells):
        raise SourceError(
            f"The sheet {sheet!r} of {name} has {counted(cells, 'cell')}, spread over "
            f"{counted(rows, 'row')} and {counted(columns, 'column')}. Delete the "
            "cells far from the table, which may look empty, or save the table as CSV."
        )


def letters(column: int) -> str:
    """Return a spreadsheet's name for a column, counted from 1: ``A``, ``AB``."""
    name = ""
    while column:
        column, place = divmod(column - 1, 26)
        name = chr(ord("A") + place) + name
    return name


def number_of(name: str) -> int:
    """Return the number, from 1, of the column with this name."""
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
