"""Anything that speaks the Arrow C stream interface: pyarrow, polars, pandas, DuckDB."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import SourceError
from ingest.sources.base import OF_FILES, Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

BATCH_ROWS = 65_536
"""Rows sent on at a time: an Arrow table may be one huge batch."""


class ArrowSource(Source):
    """An object with ``__arrow_c_stream__``.

    Source: https://arrow.apache.org/docs/format/CStreamInterface.html
    """

    format = "arrow"
    place = 10
    ignores = OF_FILES

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        name: str,
        options: SourceOptions,
        json_columns: Collection[str] = (),
    ) -> None:
        """``json_columns``: columns of texts that are JSON, which the stream does not say."""
        self.name = name
        self._json_columns = json_columns
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
        return cls(reader, name, options, _json_columns_of(given))

    def batches(self) -> Iterator[Batch]:
        first = 1
        try:
            for whole in self._reader:
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    part = self._chosen(whole.slice(start, BATCH_ROWS))
                    last = first + part.num_rows
                    columns = self._take_apart(part)
                    yield Batch(source=self.name, records=range(first, last), columns=columns)
                    first = last
        except pa.ArrowException as error:
            raise SourceError(f"{self.name} broke after record {first - 1:,}: {error}") from error

    def close(self) -> None:
        self._reader.close()

    def _take_apart(self, part: pa.RecordBatch) -> tuple[pa.Array | list[Any], ...]:
        return tuple(
            _parse_json(cells) if name in self._json_columns else cells
            for name, cells in zip(part.schema.names, take_apart(part), strict=True)
        )

    def _chosen(self, part: pa.RecordBatch) -> pa.RecordBatch:
        is_all = len(self.columns) == part.num_columns  # names may be given twice then
        return part if is_all else part.select(list(self.columns))


def _json_columns_of(given: Any) -> frozenset[str]:
    """Return the columns that a DuckDB relation has as JSON, and exports as plain texts."""
    if "duckdb" not in type(given).__module__ or not hasattr(given, "types"):
        return frozenset()
    kinds = zip(given.columns, map(str, given.types), strict=True)
    return frozenset(name for name, kind in kinds if kind == "JSON")


def take_apart(part: pa.RecordBatch) -> tuple[pa.Array | list[Any], ...]:
    """Return the columns of typed values as a ``Batch`` has them."""
    return tuple(map(_as_cells, part.columns))


def _as_cells(column: pa.Array) -> pa.Array | list[Any]:
    """Return a column in one of few types, whichever way its library lays the values out.

    Texts become strings, JSON and maps Python values; so do binary values, because a binary array
    stands for the cells of a text file.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = _as_cells(column.dictionary)
        if isinstance(values, list):
            return [None if at is None else values[at] for at in column.indices.to_pylist()]
        return values.take(column.indices)
    if pa.types.is_run_end_encoded(kind):
        return _as_cells(pc.run_end_decode(column))
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        if kind.extension_name == "arrow.json":
            return _parse_json(_as_cells(column.storage))
        if kind.extension_name == "arrow.bool8":
            return pc.cast(column.storage, pa.bool_())
        return _as_cells(column.storage)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_map(kind):
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    is_bytes |= pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind)
    return column.to_pylist() if is_bytes else column


def _parse_json(texts: pa.Array | list[Any]) -> list[Any]:
    """Parse a column of the type ``arrow.json``; a text that is no JSON is left as it is."""
    return [text if text is None else _parse(text) for text in _pylist(texts)]


def _pylist(cells: pa.Array | list[Any]) -> list[Any]:
    return cells if isinstance(cells, list) else list(cells.to_pylist())


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
