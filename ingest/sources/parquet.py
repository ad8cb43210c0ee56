"""Parquet files, read row group by row group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet

from ingest.exceptions import SourceError
from ingest.sources.arrow import take_apart
from ingest.sources.base import Batch, Source, SourceOptions, choose_columns
from ingest.sources.files import STDIN, kind_suffix, open_path

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_ROWS = 65_536
"""Rows decoded at a time."""


class ParquetSource(Source):
    """A Parquet file: its values are typed already."""

    format = "parquet"
    place = 15

    def __init__(
        self, file: pyarrow.parquet.ParquetFile, name: str, options: SourceOptions
    ) -> None:
        self.name = name
        self._file = file
        self._rows_read = 0
        self.columns = choose_columns(file.schema_arrow.names, options.columns, name)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_file = isinstance(given, str | Path) or hasattr(given, "read")
        return is_file and kind_suffix(given) in {".parquet", ".pq"}

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        if hasattr(given, "read"):
            name = str(getattr(given, "name", type(given).__name__))
            if not (hasattr(given, "seekable") and given.seekable()):
                raise SourceError(_from_its_end(name))
        elif str(given) == STDIN:
            raise SourceError(_from_its_end("standard input"))
        else:
            open_path(Path(given)).close()  # for its message
            name = given = str(given)
        try:
            # Without a buffer ahead: that would hold a whole row group.
            file = pyarrow.parquet.ParquetFile(given, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{name} is no Parquet file: {error}") from error
        source = cls(file, name, options)
        if isinstance(given, str):
            source.bytes_total = Path(given).stat().st_size
        return source

    @property
    def bytes_read(self) -> int:  # type: ignore[override]
        """How far the file has been read: its size, as far as its rows have come."""
        rows: int = self._file.metadata.num_rows
        return (self.bytes_total or 0) * self._rows_read // max(rows, 1)

    def batches(self) -> Iterator[Batch]:
        try:
            for part in self._file.iter_batches(
                batch_size=BATCH_ROWS, columns=list(self.columns), use_threads=False
            ):
                first = self._rows_read + 1
                self._rows_read += part.num_rows
                # In the order that was asked for, which is not always that of the file.
                columns = take_apart(part.select(list(self.columns)))
                yield Batch(records=range(first, first + part.num_rows), columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{self.name} cannot be read after row {self._rows_read:,}: {error}"
            ) from error

    def close(self) -> None:
        self._file.close()


def _from_its_end(name: str) -> str:
    return f"{name} cannot be read as Parquet, which is read from its end: save it as a file first."
