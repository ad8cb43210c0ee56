"""Rows of the ledger's models, written over a load's own session or Django's connection.

The ORM is not used, because its statements name no schema. They could call a function or an
operator that somebody created in a schema of the search path, with the rights of the load's role.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from ingest.postgres.catalog import quote_db_table, quote_name
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.postgres.session import Session

MODELS = (
    *("Load", "LoadProgress", "Chunk", "KeyRange", "KeyList", "OldRows", "SeenKeys"),
    *("PendingRejects", "Reject"),
)


class DjangoConnection:
    """Django's connection: raises Django's exceptions, as the ORM does."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with ``$1`` parameters and return its rows."""
        session = DjangoSession(self._alias)
        wrapper = connections[self._alias]
        wrapper.validate_no_broken_transaction()
        with wrapper.wrap_database_errors:
            return session.fetch(sql, *parameters)


def insert(
    session: Session | DjangoConnection,
    row: models.Model,
    alias: str,
    into: str = "",
    *,
    is_ignored: bool = False,
) -> int | None:
    """Insert a row and return its key; ``into`` is the table's name with its schema.

    ``is_ignored``: return None if the table already has a row with this key.
    """
    returning = f"{_key(row)}"
    found = insert_returning(session, row, alias, returning, into, is_ignored=is_ignored)
    return int(found[0]) if found else None


def insert_returning(
    session: Session | DjangoConnection,
    row: models.Model,
    alias: str,
    returning: str,
    into: str = "",
    *,
    is_ignored: bool = False,
) -> tuple[Any, ...]:
    """Insert a row and return the values of ``returning``; see ``insert``."""
    into = into or quote_db_table(row._meta.db_table)
    fields = [
        field
        for field in row._meta.concrete_fields
        if not field.primary_key or row.pk is not None  # otherwise PostgreSQL assigns a key
    ]
    names = ", ".join(quote_name(str(field.column)) for field in fields)
    casts = ", ".join(given(place, field, alias) for place, field in enumerate(fields, 1))
    otherwise = "ON CONFLICT DO NOTHING " if is_ignored else ""
    returned = session.fetch(
        f"INSERT INTO {into} ({names}) VALUES ({casts}) {otherwise}RETURNING {returning}",
        *(text_of(getattr(row, field.attname)) for field in fields),
    )
    return returned[0] if returned else ()


def update(
    session: Session | DjangoConnection,
    alias: str,
    model: Any,
    key: int,
    *,
    condition: str = "true",
    into: str = "",
    **facts: Any,
) -> bool:
    """Update fields of a row; return whether a row with this key meets the condition."""
    into = into or quote_db_table(model._meta.db_table)
    fields = [model._meta.get_field(name) for name in facts]
    pairs = ", ".join(
        f"{quote_name(field.column)} = {given(place, field, alias)}"
        for place, field in enumerate(fields, 2)
    )
    rows = session.fetch(
        f"UPDATE {into} SET {pairs} "
        f"WHERE {_key(model)} OPERATOR(pg_catalog.=) $1::bigint AND {condition} RETURNING 1",
        key,
        *map(text_of, facts.values()),
    )
    return bool(rows)


def insert_many(
    session: Session, alias: str, model: Any, common: dict[str, int], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows with the same fields; ``common`` has the keys that all of them share."""
    names = list(rows[0])
    columns = [
        [None if row[name] is None else text_of(row[name]) for row in rows] for name in names
    ]
    casts = [f"${place}::bigint" for place in range(1, len(common) + 1)]
    arrays = ", ".join(
        f"pg_catalog.unnest(${place}::pg_catalog.text[]::"
        f"{_cast(model._meta.get_field(name), alias)}[])"
        for place, name in enumerate(names, len(common) + 1)
    )
    session.fetch(
        f"INSERT INTO {quote_db_table(model._meta.db_table)} "
        f"({', '.join(map(quote_name, (*common, *names)))}) "
        f"SELECT {', '.join(casts)}, given.* FROM ROWS FROM ({arrays}) AS given",
        *common.values(),
        *columns,
    )


def select(alias: str, model: Any, rest: str, *parameters: Any, table: str = "") -> list[Any]:
    """Read rows over Django's connection; ``rest`` follows ``SELECT … FROM table t``."""
    table = table or quote_db_table(model._meta.db_table)
    fields = model._meta.concrete_fields
    names = ", ".join(f"t.{quote_name(str(field.column))}" for field in fields)
    rows = DjangoConnection(alias).fetch(f"SELECT {names} FROM {table} t {rest}", *parameters)
    attributes = [field.attname for field in fields]
    return [model.from_db(alias, attributes, _values(fields, row, alias)) for row in rows]


def _values(fields: Sequence[Any], row: tuple[Any, ...], alias: str) -> list[Any]:
    return [
        field.from_db_value(value, None, connections[alias])
        if hasattr(field, "from_db_value")
        else value
        for field, value in zip(fields, row, strict=True)
    ]


def _key(model: Any) -> str:
    return quote_name(str(model._meta.pk.column))


def given(place: int, field: Any, alias: str) -> str:
    """Return the parameter with this number, cast to the type of the field."""
    return f"${place}::pg_catalog.text::{_cast(field, alias)}"


_GRAMMAR_TYPES = ("bigint", "boolean", "double precision", "integer", "smallint", "timestamp")
"""Types named by PostgreSQL's grammar: the search path cannot change their meaning."""


def _cast(field: Any, alias: str) -> str:
    """Return the type to cast a text to; a text that is too long is refused, not cut."""
    kind = str(field.db_type(connections[alias]))
    if kind.startswith("varchar"):
        return "pg_catalog.text"
    return kind if kind.startswith(_GRAMMAR_TYPES) else f"pg_catalog.{kind}"


def text_of(value: Any) -> str | None:
    """Return a value as a text that PostgreSQL can parse."""
    if value is None:
        return None
    if isinstance(value, dict | list | tuple):
        # jsonb cannot store U+0000.
        text = _NULL_CHARACTER.sub(r"\1\\u2400", json.dumps(value, ensure_ascii=False))
    elif hasattr(value, "isoformat"):
        return str(value.isoformat())
    else:
        text = str(value).replace("\0", "\N{SYMBOL FOR NULL}")
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


_NULL_CHARACTER = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape of U+0000 in JSON, and not an escaped backslash before the text ``u0000``."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Bytes of a file name that are not valid UTF-8; PostgreSQL cannot store such text."""


def model_of(name: str) -> Any:
    """Return a model of the ledger, which cannot be imported if the app is not installed."""
    return apps.get_model("ingest", name)


def table_of(name: str) -> str:
    """Return the quoted name of a model's table."""
    return quote_db_table(model_of(name)._meta.db_table)
