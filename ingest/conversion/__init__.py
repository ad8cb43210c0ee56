"""Raw batches become typed batches, and the records that a field refused are put aside.

The Django field is the authority on a value: a cell is accepted exactly when the field's ``clean``
accepts it, and what is stored is what the ORM would have stored. Arrow does the work for a whole
column where that is certain to give the same result.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cells import mask_of, python_value
from ingest.conversion.cleaning import Refusal
from ingest.conversion.columns import ColumnConverter, RefusedCell, TypedColumn
from ingest.conversion.filling import fields_to_fill, fill, is_constant, needs_instance
from ingest.conversion.preparing import Preparer
from ingest.encoding import choose_encoding
from ingest.exceptions import LayoutError
from ingest.rejects import Reject, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from django.db import models
    from psycopg.abc import AdaptContext

    from ingest.encoding import Encoding
    from ingest.sources import Batch
    from ingest.table import Table

__all__ = ["Converter", "Preparer", "TypedBatch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypedBatch:
    """Rows that are ready to be encoded, and what was refused of the batch they came from."""

    rows: pa.RecordBatch
    """The accepted rows; one column for each of the encoding's columns, in that order."""
    records: Sequence[int]
    """The number of the record that each row came from."""
    rejects: tuple[Reject, ...]
    """Every reason of every refused record, by record and column."""
    records_read: int
    """How many records the source had for this batch."""
    source: str
    """What the records came from."""
    batch: Batch
    """What they were made of."""
    origins: Mapping[str, tuple[str, str]]
    """The source column and the field that feed a column of the table."""
    find_line: Callable[[int], int | None]
    """Says on which physical line of the source a record begins."""

    def without(self, rejects: Sequence[Reject]) -> TypedBatch:
        """Give the batch without the records of these rejects, which are added to its own."""
        if not rejects:
            return self
        refused = {reject.record for reject in rejects}
        found = {bisect_left(self.records, record) for record in refused}
        # A record that is out already has no place.
        places = {at for at in found if at < len(self.records) and self.records[at] in refused}
        left = self.without_places(places)
        return dataclasses.replace(left, rejects=(*self.rejects, *rejects))

    def without_places(self, places: Collection[int]) -> TypedBatch:
        """Give the batch without the rows at these places."""
        if not places:
            return self
        records: list[int] = []
        start = 0
        for place in sorted(places):
            records.extend(self.records[start:place])
            start = place + 1
        records.extend(self.records[start:])
        is_left = pc.invert(mask_of(places, len(self.records)))
        return dataclasses.replace(self, rows=self.rows.filter(is_left), records=records)


