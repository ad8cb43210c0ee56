"""Where a load ran and under which role, and how to return to that state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, router

from ingest.exceptions import LedgerError
from ingest.ledger.rows import MODELS, model_of
from ingest.postgres.catalog import quote_db_table, quote_name
from ingest.postgres.session import SessionState, django_in_state, read_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django.db import models

    from ingest.ledger.models import Load
    from ingest.postgres.session import Session


def describe_place(session: Session, model: type[models.Model]) -> dict[str, Any]:
    """Return the fields of ``Load`` that describe the load's table, role and session."""
    name = quote_db_table(model._meta.db_table)
    [(schema, table, role)] = session.fetch(_PLACE, name)
    return {
        "table": name if schema is None else f"{quote_name(schema)}.{quote_name(table)}",
        "schema": schema or "",
        "role": role,
        "session_state": session.state.to_json(),
    }


def command_for(option: str, number: int, alias: str | None) -> str:
    """Return the command with this option for a load, such as ``bulk_load --undo 12``.

    ``alias`` is the database of its ledger. The same number may be another load in the ledger that
    the command uses without ``--database``.
    """
    is_usual = alias in {None, router.db_for_write(model_of("Load"))}
    return f"bulk_load {option} {number}{'' if is_usual else f' --database {alias}'}"


def find_ledger(session: Session) -> Mapping[str, str]:
    """Return the qualified names of the existing ledger tables, by their models' names.

    A table that lacks a column, because a migration is not applied yet, counts as missing.
    """
    return qualified_names(session.fetch(LEDGER_TABLES, ledger_names()))


def ledger_names() -> list[str]:
    """Return the names of the ledger's tables, as SQL writes them."""
    return [quote_db_table(model_of(name)._meta.db_table) for name in MODELS]


def qualified_names(rows: Iterable[tuple[Any, ...]]) -> Mapping[str, str]:
    """Return the result of ``find_ledger`` from the rows of ``LEDGER_TABLES``."""
    names = ledger_names()
    found = {name: facts for name, *facts in rows}
    return {
        model: ".".join(map(quote_name, found[name][:2]))
        for model, name in zip(MODELS, names, strict=True)
        if name in found and _columns_of(model).issubset(found[name][2])
    }


def _columns_of(name: str) -> set[str]:
    return {field.column for field in model_of(name)._meta.local_concrete_fields}


def state_of(load: Load) -> SessionState:
    """Return the state of Django's connection with the settings recorded for the load."""
    now = read_state(_alias(load))
    return now.again(load.session_state, f"Load {load.pk}") if load.session_state else now


@contextmanager
def in_place_of(load: Load) -> Iterator[SessionState]:
    """Set Django's connection to the state of a load; restore it at the end. Yield the state.

    Raise ``LedgerError`` if another table or another ledger would be found in that state.
    """
    alias = _alias(load)
    wanted, ledger = state_of(load), _oid_of(alias, quote_db_table(load._meta.db_table))
    with django_in_state(alias, wanted):
        if _oid_of(alias, quote_db_table(load._meta.db_table)) != ledger:
            raise LedgerError(
                f"Load {load.pk} is in another ledger than the one that its own session finds: "
                f"that has the search path {wanted.settings.get('search_path', '')!r}. Go there, "
                "and try again."
            )
        check_place(load)
        yield wanted


def check_place(load: Load) -> None:
    """Raise ``LedgerError`` if Django's connection finds another table than the load did."""
    if not load.schema:  # it was recorded by an earlier version
        return
    alias = _alias(load)
    try:
        model = apps.get_model(load.model)
    except LookupError:
        return
    here = _oid_of(alias, quote_db_table(model._meta.db_table))
    if here != _oid_of(alias, load.table):
        raise LedgerError(
            f"Load {load.pk} went into {load.table}, but this connection finds another table of "
            f"{load.model}, or none: the search path is another one."
        )


def _oid_of(alias: str, name: str) -> int | None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid", [name])
        [oid] = cursor.fetchone() or (None,)
    return None if oid is None else int(oid)


def _alias(load: Load) -> str:
    return load._state.db or DEFAULT_DB_ALIAS


_PLACE = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, current_user::pg_catalog.text
FROM (SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid AS oid) t
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
"""
LEDGER_TABLES = """
SELECT t.name, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
               AND a.attnum OPERATOR(pg_catalog.>) 0::smallint AND NOT a.attisdropped)
FROM pg_catalog.unnest($1::pg_catalog.text[]) t (name)
JOIN pg_catalog.pg_class c
  ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(t.name)::pg_catalog.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
"""
