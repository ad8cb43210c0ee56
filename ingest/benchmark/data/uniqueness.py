"""Which fields must differ from row to row to satisfy every unique constraint."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models

from ingest.benchmark.data.conditions import evaluate, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Field = models.Field[Any, Any]

    from ingest.postgres.catalog import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniqueSet:
    """Fields, by attname, that together must not have the same values in two rows."""

    fields: tuple[str, ...]
    condition: Any = None
    """The ``Q`` of a conditional constraint; rows for which it is false are exempt."""
    are_nulls_distinct: bool = True

    def is_free(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row with these values, by attname, is certainly exempt."""
        if self.are_nulls_distinct and any(row.get(name, 0) is None for name in self.fields):
            return True
        return self.condition is not None and evaluate(self.condition, row) is False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How uniqueness is ensured."""

    carriers: dict[str, list[UniqueSet]]
    """Fields, by attname, whose values are all different, and the sets that this satisfies."""
    loose: list[UniqueSet]
    """Sets without a carrier: their rows are compared."""


def plan_uniqueness(model: type[models.Model], fields: Sequence[Field], table: Table) -> Plan:
    """Choose one field that carries each unique set, or leave the set loose."""
    by_name = {field.attname: field for field in fields}
    carriers: dict[str, list[UniqueSet]] = {}
    loose = []
    for unique in sorted(_unique_sets(model, table), key=lambda unique: len(unique.fields)):
        if not unique.fields or not set(unique.fields) <= set(by_name):
            continue  # PostgreSQL or the ORM fills one of its fields, always differently
        candidates = [by_name[name] for name in unique.fields]
        best = max(candidates, key=lambda field: (field.attname in carriers, _room(field)))
        if len(candidates) == 1 or _room(best) > 0:
            carriers.setdefault(best.attname, []).append(unique)
        else:
            loose.append(unique)
    return Plan(carriers=carriers, loose=loose)


def _room(field: Field) -> int:
    # Roughly how many different values it has: enough for any number of rows, or not.
    if field.is_relation or field.flatchoices or isinstance(field, models.BooleanField):
        return 0
    if isinstance(field, models.UUIDField):
        return 9
    if isinstance(field, (models.CharField, models.TextField)):
        return 8 if (getattr(field, "max_length", None) or 99) >= ROOMY_LENGTH else 0
    if isinstance(field, (models.DateTimeField, models.FloatField, models.DecimalField)):
        return 5
    if isinstance(field, (models.PositiveSmallIntegerField, models.SmallIntegerField)):
        return 0
    return 4 if isinstance(field, models.IntegerField) else 0


ROOMY_LENGTH = 6
"""36⁶ different texts are two billion."""


def _unique_sets(model: type[models.Model], table: Table) -> Iterator[UniqueSet]:
    options = model._meta
    attnames = {field.name: field.attname for field in options.concrete_fields}
    by_column = {field.column: field.attname for field in options.concrete_fields}

    def named(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(attnames.get(name, name) for name in names)

    for field in options.concrete_fields:
        if field.unique:
            yield UniqueSet(fields=(field.attname,))
    for names in options.unique_together:
        yield UniqueSet(fields=named(names))
    for item in options.constraints:
        if isinstance(item, models.UniqueConstraint):
            mentioned = [name for part in item.expressions for name in fields_of(part)]
            yield UniqueSet(
                fields=named(item.fields or list(dict.fromkeys(mentioned))),
                condition=item.condition,
                are_nulls_distinct=item.nulls_distinct is not False,
            )
        elif isinstance(item, ExclusionConstraint):
            mentioned = [name for part, _ in item.expressions for name in _named_by(part)]
            yield UniqueSet(fields=named(list(dict.fromkeys(mentioned))), condition=item.condition)
    for constraint in table.constraints:
        if constraint.kind in ("p", "u"):
            yield UniqueSet(
                fields=tuple(by_column.get(name, name) for name in constraint.columns),
                are_nulls_distinct="NULLS NOT DISTINCT" not in constraint.definition,
            )


def _named_by(part: Any) -> Iterator[str]:
    return iter([part]) if isinstance(part, str) else fields_of(part)
