"""Finds the table in a text: its delimiter, header, preamble and trailer."""

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
"""Records that are used to find the kind of each column."""
PREAMBLE_RECORDS = 20
"""Records at the beginning that are not used for it, if there are enough others."""
TRAILER_RECORDS = 20
"""The most records of a trailer."""
_DATED_SHARE = 1 / 3
"""Share of the records that must have a date for a run of dates to count."""
_RUN_SHARE = 0.6
"""Share of dates that a run must have, from the first record with a date to the last one."""
_FEW_CELLS = 2
"""With so few cells, a record with half of them filled is not nearly empty."""
_SUMMARY = re.compile(
    r"(?:sub|grand )?total|totaal|sum[am]?\b|summe|gesamt|suma\b|somme|soma\b|ukupno|összesen|"
    r"celkem|razem|итого|всего|сальдо|остаток|合計|合计|总计|小计|總計|残高|余额|saldo|solde|sald\b|"
    r"bal(?:ance)?\b|kontostand|zůst|(?:opening|closing|end(?:ing)?|anfangs|end)[ -]?(?:bal|saldo)|"
    r"end of|eof\b|\*{3}|-{3}|={3}|records?:|rows?:|count:|generated|disclaimer|note:",
    re.IGNORECASE,
)
"""Matches the beginning of totals and end marks; a record of the table may begin like that, too."""
_UNTYPED_WORTH = 0.25
_SAID = re.compile(r"(?i)sep=([!-/:-@\[-`{-~]|\t)(?:\r\n|\r|\n)")
"""Matches a line with the delimiter that spreadsheet programs write and read before the header."""

Record = list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectedTable:
    """A table in a text."""

    delimiter: str
    quote: str
    doubled_quotes: bool
    escape: str | None
    comment: str | None
    width: int
    """The number of cells of its records."""
    records: list[Record]
    """All records of the text, without blank lines."""
    start: int
    """The place of the header, or of the first record if there is no header."""
    header: Record | None
    stop: int
    """The place after the last record, where the trailer begins."""
    suspects: int = 0
    """How many of the last records lack a date or number, but are not certainly a trailer."""
    repeats: int = 0
    """How often the header is repeated within the table."""
    date_column: int | None = None
    """The place of the column with a date in nearly every record."""

    @property
    def body(self) -> list[Record]:
        """The records between header and trailer, without those that are the header again."""
        records = self.records[self.start + (self.header is not None) : self.stop]
        if not self.repeats:
            return records
        header = _bare(self.header or [])
        return [record for record in records if _bare(record) != header]

    @property
    def has_empty_surplus(self) -> bool:
        """Whether records have more cells than the header, and all these are empty."""
        names = len(self.header or ())
        surplus = [record[names:] for record in self.body if len(record) > names > 0]
        return bool(surplus) and not any(cell.strip() for cells in surplus for cell in cells)


def find_table(text: str, *, is_whole: bool, delimiters: str = DELIMITERS) -> DetectedTable | None:
    """Find the table in a text; None if it has no records.

    The delimiter that explains most wins: it should split records into equally many cells, and
    these should be dates and numbers. No trailer is searched for if the text is not the whole file.
    """
    said = _SAID.match(text)
    if said is not None:
        found = find_table(text[said.end() :], is_whole=is_whole, delimiters=said[1])
        return found and dataclasses.replace(
            found, records=[[said[0]], *found.records], start=found.start + 1, stop=found.stop + 1
        )
    best: DetectedTable | None = None
    best_score = 0.0
    for delimiter in delimiters:
        if delimiter not in text:
            continue
        dialect, records = _choose_dialect(text, delimiter, is_whole=is_whole)
        score, width = _score(records)
        if score > best_score:
            best, best_score = locate(records, width, dialect, is_whole=is_whole), score
    return best or _single_column(text, is_whole=is_whole)


def _choose_dialect(text: str, delimiter: str, *, is_whole: bool) -> tuple[Dialect, list[Record]]:
    """Choose the quoting with which the largest share of the records has the same width.

    Among equal ones, the one with more records wins, since an unclosed quote swallows many lines,
    and then the first.
    """

    def regularity(records: Sequence[Record]) -> tuple[float, int]:
        widths = Counter(map(len, records))
        most = max(widths.values(), default=0)
        return (most / len(records) if records else 0.0, most)

    found = [
        (dialect, split(text, dialect, is_whole=is_whole))
        for dialect in find_dialects(text, delimiter)
    ]
    sure = [
        (dialect, records) for dialect, records in found if not _is_table(text, dialect, records)
    ]
    return max(sure, key=lambda item: regularity(item[1]))


