"""Run what needs a whole instance: computed fields, ``Model.clean()``, fields' own ``clean()``."""

from __future__ import annotations

import dataclasses
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models

from ingest.conversion.cells import mask_of
from ingest.conversion.cleaning import DATABASE_ERRORS
from ingest.conversion.columns import TypedColumn
from ingest.conversion.defaults import needs_instance
from ingest.conversion.model_rules import looks_at_instance
from ingest.exceptions import ConfigurationError
from ingest.postgres.several_tables import fields_of_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.conversion.columns import ColumnConverter
    from ingest.postgres.catalog import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A reason why a record was refused, found on its instance."""

    place: int
    """The record's place in the batch."""
    field: str | None
    reason: str


class Instances:
    """Creates an instance for each record of a batch, one at a time."""

    def __init__(
        self,
        model: type[models.Model],
        table: Table,
        columns: Sequence[ColumnConverter],
        given: int,
        alias: str,
        *,
        clean: bool,
    ) -> None:
        """``columns`` are all written columns; the source feeds the first ``given`` of them."""
        self._model, self._columns, self._given, self._alias = model, columns, given, alias
        self._clean = clean
        self._names = [column.field.attname for column in columns]
        self._computed = [
            place for place, column in enumerate(columns) if needs_instance(column.field)
        ]
        self._looking = [
            column.field for column in columns if clean and looks_at_instance(column.field)
        ]
        if clean and not self._looking and model.clean is models.Model.clean:
            raise ConfigurationError(
                f"clean has nothing to run: {model._meta.label} has no clean() of its own, and no "
                "field with one. Leave it out."
            )
        self._others = [
            field.attname
            for field in fields_of_rows(model, table)
            if field.attname not in self._names and not field.generated
        ]

    def apply(
        self,
        columns: Sequence[TypedColumn],
        cleaned: Sequence[list[Any]],
        filled: Sequence[Iterable[Any] | None],
    ) -> tuple[list[TypedColumn], list[Fault]]:
        """Return the columns with the values that the instances set, and the faults found.

        ``cleaned`` has the Python values of the given columns, and ``filled`` those of the others
        (None for a column that its field computes).
        """
        refused = {cell.place for column in columns for cell in column.refused}
        known: list[Iterable[Any]] = [
            *map(_own, cleaned),
            *(_own(values) for values in filled if values is not None),
        ]
        places = [
            *range(self._given),
            *(self._given + at for at, values in enumerate(filled) if values is not None),
        ]
        names = [self._names[place] for place in places]
        faults: list[Fault] = []
        changed: dict[int, dict[int, Any]] = {place: {} for place in self._computed}
        for place, row in enumerate(zip(*known, strict=True)):
            if place in refused:
                continue
            try:
                instance = self._model(**dict(zip(names, row, strict=True)))
                instance._state.db = self._alias
                if self._clean:
                    found = list(self._judge(instance, place, changed))
                    faults.extend(found)
                    if found:
                        continue
                for at in self._computed:
                    changed[at][place] = self._columns[at].field.pre_save(instance, add=True)
            except DATABASE_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - whatever stops full_clean() refuses the row
                faults.append(Fault(place, None, f"{type(error).__name__}: {error}"))
        return [
            _replaced(column, self._columns[at], changed.get(at) or {})
            for at, column in enumerate(columns)
        ], faults

    def _judge(
        self, instance: models.Model, place: int, changed: dict[int, dict[int, Any]]
    ) -> Iterator[Fault]:
        """Validate an instance; record the values that ``clean()`` sets in ``changed``."""
        before = [getattr(instance, name) for name in self._names]
        others = [instance.__dict__.get(name) for name in self._others]
        errors = self._errors(instance)
        for name, messages in errors.items():
            yield Fault(place, None if name == NON_FIELD_ERRORS else name, " ".join(messages))
        if errors:
            return
        for at, (name, value) in enumerate(zip(self._names, before, strict=True)):
            now = getattr(instance, name)
            # A document may have been changed in place.
            if now is not value or isinstance(now, dict | list):
                changed.setdefault(at, {})[place] = now
        for name, value in zip(self._others, others, strict=True):
            if instance.__dict__.get(name) is not value:
                yield Fault(
                    place,
                    name,
                    f"Model.clean() gives {name!r} a value, but the load leaves it to PostgreSQL: "
                    f"add a column {name!r} to the source.",
                )

    def _errors(self, instance: models.Model) -> dict[str, list[str]]:
        """Return the errors of fields that read the instance and of ``Model.clean()``, by field."""
        errors: dict[str, list[str]] = {}
        for field in self._looking:
            value = getattr(instance, field.attname)
            if field.blank and value in field.empty_values:
                continue
            try:
                setattr(instance, field.attname, field.clean(value, instance))
            except ValidationError as error:
                errors.setdefault(field.name, []).extend(error.messages)
        try:
            instance.clean()
        except ValidationError as error:
            error.__traceback__ = None  # its frames hold the batch
            for name, found in error.update_error_dict({}).items():
                errors.setdefault(name, []).extend(ValidationError(found).messages)
        return errors


def _own(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the values, with a copy of each that an instance could change in place.

    Equal cells are converted once, and a default or the records of a source may share a value, too.
    """
    return (deepcopy(value) if isinstance(value, dict | list) else value for value in values)


def _replaced(
    column: TypedColumn, converter: ColumnConverter, changed: dict[int, Any]
) -> TypedColumn:
    """Return the column with the ``changed`` values at their places."""
    if not changed:
        return column
    places = sorted(changed)
    values = [changed[place] for place in places]
    stored = converter.store(values, values)
    mask = mask_of(places, len(column.values))
    return TypedColumn(
        pc.replace_with_mask(column.values, mask, _plain(stored.values)),
        [
            *column.refused,
            *(dataclasses.replace(cell, place=places[cell.place]) for cell in stored.refused),
        ],
    )


def _plain(values: pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
