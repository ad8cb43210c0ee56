"""Sheets of Excel and OpenDocument workbooks, read by calamine."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import ExitStack
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ingest.exceptions import ConfigurationError, SourceError
from ingest.plurals import counted
from ingest.results.rejects import Reject, shorten
from ingest.sources.base import Source, SourceOptions
from ingest.sources.batch import Batch, CellText, Position
from ingest.sources.cell_text import text_of
from ingest.sources.files import InputFile, kind_suffix
from ingest.sources.sheet import SUFFIXES, cell_name, open_sheet
from ingest.sources.trailer import cut_trailer
from ingest.sources.workbook_writer import Head, WorkbookCsvWriter, WorkbookWriter
from ingest.sources.writers import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.writers import RecordWriter

BATCH_ROWS = 16_384
"""Rows converted to columns at a time."""
EXACT_DIGITS = 10**15
"""Spreadsheet programs keep fifteen digits, so numbers from here on have inexact last digits."""
_ISO_TIME = re.compile(r"PT(\d+)H(\d+)M(\d+)(?:\.(\d+))?S")
Row = list[Any]


class WorkbookSource(Source):
    """One sheet of a workbook, whose cells are typed."""

    format = "workbook"
    place = 15
    is_of_files = True
    ignores = frozenset({"delimiter", "quote", "doubled_quotes", "escape", "comment", "encoding"})
    reads_by_text = True

    def __init__(self, file: InputFile, options: SourceOptions) -> None:
        self.name = file.name
        self.file_name = file.file_name
        self.bytes_total = file.bytes_total
        self.paths = file.paths
        self._file = file
        self._options = options
        self._stack = ExitStack()
        self._digits_note: str | None = None
        try:
            self._sheet = sheet = open_sheet(file, options.sheet, self._stack)
            self._facts = sheet.facts
            self._rows_total = sheet.cells.total_height
            # calamine counts from 0, and leaves out empty columns before the first filled one.
            self._left = (sheet.cells.start or (0, 0))[1]
            self._rows = enumerate(sheet.cells.iter_rows() if sheet.cells.start else (), 1)
            self._row = 0
            self._head = self._read_head()
        except BaseException:
            self._stack.close()
            raise
        self.columns = self._head.columns
        self.preamble = "\n".join(
            ",".join(_shown(cell) for cell in row) for row in self._head.preamble
        )

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_file = isinstance(given, str | Path) or hasattr(given, "read")
        return is_file and kind_suffix(given) in SUFFIXES

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        if options.lenient == ("pad",):
            raise ConfigurationError(
                "lenient='pad' (--lenient pad) has no effect on a workbook, where a cell that is "
                "not there is an empty one: leave it out."
            )
        file = InputFile(given)
        try:
            return cls(file, options)
        except BaseException:
            file.close()
            raise

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Notes on what the sheet's appearance does not show, a sentence each."""
        digits = () if self._digits_note is None else (self._digits_note,)
        return (*self._sheet.notes, *digits)

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    def batches(self) -> Iterator[Batch]:
        yield from cut_trailer(self._batches(), self._options)

    def writer(self, suffix: str = "") -> RecordWriter:
        if suffix == ".csv":
            return WorkbookCsvWriter(self._options, self._head)
        return WorkbookWriter(self._options, self._head, self._sheet.name)

    def close(self) -> None:
        self._stack.close()
        self._file.close()

    def _next_row(self) -> tuple[int, Row] | None:
        """Return the number and the cells of the next row that is not blank; None at the end."""
        errors, texts = self._facts.errors, self._facts.texts
        for number, row in self._rows:
            self._row = number
            if number in errors or number in texts:
                cells: Row = [*texts.get(number, {}).items()]
                cells += [(at, _CellError(shown)) for at, shown in errors.get(number, {}).items()]
                for column, cell in cells:
                    if 0 <= column - 1 - self._left < len(row):
                        row[column - 1 - self._left] = cell
            if row.count("") < len(row):
                return number, row
        return None

    def _read_head(self) -> Head:
        options = self._options
        preamble: list[Row] = []
        for count in range(options.skip_records):
            found = self._next_row()
            if found is None:
                raise SourceError(
                    f"{self.name} has only {counted(count, 'record')}, fewer than the "
                    f"{options.skip_records:,} to be skipped before the first."
                )
            preamble.append(found[1])
        names: tuple[str, ...] = ()
        if options.has_header:
            found = self._next_row()
            if found is None:
                raise SourceError(f"{self.name} is empty: its first row should name the columns.")
            names = _without_end([(_shown(cell)).strip() for cell in found[1]])
        self._held: tuple[int, Row] | None = None
        self._reasons_at = names.index(REASONS) if REASONS in names else None
        if self._reasons_at is not None:
            names = (*names[: self._reasons_at], *names[self._reasons_at + 1 :])
        if not options.has_header:
            names = self._look_at_first()
        if not (options.columns or names):
            raise SourceError(f"{self.name} is empty: nothing says how many columns it has.")
        return Head(
            columns=options.columns or names,
            preamble=[list(_without_end(row)) for row in preamble],
            header=names if options.has_header else None,
        )

    def _look_at_first(self) -> tuple[str, ...]:
        """Return the positions of the first record's cells, without consuming the record.

        A reject file without a header begins with a row that shows the place of the reasons.
        """
        self._held = self._next_row()
        if self._held is None:
            return ()
        width = len(self._held[1])
        if set(_without_end(self._held[1])) == {REASONS}:
            width = self._reasons_at = len(_without_end(self._held[1])) - 1
            self._held = self._next_row()
        return tuple(map(str, range(1, width + 1)))

    def _batches(self) -> Iterator[Batch]:
        record = 1
        while True:
            rows = list(self._take_rows())
            if not rows:
                break
            yield self._batch(rows, record)
            record += len(rows)
        if record == 1:
            yield Batch(source=self.name, records=(), columns=tuple([] for _ in self.columns))

    def _take_rows(self) -> Iterator[tuple[int, Row]]:
        """Yield the next rows that are not blank, with their numbers."""
        left = BATCH_ROWS
        if self._held is not None:
            yield self._held
            self._held, left = None, left - 1
        if self._facts.errors or self._facts.texts:
            while left and (found := self._next_row()) is not None:
                yield found
                left -= 1
            return
        for found in islice(self._rows, left):
            self._row = found[0]
            if found[1].count("") < len(found[1]):
                yield found
        if left and (found := self._next_row()) is not None:
            yield found  # otherwise a batch of blank rows would look like the end

    def _byte_after(self, row: int) -> int:
        """Return the approximate bytes of the rows up to this one: each has an equal share."""
        return int((self.bytes_total or 0) * row // max(self._rows_total, self._row, 1))

    def _batch(self, numbered: list[tuple[int, Row]], first: int) -> Batch:
        lines = [number for number, _ in numbered]
        rows = [row for _, row in numbered]
        width = len(self.columns)
        if self._reasons_at is not None:
            rows = [[*row[: self._reasons_at], *row[self._reasons_at + 1 :]] for row in rows]
        rejects: list[Reject] = []
        misfits: dict[int, Row] = {}
        padded: set[int] = set()
        cut: set[int] = set()
        errors: list[Reject] = []
        kept: list[Row] = []
        records: list[int] = []
        given = len(rows[0])
        for record, row in enumerate(rows, first) if given > width or self._facts.errors else ():
            surplus = _without_end(row)[width:]
            if surplus and "cut" not in self._options.lenient:
                rejects.append(self._surplus(record, lines[record - first], row))
                misfits[record] = list(_without_end(row))
                continue
            if surplus:
                cut.add(record)
            for place, cell in enumerate(row[:width]):
                if type(cell) is _CellError:
                    errors.append(self._error(record, lines[record - first], place, cell))
            records.append(record)
            kept.append(row[:width])
        if not (rejects or kept):
            kept, records = rows, list(range(first, first + len(rows)))
        missing = width - given
        columns: list[Any] = [self._column(cells, lines) for cells in zip(*kept, strict=True)]
        if not kept:
            columns = [[] for _ in self.columns]
        elif missing > 0:
            columns += [[CellText("")] * len(kept) for _ in range(missing)]
        ordered = range(first, first + len(rows)) if len(records) == len(rows) else records
        return Batch(
            source=self.name,
            records=ordered,
            columns=tuple(columns),
            rejects=tuple(rejects),
            misfits=misfits,
            padded=frozenset(padded),
            cut=frozenset(cut),
            errors=tuple(errors),
            split_misfit=_split_misfit,
            find_line=_line_finder(lines, first),
            find_position=lambda record: Position(record=record),
            byte_span=(self._byte_after(lines[0] - 1), self._byte_after(self._row)),
        )

    def _column(self, cells: tuple[Any, ...], lines: list[int]) -> pa.Array | list[Any]:
        """Return the cells of a column: texts like those of a text file, or typed values."""
        if self._sheet.kind == "ods":
            cells = tuple(map(_as_time, cells))
        kinds = set(map(type, cells))
        if kinds <= {str, _CellError}:
            return pa.array(cells, pa.string()).cast(pa.binary())
        if kinds == {float}:
            numbers = pa.array(cells, pa.float64())
            try:
                whole = numbers.cast(pa.int64())
            except pa.ArrowInvalid:  # some have fractions
                whole = None
            if whole is not None and max(map(abs, cells)) < EXACT_DIGITS:
                return whole
        is_fractional = any(type(cell) is float and not cell.is_integer() for cell in cells)
        return [self._value(cell, lines, place, is_fractional) for place, cell in enumerate(cells)]

    def _value(self, cell: Any, lines: list[int], place: int, is_fractional: bool) -> Any:  # noqa: FBT001
        kind = type(cell)
        if kind is float:
            if cell.is_integer():
                if abs(cell) >= EXACT_DIGITS:
                    self._note_digits(cell, lines[min(place, len(lines) - 1)])
                # All numbers of a column get one type, so that they are converted at once.
                return Decimal(int(cell)) if is_fractional else int(cell)
            return Decimal(repr(cell))
        if kind is str or kind is _CellError:
            return CellText(cell)
        return cell

    def _note_digits(self, cell: float, line: int) -> None:
        if self._digits_note is None:
            self._digits_note = (
                f"Warning: the sheet {self._sheet.name!r} of {self.name} has numbers of more than "
                f"15 digits, of which a workbook keeps the first 15: {int(cell)} in row {line:,} "
                "may have been another number. Format such a column as text before the numbers "
                "are typed or pasted."
            )

    def _surplus(self, record: int, line: int, row: Row) -> Reject:
        width, cells = len(self.columns), _without_end(row)
        place = next(at for at in range(width, len(cells)) if cells[at] != "")
        where = cell_name(line, self._left + 1 + place + self._shift(place))
        return self.reject(
            record,
            [_shown(cell) for cell in cells],
            f"it has a value in the cell {where}, {shorten(_shown(cells[place]))}, where no "
            f"column has a name: name the column, or empty the cell",
            line,
        )

    def _error(self, record: int, line: int, place: int, cell: str) -> Reject:
        where = cell_name(line, self._left + 1 + place + self._shift(place))
        return Reject(
            source=self.name,
            record=record,
            column=self.columns[place],
            field=None,
            value=str(cell),
            reason=f"the cell {where} is in error: fix its formula, or write the value",
            kind="value",
            line=line,
        )

    def _shift(self, place: int) -> int:
        return int(self._reasons_at is not None and place >= self._reasons_at)


class _CellError(str):
    """The text that a cell with an error shows."""

    __slots__ = ()


def _split_misfit(_record: int, cells: Any) -> list[Any]:
    return list(cells)


def _line_finder(lines: list[int], first: int) -> Any:
    def find(record: int) -> int | None:
        return lines[record - first] if 0 <= record - first < len(lines) else None

    return find


def _as_time(cell: Any) -> Any:
    """Convert a time or duration of an ``.ods`` file, which calamine returns as ISO 8601 text."""
    found = _ISO_TIME.fullmatch(cell) if type(cell) is str else None
    if found is None:
        return cell
    length = dt.timedelta(
        hours=int(found[1]),
        minutes=int(found[2]),
        seconds=int(found[3]),
        microseconds=int((found[4] or "")[:6].ljust(6, "0")),
    )
    if length >= dt.timedelta(days=1):
        return length
    return (dt.datetime.min + length).time()  # noqa: DTZ901 - a workbook has no time zones


def _shown(cell: Any) -> str:
    """Return the text of a cell; calamine returns whole numbers as floats."""
    is_whole = type(cell) is float and cell.is_integer()
    return text_of(int(cell) if is_whole else cell) or ""


def _without_end(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row without the empty cells at its end."""
    stop = len(row)
    while stop and row[stop - 1] == "":
        stop -= 1
    return tuple(row[:stop])
