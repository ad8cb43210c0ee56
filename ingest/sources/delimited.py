"""Delimited text: CSV and its relatives, from a file, a file object or standard input."""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ingest.exceptions import ConfigurationError, SourceError
from ingest.rejects import Reject
from ingest.sources.ahead import ReadAhead
from ingest.sources.base import Source, SourceOptions
from ingest.sources.batch import Batch, Position
from ingest.sources.files import InputFile
from ingest.sources.head import Head
from ingest.sources.lines import LineFinder, RecordPattern
from ingest.sources.rewriting_delimited import DelimitedWriter
from ingest.sources.scanning import RecordScanner, find_ends, is_transparent
from ingest.sources.text import MARK, TextReader, restore, show
from ingest.sources.trailer import cut_trailer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BLOCK_BYTES = 2 << 20
"""Bytes parsed at a time, and so the longest record. Larger blocks are no faster here, and a load
needs some ten times a block's size of memory."""


class DelimitedSource(Source):
    """A text file of records whose cells stand between delimiters."""

    format = "delimited"
    place = 20
    is_of_files = True

    def __init__(self, file: InputFile, options: SourceOptions) -> None:
        _check(options)
        self.name = file.name
        self.bytes_total = file.bytes_total
        self.paths = file.paths
        self._file = file
        self._options = options
        self._reader = TextReader(file, options.encoding)
        self._ahead = ReadAhead(self._reader)
        self._parser: Iterable[pa.RecordBatch] = ()
        head = Head(self._reader, file.name, options)
        self.columns = head.columns
        self._head = head
        self._pattern = RecordPattern(options)
        self._start = Position(line=head.lines)
        self._find_line = self._line_finder()
        self._scanner: RecordScanner | None = None

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return isinstance(given, str | Path) or hasattr(given, "read")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        file = InputFile(given)
        try:
            return cls(file, options)
        except BaseException:
            file.close()
            raise

    @property
    def bytes_read(self) -> int:  # type: ignore[override]
        """How far the file has been read, in bytes."""
        return self._file.bytes_read

    def batches(self) -> Iterator[Batch]:
        yield from cut_trailer(map(self._without_reasons, self._batches()), self._options)

    def writer(self) -> DelimitedWriter:
        return DelimitedWriter(self._options, self._head.text, self._head.reasons_at)

    def go_to(self, position: Position) -> bool:
        if position.byte is None or not self._can_seek:
            return False
        self._reader.go_to(position.byte)
        self._start = position
        self._find_line.close()
        self._find_line = self._line_finder()
        return True

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        # Where the end is cut off, no part of the file can be told to be without it.
        if not self._can_seek or self._options.trailer_records:
            return None
        return find_ends(self._new_scanner(start), start, records)

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    def close(self) -> None:
        self._find_line.close()
        if self._scanner is not None:
            self._scanner.close()
        self._ahead.close()
        # To the end, which is here now: Arrow's thread that reads ahead waits for itself, and for
        # ever, where it is left with a reader that nobody wants any more.
        with suppress(pa.ArrowException):
            for _ in self._parser:
                pass

    @property
    def _can_seek(self) -> bool:
        # Where a trailer begins that goes on to the end is known only to who has read it all.
        return (
            self._file.can_seek
            and self._options.trailer_pattern is None
            and is_transparent(self._options.encoding)
        )

    def _find_position(self, record: int) -> Position:
        """Give the position after a record; the file is walked a second time for it."""
        if not self._can_seek:
            return Position(record=record)
        if self._scanner is None:
            self._scanner = self._new_scanner(self._start)
        return self._scanner.after(record)

    def _new_scanner(self, start: Position) -> RecordScanner:
        [path] = self.paths
        if start.byte is None:
            with path.open("rb") as file:
                has_mark = file.read(len(BOM_UTF8)) == BOM_UTF8
            head = self._options.skip_records + self._options.has_header
            start = Position(record=-head, byte=len(BOM_UTF8) if has_mark else 0)
        return RecordScanner(path, self._pattern, start)

    def _line_finder(self) -> LineFinder:
        start = self._start

        def read_again() -> tuple[InputFile, TextReader]:
            again = InputFile(self._file.path)
            reader = TextReader(again, self._options.encoding)
            if start.byte is None:
                Head(reader, self.name, self._options)
            else:
                reader.go_to(start.byte)
            reader.stop_marking()
            return again, reader

        return LineFinder(
            self._reader,
            self._pattern,
            None if self._file.path is None else read_again,
            lines_before=start.line or 0,
            records_before=start.record,
        )

    def _batches(self) -> Iterator[Batch]:
        refused: list[pyarrow.csv.InvalidRow] = []

        before = self._start.record

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row._replace(number=row.number + before))
            return "skip"

        next_record = before + 1
        last: Batch | None = None
        try:
            for table in self._parse(refuse):
                if last is not None:
                    yield last
                numbers, next_record = _number(table.num_rows, next_record, refused)
                mine = [row for row in refused if row.number < next_record]
                del refused[: len(mine)]
                last = Batch(
                    records=numbers,
                    columns=tuple(map(self._restored, table.columns)),
                    rejects=tuple(map(self._reject, mine)),
                    misfits={row.number: row.text for row in mine},
                    find_line=self._find_line,
                    find_position=self._find_position,
                )
        except pa.ArrowInvalid as error:
            raise SourceError(_explain(self.name, error)) from error
        if last is None:
            columns = tuple(pa.array([], pa.binary()) for _ in range(self._width))
            last = Batch(
                records=(),
                columns=columns,
                find_line=self._find_line,
                find_position=self._find_position,
            )
        yield self._without_open_quote(
            dataclasses.replace(
                last,
                rejects=(*last.rejects, *map(self._reject, refused)),
                misfits={**last.misfits, **{row.number: row.text for row in refused}},
            )
        )

    def _parse(self, refuse: Any) -> Iterator[pa.RecordBatch]:
        if self._reader.is_exhausted():
            return
        # Distinct stand-ins, since nothing forbids a file to name two columns alike.
        names = [str(place) for place in range(self._width)]
        self._parser = pyarrow.csv.open_csv(
            self._ahead,
            read_options=pyarrow.csv.ReadOptions(
                block_size=BLOCK_BYTES, use_threads=False, column_names=names
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._options.delimiter,
                quote_char=self._options.quote or False,
                double_quote=self._options.doubled_quotes,
                escape_char=self._options.escape or False,
                newlines_in_values=True,
                invalid_row_handler=refuse,
            ),
            # Binary, so that a byte that is no text can be pinned on its record.
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False
            ),
        )
        yield from self._ahead.follow(self._parser)

    @property
    def _width(self) -> int:
        return len(self.columns) + (self._head.reasons_at is not None)

    def _without_reasons(self, batch: Batch) -> Batch:
        place = self._head.reasons_at
        if place is None:
            return batch
        columns = (*batch.columns[:place], *batch.columns[place + 1 :])
        return dataclasses.replace(batch, columns=columns)

    def _restored(self, column: pa.Array) -> pa.Array:
        if not self._reader.has_undecodable:
            return column
        cells = column.buffers()[-1]
        if cells is None or MARK.encode() not in cells.to_pybytes():
            return column
        is_marked = pc.match_substring(column, MARK)
        restored = map(restore, column.filter(is_marked).to_pylist())
        return pc.replace_with_mask(column, is_marked, pa.array(restored, pa.binary()))

    def _reject(self, row: pyarrow.csv.InvalidRow) -> Reject:
        word = "more" if row.actual_columns > row.expected_columns else "fewer"
        text = show(row.text)
        return self._parse_reject(
            row.number,
            text,
            f"it has {row.actual_columns} cells, {word} than the {row.expected_columns} columns: "
            f"{text[:60]!r}. Mend the line, or quote the cell that holds a delimiter",
        )

    def _parse_reject(self, record: int, value: str, reason: str) -> Reject:
        return Reject(
            source=self.name,
            record=record,
            column=None,
            field=None,
            value=value,
            reason=reason,
            kind="parse",
            line=self._find_line(record),
        )

    def _without_open_quote(self, last: Batch) -> Batch:
        """Give the last batch, without a last record whose quote is never closed."""
        # A refused record after the last good one would have ended the open quote.
        if not last.records or any(reject.record > last.records[-1] for reject in last.rejects):
            return last
        cell = last.columns[-1][-1].as_py()
        if not self._ends_open(cell):
            return last
        shown = cell[:40].decode(errors="replace")
        reject = self._parse_reject(
            last.records[-1],
            shown,
            f"its last cell opens a quote that is never closed: {shown!r}. Close the quote",
        )
        # With a cell too many, so that nobody loads by chance what the open quote took in.
        text = self.writer().join([*(column[-1] for column in last.columns), ""])
        return dataclasses.replace(
            last,
            records=last.records[:-1],
            columns=tuple(column[:-1] for column in last.columns),
            rejects=(*last.rejects, reject),
            misfits={**last.misfits, last.records[-1]: text},
        )

    def _ends_open(self, cell: bytes) -> bool:
        """Does the text end inside a quoted cell with this content?

        The whole text is looked at only if its end is like that.
        """
        mark = self._options.quote.encode()
        if not mark:
            return False
        opening = mark + cell.replace(mark, mark + mark)
        tail = self._reader.last_bytes()
        if not tail.endswith(opening):
            return False
        return self._find_line.ends_open()


