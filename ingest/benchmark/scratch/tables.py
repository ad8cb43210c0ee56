"""The tables that the methods are measured on, and the models that lead to them."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, transaction

from ingest.benchmark.scratch.copying import TableCopier
from ingest.exceptions import BenchmarkError
from ingest.postgres.catalog import find_table, quote_db_table, quote_name, read_table
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import Model

    from ingest.benchmark.scratch import Scratch
    from ingest.postgres.catalog import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScratchTables:
    """The scratch tables of one run."""

    scratch: Scratch
    model: type[Model]
    name: str
    """The model's scratch table, quoted and with its schema."""
    original: str
    """The name of the real table, which may not exist."""
    names: dict[type[Model], str]
    """The scratch tables of all models that have one."""
    copier: TableCopier | None
    """The copier of the real tables; None if the tables were created from the models."""

    @property
    def alias(self) -> str:
        """The alias in ``settings.DATABASES``."""
        return self.scratch.alias

    def read_table(self) -> Table:
        """Read the model's scratch table from the catalog."""
        session = DjangoSession(self.alias)
        oid = find_table(session, self.name)
        assert oid is not None  # noqa: S101 - it was created a moment ago, in this run's own schema
        return read_table(session, oid)


def build_tables(scratch: Scratch, model: type[Model]) -> ScratchTables:
    """Copy the model's table and all that it references, still without foreign keys and triggers.

    If the real table does not exist, it is created from the model, with foreign keys.
    """
    if model._meta.abstract or model._meta.swapped:
        raise BenchmarkError(f"{model._meta.label} has no table of its own.")
    if model._meta.concrete_model._meta.parents:  # type: ignore[union-attr]
        raise BenchmarkError(
            f"{model._meta.label} has fields in more than one table (multi-table inheritance), "
            "but a benchmark measures one: choose a model that inherits from no other."
        )
    oid = find_table(DjangoSession(scratch.alias), model._meta.db_table)
    with transaction.atomic(using=scratch.alias):
        return _from_model(scratch, model) if oid is None else _from_table(scratch, model, oid)


def _from_table(scratch: Scratch, model: type[Model], oid: int) -> ScratchTables:
    copier = TableCopier(scratch, oid)
    copier.copy_tables()
    session = DjangoSession(scratch.alias)
    names = {}
    for other in {model: None, **dict.fromkeys(apps.get_models(include_auto_created=True))}:
        found = find_table(session, other._meta.db_table)
        if found in copier.copies:
            names[other] = copier.copies[found].name
    return ScratchTables(
        scratch=scratch,
        model=model,
        name=copier.copies[oid].name,
        original=copier.copies[oid].original,
        names=names,
        copier=copier,
    )


def _from_model(scratch: Scratch, model: type[Model]) -> ScratchTables:
    original = model._meta.db_table
    models = list(dict.fromkeys(_needed(model, set())))
    names = {}
    for needed in models:
        schema, name = _split(scratch, needed._meta.db_table)
        names[needed] = f"{quote_name(scratch.schema_for(schema))}.{quote_name(name)}"
    with redirect(names), connections[scratch.alias].schema_editor() as editor:
        for needed in models:
            if not needed._meta.auto_created and not needed._meta.proxy:
                editor.create_model(needed)
    scratch.notes.append(
        f"{original} does not exist yet: measured on the table that the model describes."
    )
    return ScratchTables(
        scratch=scratch,
        model=model,
        name=names[model],
        original=original,
        names=names,
        copier=None,
    )


def _needed(model: Any, seen: set[Any]) -> Iterator[type[Model]]:
    # Many-to-many tables are created together with their model, so they need scratch names, too.
    if model in seen:
        return
    seen.add(model)
    yield model
    if model._meta.proxy:
        yield from _needed(model._meta.concrete_model, seen)
    for parent in model._meta.parents:
        yield from _needed(parent, seen)
    for field in model._meta.local_fields:
        if field.is_relation and field.related_model is not None:
            yield from _needed(field.related_model, seen)
    for relation in model._meta.local_many_to_many:
        through = relation.remote_field.through
        if through._meta.auto_created:
            yield from _needed(through, seen)


def _split(scratch: Scratch, db_table: str) -> tuple[str, str]:
    if '"' not in db_table:
        return "", db_table
    [(parts,)] = DjangoSession(scratch.alias).fetch(
        "SELECT pg_catalog.parse_ident($1::pg_catalog.text)", quote_db_table(db_table)
    )
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])


@contextmanager
def redirect(names: Mapping[type[Model], str]) -> Iterator[None]:
    """Let each model's queries use another table, given quoted and with its schema.

    The models are changed for the whole process, so nothing else may use them in the meantime. They
    are always restored at the end.
    """
    before = {model: model._meta.db_table for model in names}
    try:
        for model, name in names.items():
            _set(model, name)
        yield
    finally:
        for model, name in before.items():
            _set(model, name)


def _set(model: type[Model], db_table: str) -> None:
    model._meta.db_table = db_table
    # A field caches its column together with the table's name.
    for field in (*model._meta.local_fields, model._meta.pk):
        vars(field).pop("cached_col", None)
