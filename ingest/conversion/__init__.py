"""Convert raw batches to typed batches, without the records that a field refuses.

The Django field is the authority on a value: a cell is accepted exactly when the field's ``clean``
accepts it, and what is stored is what the ORM would have stored. Arrow does the work for a whole
column where that is certain to give the same result.
"""

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cells import mask_of, python_value
from ingest.conversion.cleaning import RefusedValue
from ingest.conversion.columns import ColumnConverter
from ingest.conversion.cures import with_cure
from ingest.conversion.defaults import Inserts, fields_to_fill, needs_instance
from ingest.conversion.instances import Instances
from ingest.conversion.server_defaults import complete
from ingest.conversion.unfed import FilledColumn, judge_unfed
from ingest.exceptions import LayoutError
from ingest.postgres.encoding import choose_encoding
from ingest.results.rejects import shorten
from ingest.sources.batch import NumberedRecords

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.db import models
    from psycopg.abc import AdaptContext

    from ingest.conversion.columns import RefusedCell, TypedColumn
    from ingest.conversion.instances import Fault
    from ingest.conversion.slow_fields import SlowField
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.results.rejects import Reject
    from ingest.sources import Batch

__all__ = ["Converter", "TypedBatch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypedBatch(NumberedRecords):
    """Rows that are ready to be encoded, and the rejects of the batch they came from.

    ``records`` has one number for each row.
    """

    rows: pa.RecordBatch
    """The accepted rows; one column for each of the encoding's columns, in that order."""
    rejects: tuple[Reject, ...]
    """All reasons for all refused records, by record and column."""
    records_read: int
    """How many records the source had for this batch."""
    batch: Batch
    """The raw batch that was converted."""
    origins: Mapping[str, tuple[str, str]]
    """The source column and the field that feed each column of the table."""

    def without(self, rejects: Sequence[Reject]) -> TypedBatch:
        """Return the batch without the records of these rejects, which are added to its rejects."""
        if not rejects:
            return self
        refused = {reject.record for reject in rejects}
        found = {bisect_left(self.records, record) for record in refused}
        # A record that was removed before has no place.
        places = {at for at in found if at < len(self.records) and self.records[at] in refused}
        left = self.without_places(places)
        return dataclasses.replace(left, rejects=(*self.rejects, *rejects))

    def without_places(self, places: Collection[int]) -> TypedBatch:
        """Return the batch without the rows at these places."""
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

    def __init__(  # noqa: PLR0913 - what decides how a row becomes typed, each once
        self,
        *,
        model: type[models.Model] | None = None,
        table: Table,
        fields: Sequence[models.Field[Any, Any]],
        alias: str,
        context: AdaptContext | None,
        source_columns: Sequence[str] | None = None,
        clean: bool = False,
        judges_unfed: bool = True,
        has_postgres_text: bool = False,
        reads_by_text: bool = False,
        has_json_numbers: bool = False,
        inserts: Inserts = "all",
    ) -> None:
        """Plan the conversion; ``fields`` are those that the source feeds, column by column.

        ``model``: the model of the rows, if it is not the first field's: a multi-table child.
        ``clean``: run ``Model.clean()`` for each record. ``judges_unfed``: judge the defaults of
        fields that nothing feeds as ``clean_fields()`` would. Raises ``LayoutError`` if a default
        is refused, unless only some rows are inserted.
        """
        if not fields:
            raise LayoutError(
                f"No column is given for {table.qualified_name}: COPY needs at least one."
            )
        self._model = model or fields[0].model
        self._fields = tuple(fields)
        self.table, self._alias = table, alias
        self._source_columns = tuple(source_columns or (field.attname for field in fields))
        self.given = self._fields
        """The fields that the source feeds."""
        self.lacking: dict[str, str] = {}
        """Required fields that have no value, by name, each with a message that says what to do.
        This is an error only if every row is inserted."""
        self._plan_columns(
            context,
            inserts,
            judges_unfed=judges_unfed,
            has_postgres_text=has_postgres_text,
            reads_by_text=reads_by_text,
            has_json_numbers=has_json_numbers,
        )
        self._origins = {
            str(field.column): (column, field.name)
            for field, column in zip(self._fields, self._source_columns, strict=True)
        }
        every = self.fields
        is_whole = clean or any(map(needs_instance, every))
        self._instances = (
            Instances(self._model, table, self._columns, len(fields), alias, clean=clean)
            if is_whole
            else None
        )

    def _plan_columns(
        self,
        context: AdaptContext | None,
        inserts: Inserts,
        *,
        judges_unfed: bool,
        has_postgres_text: bool,
        reads_by_text: bool,
        has_json_numbers: bool,
    ) -> None:
        """Choose the columns that are written, and how each is converted."""
        filled = fields_to_fill(self._model, self._fields, self.table, inserts, self.lacking)
        self.fields: tuple[models.Field[Any, Any], ...] = (*self._fields, *filled)
        """The fields that are written: those that the source feeds come first."""
        self.encoding: CopyEncoding = choose_encoding(
            [self.table.column(str(field.column)) for field in self.fields], context
        )
        self._columns = [
            ColumnConverter(
                field,
                encoding,
                self._alias,
                has_postgres_text=has_postgres_text,
                reads_by_text=reads_by_text and place < len(self._fields),
                has_json_numbers=has_json_numbers and place < len(self._fields),
            )
            for place, (field, encoding) in enumerate(
                zip(self.fields, self.encoding.columns, strict=True)
            )
        ]
        self.seconds = dict.fromkeys((field.name for field in self._fields), 0.0)
        """How long the conversion of each field that the source feeds took."""
        self._filled = [
            FilledColumn(converter, judges=judges_unfed)
            for converter in self._columns[len(self._fields) :]
        ]
        refused = judge_unfed(self._filled)
        if not refused:
            return
        if inserts == "all":
            raise LayoutError("\n".join(refused.values()))
        self.lacking.update(refused)
        self._plan_columns(
            context,
            inserts,
            judges_unfed=judges_unfed,
            has_postgres_text=has_postgres_text,
            reads_by_text=reads_by_text,
            has_json_numbers=has_json_numbers,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about values that were stored but are probably not what was meant."""
        return tuple(warning for column in self._columns for warning in column.warnings)

    @property
    def slow_fields(self) -> tuple[SlowField, ...]:
        """The fields fed by the source that judged values one at a time."""
        return tuple(filter(None, (column.slow() for column in self._columns[: len(self._fields)])))

    def convert(self, batch: Batch) -> TypedBatch:
        """Convert one batch."""
        batch = complete(batch, self._columns, self.table, self._alias)
        given = []
        for converter, cells in zip(self._columns, batch.columns, strict=False):
            started = time.perf_counter()
            given.append(converter.convert(cells))
            self.seconds[converter.field.name] += time.perf_counter() - started
        rows = len(batch.records)
        columns = [*given, *(column.fill(rows) for column in self._filled)]
        found: Sequence[Reject] = ()
        if self._instances is not None and rows:
            columns, faults = self._instances.apply(
                columns, self.cleaned(batch), [column.values(rows) for column in self._filled]
            )
            found = _as_given(batch, [self._fault(batch, fault) for fault in faults])
        refused_places = {cell.place for column in columns for cell in column.refused}
        typed = TypedBatch(
            rows=pa.RecordBatch.from_arrays(
                [column.values for column in columns], names=list(self.encoding.names)
            ),
            records=batch.records,
            rejects=self.rejects(batch, columns),
            records_read=batch.records_read,
            source=batch.source,
            find_line=batch.find_line,
            batch=batch,
            origins=self._origins,
        )
        typed = typed.without_places(refused_places)
        if not found and not batch.refused:
            return typed
        typed = typed.without((*found, *batch.refused))
        rejects = sorted(typed.rejects, key=lambda reject: reject.record)
        return dataclasses.replace(typed, rejects=tuple(rejects))

    def judge(self, place: int, cell: Any) -> str | None:
        """Return why the field at this place refuses a cell of a text file, or None."""
        column = self._columns[place]
        refused = column.convert(pa.array([cell], pa.binary())).refused
        return with_cure(column.field, _shown(cell), refused[0].reason) if refused else None

    def cleaned(self, batch: Batch) -> list[list[Any]]:
        """Return the cells of each given column, cleaned by its field or as a ``RefusedValue``."""
        batch = complete(batch, self._columns, self.table, self._alias)
        return [
            converter.clean(cells)
            for converter, cells in zip(self._columns, batch.columns, strict=False)
        ]

    def rejects(self, batch: Batch, columns: Sequence[TypedColumn]) -> tuple[Reject, ...]:
        """Return the batch's rejects and those of the columns' cells, in order of record."""
        found = list(batch.rejects)
        for place, column in enumerate(columns):
            found.extend(self._reject(batch, place, cell) for cell in column.refused)
        return tuple(sorted(_as_given(batch, found), key=lambda reject: reject.record))

    def _reject(self, batch: Batch, place: int, cell: RefusedCell) -> Reject:
        is_given = place < len(self._fields)
        field = self._columns[place].field
        # As in the source: there, an empty cell of a file is not None.
        value = _shown(batch.columns[place][cell.place] if is_given else cell.value)
        return batch.reject(
            cell.place,
            with_cure(field, value, cell.reason)
            if is_given
            else f"{cell.reason} (The field's default gave {shorten(cell.value)}.)",
            "value",
            column=self._source_columns[place] if is_given else None,
            field=field.name,
            value=value,
        )

    def _fault(self, batch: Batch, fault: Fault) -> Reject:
        names = {field.name: place for place, field in enumerate(self._fields)}
        place = names.get(fault.field or "")
        return batch.reject(
            fault.place,
            fault.reason,
            "value",
            column=None if place is None else self._source_columns[place],
            field=fault.field,
            value=None if place is None else _shown(batch.columns[place][fault.place]),
        )


def _as_given(batch: Batch, rejects: Sequence[Reject]) -> list[Reject]:
    """Return the rejects that a layout has not reported already, with the source's values."""
    told = [reject for reject in rejects if (reject.record, reject.field) not in batch.blamed]
    find = batch.find_original
    if find is None:
        return told
    return [dataclasses.replace(it, value=find(it.field, it.record, it.value)) for it in told]


def _shown(value: Any) -> Any:
    """Return a cell as shown in a message: text, not the bytes of a file."""
    if isinstance(value, pa.Scalar):
        scalar, value = value, python_value(value)
        if isinstance(value, RefusedValue) and pa.types.is_temporal(scalar.type):
            return str(scalar.cast(pa.string()))
    if isinstance(value, RefusedValue):
        return value.reason
    return value.decode(errors="replace") if isinstance(value, bytes) else value
