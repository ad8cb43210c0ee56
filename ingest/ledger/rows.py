"""Rows of the ledger's models, written over a load's own session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from ingest.table import quote_db_table, quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.session import Session

MODELS = ("Load", "LoadProgress", "Chunk", "KeyRange", "KeyList", "Reject")


def insert(session: Session, row: models.Model, alias: str) -> int:
    """Insert a row over the load's session, and give its key."""
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    names = ", ".join(quote_name(str(field.column)) for field in fields)
    casts = ", ".join(
        f"${place}::text::{_cast(field, alias)}" for place, field in enumerate(fields, 1)
    )
    [(key,)] = session.fetch(
        f"INSERT INTO {quote_db_table(row._meta.db_table)} ({names}) VALUES ({casts}) RETURNING id",
        *(_text(getattr(row, field.attname)) for field in fields),
    )
    return int(key)


def update(session: Session, alias: str, model: Any, key: int, **facts: Any) -> None:
    """Update some fields of a row over the load's session."""
    fields = [model._meta.get_field(name) for name in facts]
    pairs = ", ".join(
        f"{quote_name(field.column)} = ${place}::text::{_cast(field, alias)}"
        for place, field in enumerate(fields, 2)
    )
    session.fetch(
        f"UPDATE {quote_db_table(model._meta.db_table)} SET {pairs} WHERE id = $1::int8",
        key,
        *map(_text, facts.values()),
    )


def insert_many(
    session: Session, alias: str, model: Any, common: dict[str, int], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows with the same fields; ``common`` has the keys that all of them have."""
    names = list(rows[0])
    columns = [[None if row[name] is None else _text(row[name]) for row in rows] for name in names]
    casts = [f"${place}::int8" for place in range(1, len(common) + 1)]
    arrays = ", ".join(
        f"${place}::text[]::{_cast(model._meta.get_field(name), alias)}[]"
        for place, name in enumerate(names, len(common) + 1)
    )
    session.fetch(
        f"INSERT INTO {quote_db_table(model._meta.db_table)} "
        f"({', '.join(map(quote_name, (*common, *names)))}) "
        f"SELECT {', '.join(casts)}, * FROM unnest({arrays})",
        *common.values(),
        *columns,
    )


def _cast(field: Any, alias: str) -> str:
    """Give the type to cast a text to; a text that is too long is refused, not cut."""
    kind = str(field.db_type(connections[alias]))
    return "text" if kind.startswith("varchar") else kind


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    return (
        value.isoformat()
        if hasattr(value, "isoformat")
        else str(value).replace("\0", "\N{SYMBOL FOR NULL}")
    )


def model_of(name: str) -> Any:
    """Give a model of the ledger; it need not be imported where the app is not installed."""
    return apps.get_model("ingest", name)


def table_of(name: str) -> str:
    """Give the quoted name of a model's table."""
    return quote_db_table(model_of(name)._meta.db_table)