def _number(
    rows: int, first: int, refused: Sequence[pyarrow.csv.InvalidRow]
) -> tuple[Sequence[int], int]:
    """Number a batch's rows from ``first``, leaving out the numbers of refused records."""
    if not refused:
        return range(first, first + rows), first + rows
    numbers: list[int] = []
    for gap in [row.number for row in refused]:
        if gap - first >= rows - len(numbers):
            break
        numbers.extend(range(first, gap))
        first = gap + 1
    left = rows - len(numbers)
    numbers.extend(range(first, first + left))
    return numbers, first + left


def _check(options: SourceOptions) -> None:
    said = {"delimiter": options.delimiter, "quote": options.quote, "escape": options.escape}
    for name, mark in said.items():
        may_be_empty = name != "delimiter"
        if may_be_empty and not mark:
            continue
        if not mark or len(mark) != 1 or not mark.isascii() or mark in "\r\n":
            raise ConfigurationError(
                f"The {name} {mark!r} cannot be used: it must be one ASCII character."
            )
    if options.delimiter in (options.quote, options.escape):
        raise ConfigurationError(f"The delimiter {options.delimiter!r} has two meanings.")


def _explain(name: str, error: Exception) -> str:
    if "straddling" in str(error):
        return (
            f"{name} has a record longer than {BLOCK_BYTES:,} bytes, or a quote that is opened "
            "and never closed: close the quote, or cut the record."
        )
    return f"{name} cannot be read as delimited text: {error}"