class Converter:
    """Converts the batches of one load."""

    def __init__(
        self,
        *,
        table: Table,
        fields: Sequence[models.Field[Any, Any]],
        alias: str,
        context: AdaptContext | None,
        source: str = "rows",
        source_columns: Sequence[str] | None = None,
    ) -> None:
        """Plan the conversion; ``fields`` are those that the source feeds, column by column."""
        if not fields:
            raise LayoutError(
                f"No column is given for {table.qualified_name}: COPY needs at least one."
            )
        self._model = fields[0].model
        self._fields = tuple(fields)
        self._source = source
        self._source_columns = tuple(source_columns or (field.attname for field in fields))
        self._filled = fields_to_fill(self._model, fields, table)
        every = [*self._fields, *self._filled]
        self.encoding: Encoding = choose_encoding(
            [table.column(str(field.column)) for field in every], context
        )
        self._columns = [
            ColumnConverter(field, encoding, alias)
            for field, encoding in zip(every, self.encoding.columns, strict=True)
        ]
        self._origins = {
            str(field.column): (column, field.name)
            for field, column in zip(self._fields, self._source_columns, strict=True)
        }
        self._computed = [field for field in every if needs_instance(field)]

    def convert(self, batch: Batch) -> TypedBatch:
        """Convert one batch."""
        given = [
            converter.convert(cells)
            for converter, cells in zip(self._columns, batch.columns, strict=False)
        ]
        refused_places = {cell.place for column in given for cell in column.refused}
        if self._computed:
            given = self._compute(batch, given, refused_places)
            refused_places = {cell.place for column in given for cell in column.refused}
        arrays = [column.values for column in given]
        arrays += [
            _fill(converter, len(batch.records)) for converter in self._columns[len(given) :]
        ]
        rows = pa.RecordBatch.from_arrays(arrays, names=list(self.encoding.names))
        typed = TypedBatch(
            rows=rows,
            records=batch.records,
            rejects=self._rejects(batch, given),
            records_read=batch.records_read,
            source=batch.source or self._source,
            find_line=batch.find_line,
            batch=batch,
            origins=self._origins,
        )
        return typed.without_places(refused_places)

    def clean(self, batch: Batch) -> tuple[list[tuple[Any, ...]], tuple[Reject, ...]]:
        """Give the accepted records as rows of cleaned Python values, and the rejects."""
        columns = [
            converter.clean(cells)
            for converter, cells in zip(self._columns, batch.columns, strict=False)
        ]
        refused = [
            TypedColumn(
                pa.nulls(0),
                [
                    RefusedCell(place, cells[place], item.reason)
                    for place, item in enumerate(column)
                    if isinstance(item, Refusal)
                ],
            )
            for column, cells in zip(columns, batch.columns, strict=True)
        ]
        bad = {cell.place for column in refused for cell in column.refused}
        rows = list(zip(*columns, strict=True))
        good = [row for place, row in enumerate(rows) if place not in bad]
        return good, self._rejects(batch, refused)

    def _compute(
        self, batch: Batch, given: list[TypedColumn], refused_places: set[int]
    ) -> list[TypedColumn]:
        """Let the fields compute their values from whole instances, as ``save()`` does."""
        cleaned = [
            converter.clean(cells)
            for converter, cells in zip(self._columns, batch.columns, strict=False)
        ]
        names = [field.attname for field in self._fields]
        instances = [
            None if place in refused_places else self._model(**dict(zip(names, row, strict=True)))
            for place, row in enumerate(zip(*cleaned, strict=True))
        ]
        columns = []
        for place, converter in enumerate(self._columns):
            if place < len(given) and converter.field not in self._computed:
                columns.append(given[place])
                continue
            values = [
                None if instance is None else converter.field.pre_save(instance, add=True)
                for instance in instances
            ]
            stored = converter.store(values, values)
            # A row that was refused already is not refused for what was not computed.
            new = [cell for cell in stored.refused if cell.place not in refused_places]
            old = given[place].refused if place < len(given) else ()
            columns.append(TypedColumn(stored.values, [*old, *new]))
        return columns

    def _rejects(self, batch: Batch, columns: Sequence[TypedColumn]) -> tuple[Reject, ...]:
        found = list(batch.rejects)
        for place, column in enumerate(columns):
            found.extend(self._reject(batch, place, cell) for cell in column.refused)
        found.sort(key=lambda reject: reject.record)
        return tuple(found)

    def _reject(self, batch: Batch, place: int, cell: RefusedCell) -> Reject:
        is_given = place < len(self._fields)
        return Reject(
            source=batch.source or self._source,
            record=batch.records[cell.place],
            line=batch.find_line(batch.records[cell.place]),
            column=self._source_columns[place] if is_given else None,
            field=self._columns[place].field.name,
            # As the source has it: an empty cell of a file is not None there.
            value=_shown(batch.columns[place][cell.place] if is_given else cell.value),
            reason=cell.reason,
            kind="value",
        )


def _fill(converter: ColumnConverter, rows: int) -> pa.Array:
    times = 1 if is_constant(converter.field) else rows
    values = [fill(converter.field) for _ in range(times)]
    column = converter.store(values, values)
    if column.refused:
        field, cell = converter.field, column.refused[0]
        raise LayoutError(
            f"The default of {field.model._meta.label}.{field.name} cannot be stored: "
            f"{shorten(cell.value)}: {cell.reason}."
        )
    return pa.repeat(column.values[0], rows) if is_constant(converter.field) else column.values


def _shown(value: Any) -> Any:
    """Give a cell as a message shows it: text, not the bytes of a file."""
    if isinstance(value, pa.Scalar):
        value = python_value(value)
    if isinstance(value, Refusal):
        return value.reason
    return value.decode(errors="replace") if isinstance(value, bytes) else value
