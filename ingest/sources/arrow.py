"""Objects with the Arrow C stream interface: those of pyarrow, polars, pandas and DuckDB."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import SourceError
from ingest.results.rejects import Reject
from ingest.sources.base import OF_FILES, Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch
from ingest.sources.duckdb_relations import is_relation, json_columns_of, parse_json, without_loss
from ingest.sources.frames import without_objects
from ingest.sources.text import find_undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
        json_columns: Mapping[str, Callable[[Any], Any]] | None = None,
        objects: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """``json_columns``: functions that parse columns of JSON, which the schema does not show.

        ``objects``: the values of columns for which the stream has only the names.
        """
        self.name = name
        self._json_columns = json_columns or {}
        self._objects = objects or {}
        self._reader = reader
        self.columns = choose_columns(reader.schema.names, options.columns, name)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return hasattr(given, "__arrow_c_stream__")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        name = f"{type(given).__module__.partition('.')[0]} {type(given).__name__}"
        json_columns: Mapping[str, Callable[[Any], Any]] = {}
        if is_relation(given):
            json_columns = json_columns_of(given)
            given = without_loss(given)
        reader, objects = _open_stream(given, name)
        return cls(reader, name, options, json_columns, objects)

    def batches(self) -> Iterator[Batch]:
        first = 1
        try:
            for whole in self._reader:
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    part = self._chosen(whole.slice(start, BATCH_ROWS))
                    last = first + part.num_rows
                    kept, errors = without_bad_text(part, self.name, first)
                    columns = self._take_apart(kept, first - 1)
                    yield Batch(
                        source=self.name,
                        records=range(first, last),
                        columns=columns,
                        errors=errors,
                    )
                    first = last
        except pa.ArrowException as error:
            raise SourceError(f"{self.name} broke after record {first - 1:,}: {error}") from error

    def close(self) -> None:
        self._reader.close()

    def _take_apart(self, part: pa.RecordBatch, start: int) -> tuple[pa.Array | list[Any], ...]:
        columns: list[pa.Array | list[Any]] = list(take_apart(part))
        for place, name in enumerate(part.schema.names):
            if name in self._json_columns:
                read = self._json_columns[name]
                columns[place] = [
                    None if value is None else read(value) for value in _pylist(columns[place])
                ]
            elif name in self._objects:
                columns[place] = list(self._objects[name][start : start + part.num_rows])
        return tuple(columns)

    def _chosen(self, part: pa.RecordBatch) -> pa.RecordBatch:
        # If all columns are taken, a name may occur twice, which select() would refuse.
        is_all = tuple(part.schema.names) == self.columns
        return part if is_all else part.select(list(self.columns))


def _open_stream(given: Any, name: str) -> tuple[pa.RecordBatchReader, Mapping[str, Sequence[Any]]]:
    """Return a stream of what was given, and the values that it has not got."""
    kept, objects = without_objects(given)
    try:
        return pa.RecordBatchReader.from_stream(kept), objects
    except _UNREADABLE as error:
        problem: Exception = error
    kept, objects = without_objects(given, takes_all=True)
    if objects:
        try:
            return pa.RecordBatchReader.from_stream(kept), objects
        except _UNREADABLE as error:
            problem = error
    cure = "Convert such values in the source."
    if hasattr(given, "to_frame"):
        cure = "It is one column: give the frame that its to_frame() makes."
    raise SourceError(f"{name} cannot be read as an Arrow stream: {problem}. {cure}") from problem


_UNREADABLE = (pa.ArrowException, TypeError, ValueError, OverflowError)


def without_bad_text(
    part: pa.RecordBatch, source: str, first: int
) -> tuple[pa.RecordBatch, tuple[Reject, ...]]:
    """Return a batch without texts that are no UTF-8, and the rejects of them.

    Arrow and Parquet believe whoever wrote them.
    """
    errors: list[Reject] = []
    for number, field in enumerate(part.schema):
        is_large = pa.types.is_large_string(field.type)
        column = part.column(number)
        if not (is_large or pa.types.is_string(field.type)) or _is_valid(column):
            continue
        cells = pc.cast(column.view(pa.large_binary() if is_large else pa.binary()), pa.binary())
        places = find_undecodable(cells)
        errors += [
            Reject(
                source=source,
                record=first + place,
                column=field.name,
                field=None,
                value=cells[place].as_py().decode(errors="replace"),
                reason="it is no UTF-8, as texts of Arrow must be: write the source again",
                kind="value",
            )
            for place in places
        ]
        is_bad = pc.is_in(pa.arange(0, len(cells)), value_set=pa.array(places, pa.int64()))
        texts = pc.cast(pc.if_else(is_bad, pa.scalar(None, pa.binary()), cells), field.type)
        part = part.set_column(number, field, texts)
    return part, tuple(sorted(errors, key=lambda error: error.record))


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


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
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name in _OF_PANDAS:
        return pa.array(list(map(_text_of, column.to_pandas().tolist())), pa.string())
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


_OF_PANDAS = {"pandas.period", "pandas.interval"}
"""Types of pandas that it writes as texts: their storage is a number, or a pair."""


def _text_of(value: Any) -> str | None:
    return None if value is sys.modules["pandas"].NaT or value != value else str(value)  # noqa: PLR0124


def _parse_json(texts: pa.Array | list[Any]) -> list[Any]:
    """Parse a column of JSON texts; a text that is not JSON is left as it is."""
    return [text if text is None else parse_json(text) for text in _pylist(texts)]


def _pylist(cells: pa.Array | list[Any]) -> list[Any]:
    return cells if isinstance(cells, list) else list(cells.to_pylist())
