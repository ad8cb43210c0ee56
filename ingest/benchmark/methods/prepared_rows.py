"""Rows of Python values: cleaned by their fields, and prepared for the driver as by the ORM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.conversion.cleaning import Cleaner, RefusedValue
from ingest.conversion.columns import RefusedCell, TypedColumn
from ingest.conversion.defaults import fields_to_fill, fill, needs_instance
from ingest.exceptions import RecordsRefused
from ingest.results.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.conversion import Converter
    from ingest.postgres.catalog import Table
    from ingest.sources import Batch


class Preparer:
    """Prepares rows as ``save()`` does; like ``save()``, it does not run the fields' validators."""

    def __init__(self, fields: Sequence[models.Field[Any, Any]], table: Table, alias: str) -> None:
        self._given = tuple(fields)
        self._filled = fields_to_fill(fields[0].model, fields, table)
        every = (*self._given, *self._filled)
        self.columns: tuple[str, ...] = tuple(str(field.column) for field in every)
        """The table's columns for which each prepared row has values."""
        self._cleaners = [Cleaner(field, table.column(str(field.column)), alias) for field in every]
        self._computed = {place for place, field in enumerate(every) if needs_instance(field)}

    def prepare(self, row: Sequence[Any], number: int) -> list[Any]:
        """Prepare one row; ``number`` is used in the message of ``RecordsRefused``."""
        values = self._complete(row)
        prepared = []
        for cleaner, value in zip(self._cleaners, values, strict=True):
            item = cleaner.prepare(value)
            if isinstance(item, RefusedValue):
                raise RecordsRefused([self._reject(cleaner, value, item, number)])
            prepared.append(item)
        return prepared

    def _complete(self, row: Sequence[Any]) -> list[Any]:
        if not self._computed:
            return [*row, *(fill(field) for field in self._filled)]
        names = [field.attname for field in self._given]
        instance = self._given[0].model(**dict(zip(names, row, strict=True)))
        return [
            row[place]
            if place < len(row) and place not in self._computed
            else cleaner.field.pre_save(instance, add=True)
            for place, cleaner in enumerate(self._cleaners)
        ]

    def _reject(self, cleaner: Cleaner, value: Any, refusal: RefusedValue, number: int) -> Reject:
        return Reject(
            source="rows",
            record=number,
            column=cleaner.field.attname,
            field=cleaner.field.name,
            value=value,
            reason=refusal.reason,
            kind="value",
        )


def clean_rows(
    converter: Converter, batch: Batch
) -> tuple[list[tuple[Any, ...]], tuple[Reject, ...]]:
    """Return the accepted records as rows of cleaned Python values, and the rejects."""
    columns = converter.cleaned(batch)
    refused = [
        TypedColumn(
            pa.nulls(0),
            [
                RefusedCell(place, cells[place], item.reason)
                for place, item in enumerate(column)
                if isinstance(item, RefusedValue)
            ],
        )
        for column, cells in zip(columns, batch.columns, strict=True)
    ]
    bad = {cell.place for column in refused for cell in column.refused}
    rows = list(zip(*columns, strict=True))
    good = [row for place, row in enumerate(rows) if place not in bad]
    return good, converter.rejects(batch, refused)
