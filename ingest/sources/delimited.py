"""Delimited text: CSV and its relatives, from a file, a file object or standard input."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ingest.exceptions import ConfigurationError, SourceError
from ingest.rejects import Reject
from ingest.sources.base import Batch, Source, SourceOptions
from ingest.sources.files import InputFile
from ingest.sources.head import Head
from ingest.sources.lines import LineFinder, RecordPattern
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

    def __init__(self, file: InputFile, options: SourceOptions) -> None:
        _check(options)
        self.name = file.name
        self.bytes_total = file.bytes_total
        self._file = file
        self._options = options
        self._reader = TextReader(file, options.encoding)
        self._parser: Iterable[pa.RecordBatch] = ()
        head = Head(self._reader, file.name, options)
        self.columns = head.columns
        self._find_line = LineFinder(
            self._reader, head.lines, RecordPattern(options), self._read_again(file)
        )

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
        yield from cut_trailer(self._batches(), self._options)

    def close(self) -> None:
        self._find_line.close()
        self._reader.close()
        # To the end, which is here now: Arrow's thread that reads ahead waits for itself, and for
        # ever, where it is left with a reader that nobody wants any more.
        with suppress(pa.ArrowException):
            for _ in self._parser:
                pass

    def _read_again(self, file: InputFile) -> Any:
        """Give a function that opens the text a second time, after its head; or None."""
        if file.path is None:
            return None

        def read_again() -> tuple[InputFile, TextReader]:
            again = InputFile(file.path)
            reader = TextReader(again, self._options.encoding)
            Head(reader, file.name, self._options)
            return again, reader

        return read_again

    def _batches(self) -> Iterator[Batch]:
        refused: list[pyarrow.csv.InvalidRow] = []

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row)
            return "skip"

        next_record = 1
        last: Batch | None = None
        try:
            for table in self._parse(refuse):
                if last is not None:
                    yield last
                numbers, next_record = _number(table.num_rows, next_record, refused)
                rejects = tuple(self._reject(row) for row in refused if row.number < next_record)
                del refused[: len(rejects)]
                last = Batch(
                    records=numbers,
                    columns=tuple(map(self._restored, table.columns)),
                    rejects=rejects,
                    find_line=self._find_line,
                )
        except pa.ArrowInvalid as error:
            raise SourceError(_explain(self.name, error)) from error
        if last is None:
            columns = tuple(pa.array([], pa.binary()) for _ in self.columns)
            last = Batch(records=(), columns=columns, find_line=self._find_line)
        rejects = tuple(self._reject(row) for row in refused)
        yield self._without_open_quote(last, rejects)

    def _parse(self, refuse: Any) -> Iterator[pa.RecordBatch]:
        if self._reader.is_exhausted():
            return
        # Distinct stand-ins, since nothing forbids a file to name two columns alike.
        names = [str(place) for place in range(len(self.columns))]
        self._parser = pyarrow.csv.open_csv(
            self._reader,
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
        yield from self._parser

    def _restored(self, column: pa.Array) -> pa.Array:
        if not self._reader.has_undecodable:
            return column
        is_marked = pc.match_substring(column, MARK)
        if not pc.any(is_marked).as_py():
            return column
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

    def _without_open_quote(self, last: Batch, rejects: tuple[Reject, ...]) -> Batch:
        """Give the last batch, without a last record whose quote is never closed."""
        everything = dataclasses.replace(last, rejects=(*last.rejects, *rejects))
        # A refused record after the last good one would have ended the open quote.
        if not last.records or any(reject.record > last.records[-1] for reject in rejects):
            return everything
        cell = last.columns[-1][-1].as_py()
        if not self._ends_open(cell):
            return everything
        shown = cell[:40].decode(errors="replace")
        reject = self._parse_reject(
            last.records[-1],
            shown,
            f"its last cell opens a quote that is never closed: {shown!r}. Close the quote",
        )
        return dataclasses.replace(
            everything,
            records=last.records[:-1],
            columns=tuple(column[:-1] for column in last.columns),
            rejects=(*everything.rejects, reject),
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
