"""Where in a text the table is: its delimiter, what stands before and after it, and its header."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import TYPE_CHECKING

from ingest.sources.detection.dialects import Dialect, find_dialects, split
from ingest.sources.detection.values import (
    choose_date_formats,
    choose_marks,
    date_formats,
    is_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITERS = ",;\t|^~"
PROFILED_RECORDS = 400
"""Records from which the kind of each column is told."""
PREAMBLE_RECORDS = 20
"""Records at the beginning from which, as far as there are others, no kind is told."""
TRAILER_RECORDS = 20
"""More records at the end than this are no trailer."""
_UNTYPED_WORTH = 0.25
_SAID = re.compile(r"(?i)sep=([^\w\s]|\t)(?:\r\n|\r|\n)")
"""What a spreadsheet writes and reads before the header."""

Record = list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table in a text."""

    delimiter: str
    quote: str
    doubled_quotes: bool
    escape: str | None
    width: int
    """How many cells its records have."""
    records: list[Record]
    """All records of the text, blank lines left out."""
    start: int
    """The place of the header, or of the first record where there is none."""
    header: Record | None
    stop: int
    """The place after the last record; what follows is a trailer."""

    @property
    def body(self) -> list[Record]:
        """The records between header and trailer."""
        return self.records[self.start + (self.header is not None) : self.stop]


def find_table(text: str, *, is_whole: bool, delimiters: str = DELIMITERS) -> Table | None:
    """Find the table in a text; None where no delimiter makes one.

    The delimiter wins that explains most: cells in records of equal width, and dates and numbers
    in these. A text that is a file's beginning only has no trailer.
    """
    said = _SAID.match(text)
    if said is not None:
        found = find_table(text[said.end() :], is_whole=is_whole, delimiters=said[1])
        return found and dataclasses.replace(
            found, records=[[said[0]], *found.records], start=found.start + 1, stop=found.stop + 1
        )
    best: Table | None = None
    best_score = 0.0
    for delimiter in delimiters:
        if delimiter not in text:
            continue
        for dialect in find_dialects(text, delimiter):
            records = split(text, dialect, is_whole=is_whole)
            score, width = _score(records)
            if score > best_score:
                best, best_score = _locate(records, width, dialect, is_whole=is_whole), score
    return best or _single_column(text, is_whole=is_whole)


def _score(records: Sequence[Record]) -> tuple[float, int]:
    """Say how much the widest regular part of the records explains, and its width."""
    widths = Counter(map(len, records))
    del widths[1]
    if not widths:
        return 0.0, 0
    width = max(widths, key=lambda width: (widths[width] * (width - 1), width))
    rows = [record for record in records if len(record) == width]
    cells = [cell.strip() for row in rows[1 : PROFILED_RECORDS + 1] or rows for cell in row]
    filled = [cell for cell in cells if cell]
    typed = sum(_is_typed(cell) for cell in filled) / len(filled) if filled else 0.0
    return widths[width] * (width - 1) * (_UNTYPED_WORTH + typed), width


def _is_typed(cell: str) -> bool:
    return is_number(cell) or bool(date_formats(cell))


def _locate(records: list[Record], width: int, dialect: Dialect, *, is_whole: bool) -> Table:
    wide = [place for place, record in enumerate(records) if len(record) == width]
    # The first ones may be a preamble as wide as the table, and its header.
    first = max(1, min(len(wide) // 3, PREAMBLE_RECORDS))
    profile = _Profile([records[place] for place in wide[first : first + PROFILED_RECORDS]])
    start = next((place for place in wide if profile.is_data(records[place])), wide[0])
    header = None
    if profile.is_empty:
        # Nothing but text: the first record names the columns if it could.
        header = records[start] if is_header(records[start]) else None
    else:
        while start > 0 and len(records[start - 1]) == width:
            if is_header(records[start - 1]):
                start -= 1
                header = records[start]
                break
            if not any(_is_typed(cell.strip()) for cell in records[start - 1]):
                break
            start -= 1
    stop = len(records)
    if is_whole:
        stop -= _trailer_length(records[start + (header is not None) :], profile)
    return Table(
        **dataclasses.asdict(dialect),
        width=width,
        records=records,
        start=start,
        header=header,
        stop=stop,
    )


def is_header(record: Sequence[str]) -> bool:
    """Could these cells be the names of columns? They are text, most are filled, few are alike."""
    cells = [cell.strip() for cell in record]
    filled = [cell for cell in cells if cell]
    if len(filled) <= len(cells) / 2 or any(_is_typed(cell) for cell in filled):
        return False
    return len(set(filled)) > len(filled) / 2


class _Profile:
    """What kind of cells a table's columns have."""

    def __init__(self, rows: Sequence[Record]) -> None:
        columns = [
            [cell.strip() for cell in column if cell.strip()] for column in zip(*rows, strict=True)
        ]
        self._dates = {
            place: _filled([row[place].strip() for row in rows])
            for place, column in enumerate(columns)
            if choose_date_formats(column)
        }
        self._numbers = {
            place
            for place, column in enumerate(columns)
            if place not in self._dates and choose_marks(column, None)
        }

    @property
    def is_empty(self) -> bool:
        """Are all columns text?"""
        return not self._dates and not self._numbers

    @property
    def date_column(self) -> int | None:
        """The place of the column with the most dates, if nearly every record has one there."""
        place = max(self._dates, key=lambda place: (self._dates[place], -place), default=None)
        return place if place is not None and self._dates[place] > 0.9 else None  # noqa: PLR2004

    def is_data(self, record: Record) -> bool:
        """Has the record a date or a number where the others have one?"""
        if self.date_column is not None:
            return bool(date_formats(record[self.date_column].strip()))
        return any(is_number(record[place].strip()) for place in self._numbers) or any(
            date_formats(record[place].strip()) for place in self._dates
        )

    def is_after(self, record: Record) -> bool:
        """Is this no record of the table, even a bad one: no date where each other has one?"""
        place = self.date_column
        if place is None:
            return 0 in self._numbers and not is_number(record[0].strip())
        return place >= len(record) or not date_formats(record[place].strip())


def _filled(cells: Sequence[str]) -> float:
    """Give the share of cells of dates that are filled; totals after the last date do not count."""
    dated = [place for place, cell in enumerate(cells) if date_formats(cell)]
    until = dated[-1] + 1 if dated else 0
    counted = cells[:until] if 2 * until > len(cells) else cells
    return sum(map(bool, counted)) / len(counted)


def _trailer_length(body: Sequence[Record], profile: _Profile) -> int:
    length = 0
    while length < len(body) and profile.is_after(body[-1 - length]):
        length += 1
    # A record that is cut off begins like the others; a trailer does not. And many are bad data.
    return length if length <= TRAILER_RECORDS and 2 * length <= len(body) else 0


def _single_column(text: str, *, is_whole: bool) -> Table | None:
    dialect = Dialect(",", '"')
    records = [record for record in split(text, dialect, is_whole=is_whole) if len(record) == 1]
    return _locate(records, 1, dialect, is_whole=False) if records else None
