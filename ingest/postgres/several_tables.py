"""Treats the tables of a multi-table child as one: a row of the model is a row in each of them.

Django stores inherited fields in the parent's table and the child's own fields in the child's
table, whose primary key refers to the parent's row.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import LayoutError, UnsupportedModelError
from ingest.postgres.catalog import concrete_fields_of_table, read_settled_table, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db import models

    from ingest.postgres.base import Session
    from ingest.postgres.catalog import Table

    Field = models.Field[Any, Any]


MOST_TABLES = 5
"""The number of tables whose oids fit into the ledger's ``Chunk.table_identity``."""


def models_of_rows(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the models whose tables hold a row of the model, parents before children."""
    chain = [model._meta.concrete_model or model]
    while links := _own_links(chain[0]):
        chain.insert(0, links[0].remote_field.model._meta.concrete_model)
    return chain


def is_link(field: Field) -> bool:
    """Return whether the field links a multi-table child to its parent's row."""
    return bool(getattr(field.remote_field, "parent_link", False))


def link_of(model: type[models.Model]) -> Field | None:
    """Return the field of the model's own table that links to its parent's row, or None."""
    return next(iter(_own_links(model)), None)


def _own_links(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.local_concrete_fields if is_link(field)]


def all_fields(model: type[models.Model]) -> list[Field]:
    """Return the fields of all tables that hold a row of the model."""
    concrete = model._meta.concrete_model or model
    return list(concrete._meta.concrete_fields)


def fields_of_rows(model: type[models.Model], table: Table) -> list[Field]:
    """Return the fields that a load into the table writes, except links to parents it writes."""
    if not table.parts:
        return concrete_fields_of_table(model)
    return [field for field in all_fields(model) if not is_link(field)]


def read_tables(session: Session, model: type[models.Model]) -> Table:
    """Describe the table of a model, or the tables of a multi-table child as one.

    Must run in a transaction; see ``read_settled_table``.
    """
    chain = models_of_rows(model)
    parts = tuple(read_settled_table(session, item) for item in chain)
    if len(parts) == 1:
        return parts[0]
    names = [
        {unquoted(str(field.column)) for field in item._meta.local_concrete_fields}
        for item in chain
    ]
    pairs = list(zip(parts, names, strict=True))
    defaults = [
        row for part, known in pairs for row in part.facts["defaults"] if row["column"] in known
    ]
    return dataclasses.replace(
        parts[-1],
        parts=parts,
        columns=tuple(
            column for part, known in pairs for column in part.columns if column.name in known
        ),
        constraints=tuple(item for part in parts for item in part.constraints),
        triggers=tuple(item for part in parts for item in part.triggers),
        insert_triggers=tuple(name for part in parts for name in part.insert_triggers),
        facts={**parts[-1].facts, "defaults": defaults},
    )


def choose_tables(model: type[models.Model], fed: Iterable[Field], table: Table) -> Table:
    """Return the tables that a load of these fields writes: all tables of the model, or its own.

    If the link is fed, the parents' rows exist already. Raises ``LayoutError`` if both the link and
    fields of a parent are fed, and ``UnsupportedModelError`` if the model's tables cannot be
    written together.
    """
    if not table.parts:
        return table
    label = model._meta.label
    own = concrete_fields_of_table(model)
    links = [field for field in fed if is_link(field)]
    inherited = [field for field in fed if field not in own and field not in links]
    if not links:
        reason = _why_not_together(model)
        if reason is not None:
            raise UnsupportedModelError(f"{label} cannot be loaded with its parents: {reason}")
        return table
    if inherited or any(link not in own for link in links):
        other = inherited[0] if inherited else next(item for item in links if item not in own)
        raise LayoutError(
            f"{label}.{links[0].name} is given, the key of a parent's row that is there already, "
            f"and so is {other.model._meta.label}.{other.name}, of a parent's row that is made "
            "with the load: leave one of them out."
        )
    return table.parts[-1]


def _why_not_together(model: type[models.Model]) -> str | None:
    """Return why the rows of a child and of its parents cannot be written together, or None."""
    chain = models_of_rows(model)
    top = chain[0]._meta
    if len(chain) > MOST_TABLES:
        return f"its rows lie in {len(chain)} tables, and a load writes no more than {MOST_TABLES}."
    for item in chain[1:]:
        label = item._meta.label
        links = _own_links(item)
        if len(links) > 1:
            return (
                f"{label} has several parents with tables: load these first, then give "
                f"{' and '.join(link.name for link in links)}."
            )
        [link] = links
        if not link.primary_key or not link.target_field.primary_key:
            return (
                f"the key of {label} is not its parent's: load the parents first, then give "
                f"{link.name}."
            )
    if not top.pk.concrete or not top.pk.column:
        return f"the key of {top.label} has several columns."
    names = [unquoted(str(field.column)) for field in all_fields(model)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return f"two of its tables have a column {twice!r}."
    return None
