"""Anything that speaks the Arrow C stream interface: pyarrow, polars, pandas, DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from ingest.exceptions import SourceError
from ingest.sources.base import Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_ROWS = 65_536
"""Rows sent on at a time: an Arrow table may be one huge batch."""


class ArrowSource(Source):
    """An object with ``__arrow_c_stream__``.

    Source: https://arrow.apache.org/docs/format/CStreamInterface.html
    """

    format = "arrow"
    place = 10

    def __init__(self, reader: pa.RecordBatchReader, name: str, options: SourceOptions) -> None:
        self.name = name
        self._reader = reader
        self.columns = choose_columns(reader.schema.names, options.columns, name)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return hasattr(given, "__arrow_c_stream__")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        try:
            reader = pa.RecordBatchReader.from_stream(given)
        except pa.ArrowException as error:
            raise SourceError(f"The Arrow stream cannot be read: {error}") from error
        name = f"{type(given).__module__.partition('.')[0]} {type(given).__name__}"
        return cls(reader, name, options)

    def batches(self) -> Iterator[Batch]:
        first = 1
        try:
            for whole in self._reader:
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    part = self._chosen(whole.slice(start, BATCH_ROWS))
                    last = first + part.num_rows
                    yield Batch(records=range(first, last), columns=take_apart(part))
                    first = last
        except pa.ArrowException as error:
            raise SourceError(f"{self.name} broke after record {first - 1:,}: {error}") from error

    def close(self) -> None:
        self._reader.close()

    def _chosen(self, part: pa.RecordBatch) -> pa.RecordBatch:
        is_all = len(self.columns) == part.num_columns  # names may be given twice then
        return part if is_all else part.select(list(self.columns))


def take_apart(part: pa.RecordBatch) -> tuple[pa.Array | list[Any], ...]:
    """Give the columns of typed values as a ``Batch`` has them."""
    return tuple(map(_without_bytes_of_text, part.columns))


def _without_bytes_of_text(column: pa.Array) -> pa.Array | list[Any]:
    """Give binary values as Python bytes: a binary array stands for cells of a text file."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _without_bytes_of_text(column.dictionary_decode())
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return column.to_pylist() if is_bytes or pa.types.is_binary_view(kind) else column
