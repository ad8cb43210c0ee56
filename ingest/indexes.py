"""Indexes built once: plain secondary indexes are dropped, and made again when the rows are in.

Only inside the load's transaction, only on a table that is empty, and only where an exclusive lock
is granted at once: whatever happens, the catalog afterwards is the catalog before.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
import psycopg

from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.session import Session
    from ingest.table import Table

LOCK_TIMEOUT = "100ms"
"""How long the exclusive lock is waited for; whoever queues behind us waits no longer than that."""
MAINTENANCE_MEMORY_KB = 262_144
"""Memory to sort an index in, where the server's own setting is smaller: 256 MB hold the keys of
some five million rows. It is for the load's transaction only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAside:
    """Which indexes are built after the rows are in, or why none is."""

    definitions: tuple[tuple[str, str, str | None], ...] = ()
    """Name, CREATE INDEX statement and comment of each."""
    reason: str | None = None
    """Why the indexes stay, in one sentence."""


def plan_set_aside(session: Session, table: Table) -> SetAside:
    """Choose the indexes to build after, and take the exclusive lock that makes it safe."""
    if table.kind != "r" or table.is_partition:
        return SetAside(reason=f"{table.qualified_name} is not an ordinary table.")
    plain = tuple(
        (str(name), str(definition), None if comment is None else str(comment))
        for name, definition, comment in session.fetch(_PLAIN_INDEXES, table.oid)
    )
    if not plain:
        return SetAside(reason="the table has no plain secondary index.")
    [(is_owner, has_event_trigger)] = session.fetch(_RIGHTS, table.oid)
    if not is_owner:
        return SetAside(reason=f"the role does not own {table.qualified_name}.")
    if has_event_trigger:
        return SetAside(reason="an event trigger watches what is created or dropped.")
    if not _is_empty(session, table):
        return SetAside(reason="the table holds rows already.")
    if not _lock(session, table):
        return SetAside(reason=f"others use the table: no exclusive lock within {LOCK_TIMEOUT}.")
    if not _is_empty(session, table):
        return SetAside(reason="the table holds rows already.")
    return SetAside(definitions=plain)


@contextmanager
def indexes_set_aside(session: Session, table: Table, plan: SetAside) -> Iterator[None]:
    """Drop the planned indexes, and build them from their own definitions at the end."""
    for name, _, _ in plan.definitions:
        session.execute(f"DROP INDEX {quote_name(table.schema)}.{quote_name(name)}")
    yield
    if plan.definitions:
        # CREATE INDEX is refused while deferred checks of the table's rows still wait.
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        session.fetch(_MORE_MEMORY, MAINTENANCE_MEMORY_KB)
    for name, definition, comment in plan.definitions:
        session.execute(definition)
        if comment is not None:
            [(literal,)] = session.fetch("SELECT pg_catalog.quote_literal($1::text)", comment)
            index = f"{quote_name(table.schema)}.{quote_name(name)}"
            session.execute(f"COMMENT ON INDEX {index} IS {literal}")


def _is_empty(session: Session, table: Table) -> bool:
    return not session.fetch(f"SELECT 1 FROM ONLY {table.qualified_name} LIMIT 1")


def _lock(session: Session, table: Table) -> bool:
    [(before,)] = session.fetch("SELECT current_setting('lock_timeout')")
    session.execute("SAVEPOINT ingest_lock")
    try:
        session.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        session.execute(f"LOCK TABLE ONLY {table.qualified_name} IN ACCESS EXCLUSIVE MODE")
    except (asyncpg.LockNotAvailableError, psycopg.errors.LockNotAvailable):
        session.execute("ROLLBACK TO SAVEPOINT ingest_lock")
        return False
    session.fetch("SELECT set_config('lock_timeout', $1::text, true)", before)
    session.execute("RELEASE SAVEPOINT ingest_lock")
    return True


# Neither a constraint's nor unique; valid and ready; and with nothing that its definition does not
# say: a tablespace of its own, a mark for CLUSTER or the replica identity, statistics targets,
# an extension or another object that depends on it, a partitioned index above it.
_PLAIN_INDEXES = """
SELECT c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid),
       pg_catalog.obj_description(i.indexrelid, 'pg_class')
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::int8::oid AND c.relkind = 'i' AND NOT c.relispartition
  AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident
           OR i.indisclustered)
  AND i.indisvalid AND i.indisready AND i.indislive
  AND c.reltablespace = 0 AND current_setting('default_tablespace') = ''
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = i.indexrelid AND coalesce(a.attstattarget, -1) <> -1)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
                    AND d.refobjid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.deptype IN ('e', 'x', 'P', 'S'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.objoid = i.indexrelid)
ORDER BY c.relname::text COLLATE "C"
"""
_RIGHTS = """
SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D')
FROM pg_catalog.pg_class c WHERE c.oid = $1::int8::oid
"""
_MORE_MEMORY = """
SELECT set_config('maintenance_work_mem', greatest(s.setting::int8, $1::int8)::text || 'kB', true)
FROM pg_catalog.pg_settings s WHERE s.name = 'maintenance_work_mem'
"""
