"""Rows generated from a model's fields: the same in every run with the same seed."""

from __future__ import annotations

import dataclasses
from itertools import islice, repeat, tee
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.fields.proxy import OrderWrt

from ingest.benchmark.data.conditions import evaluate
from ingest.benchmark.data.makers import find_maker
from ingest.benchmark.data.uniqueness import plan_uniqueness
from ingest.benchmark.data.values import EMPTY_SHARE, POOL_VALUES, make_values
from ingest.exceptions import BenchmarkError
from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Field = models.Field[Any, Any]

    from ingest.benchmark.data.uniqueness import UniqueSet
    from ingest.benchmark.methods.base import Row
    from ingest.postgres.catalog import Table

FILLED_KINDS = (models.AutoField, models.BigAutoField, models.SmallAutoField, OrderWrt)
"""Fields that PostgreSQL or ``save()`` fills."""
ROUNDS = 30
"""How many times as many rows are tried as needed, because constraints refuse some."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys that a foreign key's fields may have: a tuple for each row of the parent."""

    fields: tuple[str, ...]
    """The attnames of the fields that hold the key."""
    values: list[tuple[Any, ...]]


def made_fields(model: type[models.Model]) -> tuple[tuple[Field, ...], list[str]]:
    """Return the fields that rows are generated for, and a note for each skipped field.

    Fields that the ORM or PostgreSQL fills are skipped without a note: automatic and generated
    keys, ``db_default``, ``auto_now``. A field of unknown type is skipped if it may be empty;
    otherwise it is an error.
    """
    fields, notes = [], []
    for field in model._meta.concrete_fields:
        if (
            field.generated
            or isinstance(field, FILLED_KINDS)
            or field.db_default is not models.NOT_PROVIDED
            or getattr(field, "auto_now", False)
            or getattr(field, "auto_now_add", False)
        ):
            continue
        if not field.is_relation:
            try:
                find_maker(field)
            except BenchmarkError:
                if not (field.null or field.has_default()):
                    raise
                notes.append(f"The field {field.name!r} is left empty: its kind is unknown.")
                continue
        fields.append(field)
    return tuple(fields), notes


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowMaker:
    """Generates rows for a model."""

    model: type[models.Model]
    fields: tuple[Field, ...]
    table: Table
    """The table, whose unique constraints are respected besides the model's."""
    alias: str
    seed: int
    keys: Sequence[Keys] = ()

    def make(self, count: int) -> list[Row]:
        """Return this many rows that every field and every constraint accepts.

        Raise ``BenchmarkError`` if the fields do not allow so many different rows.
        """
        if not self.fields:
            return [()] * count
        plan = plan_uniqueness(self.model, self.fields, self.table)
        columns = self._columns(plan.carriers, count)
        candidates = zip(*columns, strict=False)
        if not plan.loose and not self._checks():
            return list(islice(candidates, count))
        late = {
            place: columns[place]
            for place, field in enumerate(self.fields)
            if field.is_relation and field.attname in plan.carriers
        }
        for place in late:
            columns[place] = repeat(None)
        candidates = zip(*columns, strict=False)
        rows: list[Row] = []
        seen: list[set[Any]] = [set() for _ in plan.loose]
        for row in islice(candidates, count * ROUNDS):
            if self._is_good(row, plan.loose, seen):
                # Keys that may be used only once must not be wasted on refused rows.
                rows.append(
                    tuple(
                        next(late[place]) if place in late else value
                        for place, value in enumerate(row)
                    )
                    if late
                    else row
                )
                if len(rows) == count:
                    return rows
        raise BenchmarkError(
            f"Only {len(rows):,} of {counted(count, 'row')} of {self.model._meta.label} could "
            "be made that "
            "its constraints accept. Ask for fewer with --rows, or give a file with --source FILE."
        )

    def _checks(self) -> list[Any]:
        return [
            getattr(item, "condition", None) or getattr(item, "check", None)
            for item in self.model._meta.constraints
            if isinstance(item, models.CheckConstraint)
        ]

    def _is_good(self, row: Row, loose: Sequence[UniqueSet], seen: list[set[Any]]) -> bool:
        values: dict[str, Any] = {}
        for field, value in zip(self.fields, row, strict=True):
            values[field.name] = values[field.attname] = value
        if any(evaluate(check, values) is False for check in self._checks()):
            return False
        keys: list[tuple[str, ...] | None] = []
        for unique in loose:
            key = tuple(repr(values.get(name)) for name in unique.fields)
            keys.append(None if unique.is_free(values) else key)
        if any(
            taken in known for taken, known in zip(keys, seen, strict=True) if taken is not None
        ):
            return False
        for taken, known in zip(keys, seen, strict=True):
            known.add(taken)
        return True

    def _columns(self, carriers: dict[str, list[UniqueSet]], count: int) -> list[Iterator[Any]]:
        chosen: dict[str, Iterator[Any]] = {}
        for group in self.keys:
            chosen |= self._key_columns(group, carriers, count)
        columns = []
        for field in self.fields:
            if field.attname in chosen:
                columns.append(chosen[field.attname])
            elif field.is_relation:
                if not field.null:
                    raise BenchmarkError(
                        f"Rows cannot be made for {self.model._meta.label}: {field.name!r} "
                        "refers to rows that are not there. Give a file with --source FILE."
                    )
                columns.append(repeat(None))
            else:
                columns.append(
                    make_values(
                        field,
                        self._random(field.attname),
                        carriers.get(field.attname),
                        self.alias,
                    )
                )
        return columns

    def _random(self, *names: str) -> Random:
        # A text gives the same seed in every process, and each column has its own.
        return Random(f"{self.seed} {self.model._meta.label} {' '.join(names)}")  # noqa: S311

    def _key_columns(
        self, group: Keys, carriers: dict[str, list[UniqueSet]], count: int
    ) -> dict[str, Iterator[Any]]:
        random = self._random(*group.fields)
        fields = {field.attname: field for field in self.fields}
        if any(name in carriers for name in group.fields):
            if len(group.values) < count and not all(fields[name].null for name in group.fields):
                raise BenchmarkError(
                    f"{self.model._meta.label} needs another {group.fields[0]} in every row, but "
                    f"there are only {len(group.values):,}."
                )
            order = random.sample(range(len(group.values)), k=len(group.values))
            return {
                name: _followed_by_none(group.values[place][index] for place in order)
                for index, name in enumerate(group.fields)
            }
        may_be_empty = all(fields[name].null for name in group.fields)
        streams = tee(_picked(group, random, may_be_empty), len(group.fields))
        return {
            name: map(itemgetter(index), stream)
            for index, (name, stream) in enumerate(zip(group.fields, streams, strict=True))
        }


def _followed_by_none(values: Iterator[Any]) -> Iterator[Any]:
    yield from values
    while True:
        yield None


def _picked(group: Keys, random: Random, may_be_empty: bool) -> Iterator[tuple[Any, ...]]:  # noqa: FBT001
    nothing = (None,) * len(group.fields)
    while True:
        for values in random.choices(group.values, k=POOL_VALUES):
            yield nothing if may_be_empty and random.random() < EMPTY_SHARE else values
