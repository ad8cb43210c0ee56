"""What a scan tells of a sheet."""

from __future__ import annotations

import dataclasses

from ingest.exceptions import SourceError

FEW_CELLS = 5_000_000
"""calamine holds the whole rectangle from the first to the last cell, 32 bytes for each cell."""
MOST_EMPTY = 20
"""So many empty cells for each filled one make a larger rectangle one that is not a table."""

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
"""The errors of Excel by the codes of its binary formats (MS-XLS 2.5.10)."""


@dataclasses.dataclass
class SheetFacts:
    """What there is to know of a sheet beside its values; rows and columns count from 1."""

    errors: dict[int, dict[int, str]] = dataclasses.field(default_factory=dict)
    """The cells in error: what each shows, by its row and its column."""
    hidden: list[int] = dataclasses.field(default_factory=list)
    """The rows that are hidden."""
    hidden_columns: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    """The columns that are hidden, as ranges: the first and the last of each."""
    unknown: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """The cells with a formula and without a stored value."""
    merged: list[str] = dataclasses.field(default_factory=list)
    """The ranges of merged cells, where calamine does not know them."""

    def add_error(self, row: int, column: int, shown: str) -> None:
        """Note a cell in error."""
        self.errors.setdefault(row, {})[column] = shown


def check_extent(name: str, sheet: str, *, rows: int, columns: int, cells: int) -> None:
    """Raise ``SourceError`` where a few cells stand too far apart to be held in memory."""
    if rows * columns > max(FEW_CELLS, (MOST_EMPTY + 1) * cells):
        raise SourceError(
            f"The sheet {sheet!r} of {name} has {cells:,} cells, spread over "
            f"{rows:,} rows and {columns:,} columns. Delete the cells far from the table, which "
            "may look empty, or save the table as CSV."
        )


def letters(column: int) -> str:
    """Return what a spreadsheet calls a column, counted from 1: ``A``, ``AB``."""
    name = ""
    while column:
        column, place = divmod(column - 1, 26)
        name = chr(ord("A") + place) + name
    return name


def number_of(name: str) -> int:
    """Return the number, from 1, of a column that a spreadsheet calls so."""
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