def _is_table(text: str, dialect: Dialect, records: Sequence[Record]) -> bool:
    """Return whether lines that look like comments may be records of the table, or its header.

    This is so if one of them has the table's width and no blank after the mark, or if there are
    several and all of them have its width.
    """
    if dialect.comment is None or not records:
        return False
    width = Counter(map(len, records)).most_common(1)[0][0]
    bare = dataclasses.replace(dialect, comment=None)
    lines = re.findall(rf"^{re.escape(dialect.comment)}[^\r\n]*", text, re.MULTILINE)
    wide = [
        line for line in lines if [len(it) for it in split(line, bare, is_whole=True)] == [width]
    ]
    close = [line for line in wide if not line.removeprefix(dialect.comment)[:1].isspace()]
    return bool(close) or len(wide) == len(lines) > 1


def _score(records: Sequence[Record]) -> tuple[float, int]:
    """Return a score for the width that covers the most cells, and this width."""
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


def locate(records: list[Record], width: int, dialect: Dialect, *, is_whole: bool) -> DetectedTable:
    """Find the table among records, most of which have ``width`` cells.

    A header may be repeated on each page of an export, or where several exports were joined.
    """
    again = _find_repeats(records, width)
    if again:
        kept = [record for place, record in enumerate(records) if place not in again]
        found = _locate(kept, width, dialect, is_whole=is_whole)
        if found.header is not None and _bare(found.header) == _bare(records[min(again)]):
            return dataclasses.replace(
                found, records=records, stop=found.stop + len(again), repeats=len(again)
            )
    return _locate(records, width, dialect, is_whole=is_whole)


