"""Objects with the Arrow C stream interface: those of pyarrow, polars, pandas and DuckDB."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import SourceError
from ingest.sources.base import OF_FILES, Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch
from ingest.sources.duckdb_relations import is_relation, json_columns_of, without_loss

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

BATCH_ROWS = 65_536
"""Rows of a batch: an Arrow table may be one huge batch."""


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
        objects: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """``json_columns``: text columns with JSON, which the stream's schema does not show.

        ``objects``: the values of columns for which the stream has only the names.
        """
        self.name = name
        self._json_columns = json_columns
        self._objects = objects or {}
        self._reader = reader
        self.columns = choose_columns(reader.schema.names, options.columns, name)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return hasattr(given, "__arrow_c_stream__")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        name = f"{type(given).__module__.partition('.')[0]} {type(given).__name__}"
        json_columns: frozenset[str] = frozenset()
        if is_relation(given):
            json_columns = json_columns_of(given)
            given = without_loss(given)
        given, objects = _without_objects(given)
        try:
            reader = pa.RecordBatchReader.from_stream(given)
        except pa.ArrowException as error:
            raise SourceError(f"The Arrow stream cannot be read: {error}") from error
        return cls(reader, name, options, json_columns, objects)

    def batches(self) -> Iterator[Batch]:
        first = 1
        try:
            for whole in self._reader:
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    part = self._chosen(whole.slice(start, BATCH_ROWS))
                    last = first + part.num_rows
                    columns = self._take_apart(part, first - 1)
                    yield Batch(source=self.name, records=range(first, last), columns=columns)
                    first = last
        except pa.ArrowException as error:
            raise SourceError(f"{self.name} broke after record {first - 1:,}: {error}") from error

    def close(self) -> None:
        self._reader.close()

    def _take_apart(self, part: pa.RecordBatch, start: int) -> tuple[pa.Array | list[Any], ...]:
        columns: list[pa.Array | list[Any]] = list(take_apart(part))
        for place, name in enumerate(part.schema.names):
            if name in self._json_columns:
                columns[place] = _parse_json(columns[place])
            elif name in self._objects:
                columns[place] = list(self._objects[name][start : start + part.num_rows])
        return tuple(columns)

    def _chosen(self, part: pa.RecordBatch) -> pa.RecordBatch:
        # If all columns are taken, a name may occur twice, which select() would refuse.
        is_all = tuple(part.schema.names) == self.columns
        return part if is_all else part.select(list(self.columns))


def _without_objects(given: Any) -> tuple[Any, dict[str, list[Any]]]:
    """Return a pandas frame without its columns of mixed types, and the values of these columns.

    Arrow would convert all values of a column to one type, and give all its objects the same keys.
    """
    if type(given).__module__.partition(".")[0] != "pandas" or not hasattr(given, "isetitem"):
        return given, {}
    infer_dtype = sys.modules["pandas"].api.types.infer_dtype
    objects: dict[str, list[Any]] = {}
    kept = given
    for place, name in enumerate(given.columns):
        column = given.iloc[:, place]
        if str(column.dtype) != "object" or list(given.columns).count(name) > 1:
            continue
        if not infer_dtype(column, skipna=True).startswith("mixed"):
            continue
        objects[str(name)] = [
            None if is_missing else _without_numpy(value)
            for value, is_missing in zip(column.tolist(), column.isna().tolist(), strict=True)
        ]
        kept = given.copy(deep=False) if kept is given else kept
        kept.isetitem(place, [None] * len(column))
    return kept, objects


def _without_numpy(value: Any) -> Any:
    """Convert numpy's values, also inside objects and lists, to Python's, as Arrow would."""
    if isinstance(value, dict):
        return {name: _without_numpy(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_without_numpy, value))
    is_of_numpy = type(value).__module__ == "numpy"
    return value.tolist() if is_of_numpy and value.dtype.kind in "biufU" else value


def take_apart(part: pa.RecordBatch) -> tuple[pa.Array | list[Any], ...]:
    """Return the columns of a record batch in the form that ``Batch`` needs."""
    return tuple(map(_as_cells, part.columns))


def _as_cells(column: pa.Array) -> pa.Array | list[Any]:
    """Convert a column to one of a few types, whatever layout its library uses.

    Texts become strings, and JSON and maps become Python values. So do binary values, because a
    binary array means the cells of a text file.
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
    """Parse a column of JSON texts; a text that is not JSON is left as it is."""
    return [text if text is None else _parse(text) for text in _pylist(texts)]


def _pylist(cells: pa.Array | list[Any]) -> list[Any]:
    return cells if isinstance(cells, list) else list(cells.to_pylist())


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
