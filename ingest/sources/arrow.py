"""Objects with the Arrow C stream interface: those of pyarrow, polars, pandas and DuckDB."""

from __future__ import annotations

import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import SourceError
from ingest.results.rejects import Reject
from ingest.sources.base import OF_FILES, Source, SourceOptions, choose_columns
from ingest.sources.batch import Batch
from ingest.sources.duckdb_relations import is_relation, json_columns_of, parse_json, without_loss
from ingest.sources.frames import (
    note_unread,
    range_index,
    without_objects,
    without_row_numbers,
)

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
        index = range_index(reader.schema)
        if index is not None:
            self.notes = (note_unread(index[0], name),)
        chosen = options.columns or without_row_numbers(reader.schema)
        self.columns = choose_columns(reader.schema.names, chosen, name)

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
        column = part.column(number)
        if not _has_text(field.type) or _is_valid(column):
            continue
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_decode()
        if pa.types.is_string_view(column.type):  # which take() does not support
            column = pc.cast(column.view(pa.binary_view()), pa.binary()).view(pa.string())
        bad = _bad_texts(column)
        errors += [
            Reject(
                source=source,
                record=first + place,
                column=field.name,
                field=None,
                value=shown,
                reason="it is not valid UTF-8, as text in Arrow must be: write the source again",
                kind="value",
            )
            for place, shown in bad.items()
        ]
        kept = [None if place in bad else place for place in range(len(column))]
        column = column.take(pa.array(kept, pa.int64()))
        part = part.set_column(number, pa.field(field.name, column.type), column)
    return part, tuple(sorted(errors, key=lambda error: error.record))


def _has_text(kind: pa.DataType) -> bool:
    """Return whether values of this type are texts, or have texts inside."""
    if pa.types.is_dictionary(kind):
        return _has_text(kind.value_type)
    if pa.types.is_nested(kind):
        return any(_has_text(kind.field(at).type) for at in range(kind.num_fields))
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _bad_texts(column: pa.Array) -> dict[int, str | None]:
    """Return the places of values that are no UTF-8, with what can be shown of a text."""
    bad: dict[int, str | None] = {}
    for place, value in enumerate(column):
        try:
            value.as_py()
        except UnicodeDecodeError as error:
            is_text = not pa.types.is_nested(column.type)
            bad[place] = error.object.decode(errors="replace") if is_text else None
        except (ValueError, OverflowError):
            pass  # such as a time that Python does not have
    return bad


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
    if _has_map(kind):
        return list(map(_read_maps, column.to_pylist(), repeat(kind)))
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    is_bytes |= pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind)
    return column.to_pylist() if is_bytes else column


def _has_map(kind: pa.DataType) -> bool:
    """Return whether values of this type are maps, or have maps inside."""
    if pa.types.is_map(kind):
        return True
    return pa.types.is_nested(kind) and any(
        _has_map(kind.field(at).type) for at in range(kind.num_fields)
    )


def _read_maps(value: Any, kind: pa.DataType) -> Any:
    """Return a value with its maps as dicts: Arrow gives them as lists of pairs."""
    if value is None or not _has_map(kind):
        return value
    if pa.types.is_map(kind):
        return {key: _read_maps(item, kind.item_type) for key, item in value}
    if pa.types.is_struct(kind):
        return {field.name: _read_maps(value[field.name], field.type) for field in kind}
    return [_read_maps(item, kind.value_type) for item in value]


_OF_PANDAS = {"pandas.period", "pandas.interval"}
"""Types of pandas that it writes as texts: their storage is a number, or a pair."""


def _text_of(value: Any) -> str | None:
    return None if value is sys.modules["pandas"].NaT or value != value else str(value)  # noqa: PLR0124


def _parse_json(texts: pa.Array | list[Any]) -> list[Any]:
    """Parse a column of JSON texts; a text that is not JSON is left as it is."""
    return [text if text is None else parse_json(text) for text in _pylist(texts)]


def _pylist(cells: pa.Array | list[Any]) -> list[Any]:
    return cells if isinstance(cells, list) else list(cells.to_pylist())
