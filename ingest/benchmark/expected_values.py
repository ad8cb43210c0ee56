"""Values as Django would save them, prepared by code that no method uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections, models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.benchmark.methods.base import Row
    from ingest.benchmark.scratch.tables import ScratchTables

    Field = models.Field[Any, Any]


def prepared_rows(
    tables: ScratchTables, fields: Sequence[Field], rows: Sequence[Row]
) -> Iterator[Row]:
    """Yield each row as psycopg takes it, with its number, from 1, before it."""
    connection = connections[tables.alias]
    prepare = [field.get_db_prep_save for field in fields]
    own = [
        field
        for field in fields
        if type(field).pre_save is not models.Field.pre_save
        and not isinstance(field, models.FileField)
    ]
    names = [field.attname for field in fields]
    for ordinal, given in enumerate(rows, 1):
        row = given
        if own:
            # A custom field may change what is saved.
            instance = tables.model(**dict(zip(names, row, strict=True)))
            for field in own:
                field.pre_save(instance, add=True)
            row = tuple(getattr(instance, name) for name in names)
        yield (
            ordinal,
            *[one(value, connection) for one, value in zip(prepare, row, strict=True)],
        )


def placeholder(tables: ScratchTables, field: Any, value: Any) -> str:
    """Return the SQL that the field puts around a value; ``%s`` if it puts none."""
    connection = connections[tables.alias]
    compiler = models.sql.Query(tables.model).get_compiler(tables.alias)
    if hasattr(field, "get_placeholder_sql"):  # since Django 6.1
        return str(field.get_placeholder_sql(value, compiler, connection)[0])
    if hasattr(field, "get_placeholder"):
        return str(field.get_placeholder(value, compiler, connection))
    return "%s"