def _find_repeats(records: Sequence[Record], width: int) -> set[int]:
    """Return the places of records that repeat the first possible header."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, record in enumerate(records):
        if len(record) == width:
            places.setdefault(_bare(record), []).append(place)
    for cells, found in places.items():
        if len(found) > 1 and found[0] <= PREAMBLE_RECORDS and is_header(cells):
            return set(found[1:])
    return set()


def _bare(record: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in record)


def _locate(
    records: list[Record], width: int, dialect: Dialect, *, is_whole: bool
) -> DetectedTable:
    wide = [place for place, record in enumerate(records) if len(record) == width]
    profile = _Profile([records[place] for place in _sample(records, wide)])
    start, header = _find_start(records, wide, width, profile)
    trailer = suspects = 0
    if is_whole:
        body = records[start + (header is not None) :]
        trailer, suspects = _count_trailer(body, profile)
    return DetectedTable(
        **dataclasses.asdict(dialect),
        width=width,
        records=records,
        start=start,
        header=header,
        stop=len(records) - trailer,
        suspects=suspects,
        date_column=profile.date_column,
    )


def _sample(records: Sequence[Record], wide: Sequence[int]) -> Sequence[int]:
    """Return the places of records that certainly belong to the table, to find the columns' kinds.

    A preamble, a header and a trailer may have the table's width. So this takes the longest run of
    dates in a column, from the first to the last. Without dates, it leaves out some records at the
    beginning.
    """
    runs = [
        run
        for column in range(len(records[wide[0]]))
        if (run := _run_of_dates([records[place][column].strip() for place in wide]))
    ]
    if runs:
        first, last = max(runs, key=lambda run: run[1] - run[0])
        return wide[first : last + 1][:PROFILED_RECORDS]
    first = max(1, min(len(wide) // 3, PREAMBLE_RECORDS))
    return wide[first : first + PROFILED_RECORDS]


def _run_of_dates(cells: Sequence[str]) -> tuple[int, int] | None:
    dated = [place for place, cell in enumerate(cells) if date_formats(cell)]
    if not dated or len(dated) < _DATED_SHARE * len(cells):
        return None
    run = cells[dated[0] : dated[-1] + 1]
    if len(dated) < _RUN_SHARE * len(run) or not choose_date_formats([c for c in run if c]):
        return None
    return dated[0], dated[-1]


def _find_start(
    records: Sequence[Record], wide: Sequence[int], width: int, profile: _Profile
) -> tuple[int, Record | None]:
    """Return the place where the table starts, and its header.

    A record that looks like data never becomes part of a preamble, even if it is too short or long.
    """
    start = next((place for place in wide if profile.is_data(records[place])), wide[0])
    if profile.is_empty:
        # All columns are text: the first record is the header if it looks like one.
        return start, records[start] if is_header(records[start]) else None
    above = range(start - 1, -1, -1)
    for place in above:
        if len(records[place]) == width and is_header(records[place]):
            return place, records[place]
    start = min(
        (place for place in range(start) if profile.is_dated(records[place])), default=start
    )
    while start > 0 and len(records[start - 1]) == width:
        if not any(_is_typed(cell.strip()) for cell in records[start - 1]):
            break
        start -= 1
    # A header may name fewer columns than the records have.
    if start > 0 and width / 2 <= len(records[start - 1]) != 1 and is_header(records[start - 1]):
        return start - 1, records[start - 1]
    return start, None


def is_header(record: Sequence[str]) -> bool:
    """Return whether the cells may name columns: text, mostly filled and mostly distinct."""
    cells = [cell.strip() for cell in record]
    filled = [cell for cell in cells if cell]
    if len(filled) <= len(cells) / 2 or any(_is_typed(cell) for cell in filled):
        return False
    return len(set(filled)) > len(filled) / 2


class _Profile:
    """The kinds of a table's columns."""

    def __init__(self, rows: Sequence[Record]) -> None:
        columns = [
            [cell.strip() for cell in column if cell.strip()] for column in zip(*rows, strict=True)
        ]
        filled = sorted(sum(bool(cell.strip()) for cell in row) for row in rows)
        self._width = len(rows[0]) if rows else 0
        self._usual_cells = filled[len(filled) // 2] if filled else 0
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
        """Whether all columns are text."""
        return not self._dates and not self._numbers

    @property
    def date_column(self) -> int | None:
        """The place of the column with the most dates, if it is filled in nearly every record."""
        place = max(self._dates, key=lambda place: (self._dates[place], -place), default=None)
        return place if place is not None and self._dates[place] > 0.9 else None  # noqa: PLR2004

    def is_data(self, record: Record) -> bool:
        """Return whether the record has a date in the date column, if there is one.

        Without a date column, it needs a number or a date in a column of numbers or dates.
        """
        if self.date_column is not None:
            return bool(date_formats(record[self.date_column].strip()))
        return any(is_number(record[place].strip()) for place in self._numbers) or any(
            date_formats(record[place].strip()) for place in self._dates
        )

    def is_dated(self, record: Record) -> bool:
        """Return whether the record, of any width, has a date in the date column."""
        place = self.date_column
        return (
            place is not None and place < len(record) and bool(date_formats(record[place].strip()))
        )

    def lacks_its_mark(self, record: Record) -> bool:
        """Return whether the record lacks the date, or the leading number, of the other records."""
        if self.date_column is not None:
            return not self.is_dated(record)
        return 0 in self._numbers and not is_number(record[0].strip())

    def is_summary(self, record: Record) -> bool:
        """Return whether the record begins like a total or an end mark."""
        cells = [cell.strip() for cell in record if cell.strip()]
        return bool(cells and _SUMMARY.match(cells[0]))

    def is_nearly_empty(self, record: Record) -> bool:
        """Return whether the record has at most half as many cells, or filled cells, as others."""
        filled = sum(bool(cell.strip()) for cell in record)
        is_short = 2 * len(record) <= self._width > _FEW_CELLS
        return is_short or 2 * filled <= self._usual_cells > _FEW_CELLS


def _filled(cells: Sequence[str]) -> float:
    """Return the share of date cells that are filled, without totals after the last date."""
    dated = [place for place, cell in enumerate(cells) if date_formats(cell)]
    until = dated[-1] + 1 if dated else 0
    counted = cells[:until] if 2 * until > len(cells) else cells
    return sum(map(bool, counted)) / len(counted)


def _count_trailer(body: Sequence[Record], profile: _Profile) -> tuple[int, int]:
    """Return how many records at the end are a trailer, and how many more look like one.

    Trailer records lack the date of the table's records, and are totals or nearly empty. A record
    that only lacks its date may be a bad record: the load will refuse it.
    """
    length = trailer = 0
    while length < len(body) and profile.lacks_its_mark(body[-1 - length]):
        length += 1
        # A line of text between totals belongs to the trailer that begins above it.
        is_most = 2 * length >= len(body)
        if profile.is_summary(body[-length]) or (
            profile.is_nearly_empty(body[-length]) and not is_most
        ):
            trailer = length
    if length > TRAILER_RECORDS or 2 * length > len(body):  # so many are bad data
        return 0, 0
    return trailer, length - trailer


def _single_column(text: str, *, is_whole: bool) -> DetectedTable | None:
    dialect = Dialect(",", '"')
    records = split(text, dialect, is_whole=is_whole)
    has_rows = any(len(record) == 1 for record in records)
    return locate(records, 1, dialect, is_whole=False) if has_rows else None
