"""Parquet files, read row group by row group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ingest.exceptions import SourceError
from ingest.sources.arrow import take_apart, without_bad_text
from ingest.sources.base import OF_FILES, Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch, Position
from ingest.sources.files import STDIN, InputFile, file_name_of, kind_suffix
from ingest.sources.frames import note_unread, range_index, without_row_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.parquet import ParquetFile

BATCH_ROWS = 65_536
"""Rows decoded at a time."""


class ParquetSource(Source):
    """A Parquet file, whose values are typed."""

    format = "parquet"
    place = 15
    is_of_files = True
    ignores = OF_FILES

    def __init__(self, file: ParquetFile, name: str, options: SourceOptions) -> None:
        self.name = name
        self._file = file
        self._opened: InputFile | None = None
        self._rows_read = self._rows_before = 0
        schema = file.schema_arrow
        names, own = schema.names, without_row_numbers(schema)
        self._index = range_index(schema)
        """The name and the values of a column that pandas has written as metadata only."""
        if self._index is not None and len(self._index[1]) != file.metadata.num_rows:
            self.notes = (note_unread(self._index[0], name),)
            self._index = None
        if self._index is not None:
            names, own = [*names, self._index[0]], (*own, self._index[0])
        self.columns = choose_columns(names, options.columns or own, name)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_file = isinstance(given, str | Path) or hasattr(given, "read")
        return is_file and kind_suffix(given) in {".parquet", ".pq"}

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        opened: InputFile | None = None
        if hasattr(given, "read"):
            name = str(getattr(given, "name", type(given).__name__))
            if not (hasattr(given, "seekable") and given.seekable()):
                raise SourceError(_from_its_end(name))
        elif str(given) == STDIN:
            raise SourceError(_from_its_end("standard input"))
        else:
            opened = InputFile(given)  # for its error messages, and for check_unchanged
            opened.close()
            name = opened.name
        try:
            from pyarrow.parquet import ParquetFile  # takes 50 ms, and most files are text

            # A read-ahead buffer would hold a whole row group.
            file = ParquetFile(given if hasattr(given, "read") else str(given), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{name} is not a Parquet file: {error}") from error
        source = cls(file, name, options)
        source.file_name = file_name_of(given)
        source._opened = opened
        source.paths = () if opened is None else opened.paths
        source.bytes_total = None if opened is None else opened.bytes_total
        return source

    def go_to(self, position: Position) -> bool:
        self._rows_before = position.record
        return True

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        rows = self._file.metadata.num_rows
        ends = [*range(start.record + records, rows, records), rows]
        return (Position(record=end) for end in ends if end > start.record)

    def find_parts(self, start: Position, records: int) -> Iterator[Position] | None:
        return self._find_parts(start.record, records)

    def _find_parts(self, start: int, records: int) -> Iterator[Position]:
        """Yield ends of row groups, which are decoded as a whole, and ends within large ones."""
        facts = self._file.metadata
        last = at = 0
        for number in range(facts.num_row_groups):
            end = at + facts.row_group(number).num_rows
            last = max(last, min(start, end))
            if end - last > records:
                if at > last:
                    yield Position(record=at)
                    last = at
                while end - last > records:
                    last += records
                    yield Position(record=last)
            at = end
        if at > last:
            yield Position(record=at)

    def check_unchanged(self) -> None:
        if self._opened is not None:
            self._opened.check_unchanged()

    def batches(self) -> Iterator[Batch]:
        try:
            for read in self._parts():
                part = read
                first = self._rows_read + 1
                self._rows_read += part.num_rows
                if self._index is not None:
                    name, values = self._index
                    numbers = pa.array(values[first - 1 : self._rows_read], pa.int64())
                    part = part.append_column(name, numbers)
                # In the requested order, which may differ from the file's.
                chosen = part.select(list(self.columns))
                kept, errors = without_bad_text(chosen, self.name, first)
                columns = take_apart(kept)
                records = range(first, first + part.num_rows)
                span = self._byte_after(first - 1), self._byte_after(self._rows_read)
                yield Batch(
                    source=self.name,
                    records=records,
                    columns=columns,
                    errors=errors,
                    byte_span=span,
                )
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{self.name} cannot be read after row {self._rows_read:,}: {error}"
            ) from error

    def close(self) -> None:
        self._file.close()

    def _byte_after(self, row: int) -> int:
        """Return the approximate bytes of the first rows, from the sizes of the row groups."""
        facts = self._file.metadata
        if row >= facts.num_rows or self.bytes_total is None:
            return self.bytes_total or 0
        sizes = [facts.row_group(it).total_byte_size for it in range(facts.num_row_groups)]
        before, left = 0, row
        for number, size in enumerate(sizes):
            rows = facts.row_group(number).num_rows
            if left < rows:
                before += size * left // rows
                break
            before, left = before + size, left - rows
        return int(self.bytes_total * before // max(sum(sizes), 1))

    @property
    def _of_file(self) -> list[str]:
        """The columns to decode, at least one."""
        names = [name for name in self.columns if self._index is None or name != self._index[0]]
        return names or self._file.schema_arrow.names[:1]

    def _parts(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows after ``_rows_before``, without reading row groups before it."""
        facts = self._file.metadata
        groups: list[int] = []
        for number in range(facts.num_row_groups):
            rows = facts.row_group(number).num_rows
            if groups or self._rows_read + rows > self._rows_before:
                groups.append(number)
            else:
                self._rows_read += rows
        for part in self._file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=groups, columns=self._of_file, use_threads=False
        ):
            passed = min(max(self._rows_before - self._rows_read, 0), part.num_rows)
            self._rows_read += passed
            if passed < part.num_rows:
                yield part.slice(passed)


def _from_its_end(name: str) -> str:
    return f"{name} cannot be read as Parquet, which is read from its end: save it as a file first."
