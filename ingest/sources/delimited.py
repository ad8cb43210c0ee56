"""Delimited text: CSV and its relatives, from a file, a file object or standard input."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.csv

from ingest.exceptions import SourceError, did_you_mean
from ingest.rejects import Reject
from ingest.sources.base import Batch, Source, SourceOptions
from ingest.sources.text import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK_BYTES = 2 << 20
"""Bytes parsed at a time, and so the longest record. Larger blocks are no faster here, and a load
needs some ten times a block's size of memory."""

STDIN = "-"


class DelimitedSource(Source):
    """A text file whose first record names the columns."""

    place = 20

    def __init__(self, file: IO[bytes], name: str, options: SourceOptions) -> None:
        self.name = name
        self._options = options
        self._file = file
        self._reader = TextReader(file, name, options.encoding)
        self.columns = options.columns or self._read_header()

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return isinstance(given, str | Path) or hasattr(given, "read")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        if hasattr(given, "read"):
            file, size = given, None
            name = str(getattr(given, "name", type(given).__name__))
        elif str(given) == STDIN:
            file, size, name = sys.stdin.buffer, None, "standard input"
        else:
            file, size, name = _open_path(Path(given)), Path(given).stat().st_size, str(given)
        try:
            source = cls(file, name, options)
        except BaseException:
            file.close()
            raise
        source.bytes_total = size
        return source

    @property
    def bytes_read(self) -> int:  # type: ignore[override]
        """How far the file has been read, in bytes."""
        return self._reader.bytes_read

    def batches(self) -> Iterator[Batch]:
        refused: list[pyarrow.csv.InvalidRow] = []

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row)
            return "skip"

        next_record = 1
        last: pa.RecordBatch | None = None
        try:
            for table in self._parse(refuse):
                numbers, next_record = _number(table.num_rows, next_record, refused)
                if last is not None:
                    yield last
                rejects = tuple(self._reject(row) for row in refused if row.number < next_record)
                del refused[: len(rejects)]
                last = Batch(records=numbers, columns=tuple(table.columns), rejects=rejects)
        except pa.ArrowInvalid as error:
            raise SourceError(_explain(self.name, error)) from error
        except UnicodeError as error:
            raise SourceError(
                f"{self.name} is not {self._options.encoding} text: {error}"
            ) from error
        rejects = tuple(self._reject(row) for row in refused)
        if last is not None:
            yield from self._end(last, rejects)
        elif rejects:
            yield Batch(records=(), columns=tuple([] for _ in self.columns), rejects=rejects)

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _parse(self, refuse: Any) -> Iterator[pa.RecordBatch]:
        if self._reader.is_exhausted():
            return
        # Distinct stand-ins, since nothing forbids a file to name two columns alike.
        names = [str(place) for place in range(len(self.columns))]
        yield from pyarrow.csv.open_csv(
            self._reader,
            read_options=pyarrow.csv.ReadOptions(
                block_size=BLOCK_BYTES, use_threads=False, column_names=names
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._options.delimiter,
                quote_char=self._options.quote or False,
                newlines_in_values=True,
                invalid_row_handler=refuse,
            ),
            # Binary, so that a byte that is no UTF-8 can be pinned on its record.
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False
            ),
        )

    def _read_header(self) -> tuple[str, ...]:
        text = self._reader.read_record_text(self._options.quote)
        if not text.strip():
            raise SourceError(f"{self.name} is empty: its first line should name the columns.")
        [names] = csv.reader(
            io.StringIO(text.rstrip("\r\n"), newline=""),
            delimiter=self._options.delimiter,
            quotechar=self._options.quote or None,
            quoting=csv.QUOTE_MINIMAL if self._options.quote else csv.QUOTE_NONE,
        )
        return tuple(name.strip() for name in names)

    def _reject(self, row: pyarrow.csv.InvalidRow) -> Reject:
        word = "more" if row.actual_columns > row.expected_columns else "fewer"
        return self._parse_reject(
            row.number,
            row.text,
            f"it has {row.actual_columns} cells, {word} than the {row.expected_columns} columns: "
            f"{row.text[:60]!r}. Mend the line, or quote the cell that holds a delimiter",
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
        )

    def _end(self, last: Batch, rejects: tuple[Reject, ...]) -> Iterator[Batch]:
        """Give the last batch, without a last record whose quote is never closed."""
        cell = last.columns[-1][-1].as_py() if last.records else b""
        is_open = last.records and self._reader.ends_in_open_quote(
            cell, self._options.delimiter, self._options.quote
        )
        # A short record after this one would have ended the open quote.
        if is_open and not any(reject.record > last.records[-1] for reject in rejects):
            record = last.records[-1]
            shown = cell[:40].decode(errors="replace")
            reject = self._parse_reject(
                record,
                shown,
                f"its last cell opens a quote that is never closed: {shown!r}. Close the quote",
            )
            last = Batch(
                records=last.records[:-1],
                columns=tuple(column.slice(0, len(column) - 1) for column in last.columns),  # type: ignore[union-attr]
                rejects=(*last.rejects, *rejects, reject),
            )
        elif rejects:
            last = Batch(
                records=last.records, columns=last.columns, rejects=(*last.rejects, *rejects)
            )
        yield last


def _number(
    rows: int, first: int, refused: Sequence[pyarrow.csv.InvalidRow]
) -> tuple[Sequence[int], int]:
    """Number a batch's rows from ``first``, leaving out the numbers of refused records."""
    if not refused:
        return range(first, first + rows), first + rows
    gaps = {row.number for row in refused}
    numbers: list[int] = []
    while len(numbers) < rows:
        if first not in gaps:
            numbers.append(first)
        first += 1
    return numbers, first


def _open_path(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        folder = path.parent
        known = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        raise SourceError(
            f"There is no file {str(path)!r}.{did_you_mean(path.name, known)}"
        ) from error
    except OSError as error:
        raise SourceError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _explain(name: str, error: Exception) -> str:
    if "straddling" in str(error):
        return (
            f"{name} has a record longer than {BLOCK_BYTES:,} bytes, or a quote that is opened "
            "and never closed: close the quote, or cut the record."
        )
    return f"{name} cannot be read as delimited text: {error}"
