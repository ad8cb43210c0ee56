"""Indexes built once: they are dropped, and made again when the rows are in.

Only inside the load's own transaction, only on a table that is empty, and only where an exclusive
lock is granted at once: whatever happens, the catalog afterwards is the catalog before.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
import psycopg

from ingest.exceptions import ConstraintRefused
from ingest.refusals import explain
from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.session import Session
    from ingest.table import Table

LOCK_TIMEOUT = "100ms"
"""How long the exclusive lock is waited for; whoever queues behind us waits no longer than that."""
MAINTENANCE_MEMORY_KB = 262_144
"""Memory to sort an index in, where the server's own setting is smaller: 256 MB hold the keys of
some five million rows. It is for the load's transaction only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAsideIndex:
    """One index that is built after the rows are in."""

    name: str
    definition: str
    """The CREATE INDEX statement."""
    comment: str | None
    constraint_kind: str | None
    """``p`` or ``u`` where it serves a primary key or a unique constraint of the same name."""
    constraint_comment: str | None
    is_unique: bool
    keys: tuple[str, ...]
    """Its keys as SQL expressions."""
    predicate: str | None
    """The condition of a partial index, as an SQL expression."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAside:
    """Which indexes are built after the rows are in, or why none is."""

    indexes: tuple[SetAsideIndex, ...] = ()
    reason: str | None = None
    """Why the indexes stay, in one sentence."""


def plan_set_aside(session: Session, table: Table, *, with_unique: bool) -> SetAside:
    """Choose the indexes to build after, and take the exclusive lock that makes it safe.

    Ask ``guards.why_not_look_up`` first. ``with_unique`` is for a load that is given up at the
    first duplicate: unique indexes, too.
    """
    if session.is_callers:
        return SetAside(reason="the exclusive lock would be held on after the load.")
    if not _indexes(session, table, with_unique=with_unique):
        return SetAside(reason="the table has no index that is its own definition and no more.")
    [(missing_right, has_event_trigger)] = session.fetch(_RIGHTS, table.oid)
    if missing_right is not None:
        name = table.qualified_name
        return SetAside(reason=f"the role may not build the indexes of {name}: {missing_right}.")
    if has_event_trigger:
        return SetAside(reason="an event trigger watches what is created or dropped.")
    if not _is_empty(session, table):
        return SetAside(reason="the table holds rows already.")
    if not _lock(session, table):
        return SetAside(reason=f"others use the table: no exclusive lock within {LOCK_TIMEOUT}.")
    if not _is_empty(session, table):
        return SetAside(reason="the table holds rows already.")
    return SetAside(indexes=_indexes(session, table, with_unique=with_unique))


@contextmanager
def indexes_set_aside(
    session: Session,
    table: Table,
    plan: SetAside,
    record_of: Callable[[SetAsideIndex], int | None],
) -> Iterator[None]:
    """Drop the planned indexes, and build them from their own definitions at the end.

    Raises ``ConstraintRefused`` where the rows do not fit an index; ``record_of`` finds the first
    record that repeats a key of a unique one.
    """
    for index in plan.indexes:
        if index.constraint_kind is None:
            session.execute(f"DROP INDEX {_qualified(table, index)}")
        else:
            session.execute(
                f"ALTER TABLE ONLY {table.qualified_name} DROP CONSTRAINT {quote_name(index.name)}"
            )
    yield
    if plan.indexes:
        # CREATE INDEX is refused while deferred checks of the table's rows still wait.
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        session.fetch(_MORE_MEMORY, MAINTENANCE_MEMORY_KB)
    for index in plan.indexes:
        _create(session, table, index, record_of)


def _create(
    session: Session,
    table: Table,
    index: SetAsideIndex,
    record_of: Callable[[SetAsideIndex], int | None],
) -> None:
    session.execute("SAVEPOINT ingest_index")
    try:
        session.execute(index.definition)
    except (asyncpg.PostgresError, psycopg.Error) as error:
        if explain(error) is None:
            raise
        session.execute("ROLLBACK TO SAVEPOINT ingest_index")
        record = record_of(index) if index.is_unique else None
        raise ConstraintRefused(_refusal(error, index, record)) from error
    session.execute("RELEASE SAVEPOINT ingest_index")
    if index.constraint_kind is not None:
        kind = "PRIMARY KEY" if index.constraint_kind == "p" else "UNIQUE"
        name = quote_name(index.name)
        session.execute(
            f"ALTER TABLE ONLY {table.qualified_name} "
            f"ADD CONSTRAINT {name} {kind} USING INDEX {name}"
        )
    for what, comment in (
        (f"INDEX {_qualified(table, index)}", index.comment),
        (
            f"CONSTRAINT {quote_name(index.name)} ON {table.qualified_name}",
            index.constraint_comment,
        ),
    ):
        if comment is not None:
            [(literal,)] = session.fetch("SELECT pg_catalog.quote_literal($1::text)", comment)
            session.execute(f"COMMENT ON {what} IS {literal}")


def _refusal(error: Exception, index: SetAsideIndex, record: int | None) -> str:
    detail = getattr(error, "detail", None) or getattr(
        getattr(error, "diag", None), "message_detail", None
    )
    if not index.is_unique or not detail:
        said = str(error).rstrip(".")
        return (
            f"PostgreSQL refused a record, as the index {index.name!r} shows: {said}. Load with "
            "indexes='keep' to have the record named. Nothing was loaded."
        )
    who = f"record {record:,}" if record else "a record"
    return (
        f"PostgreSQL refused {who}: duplicate key value violates unique constraint "
        f'"{index.name}". {detail} Take the record out, or change its key. Nothing was loaded.'
    )


def _qualified(table: Table, index: SetAsideIndex) -> str:
    return f"{quote_name(table.schema)}.{quote_name(index.name)}"


def _is_empty(session: Session, table: Table) -> bool:
    # Rolled back, so that no lock on the table is kept: two loads that each hold one, and ask for
    # the exclusive lock, would wait for each other.
    session.execute("SAVEPOINT ingest_look")
    rows = session.fetch(f"SELECT 1 FROM ONLY {table.qualified_name} LIMIT 1")
    session.execute("ROLLBACK TO SAVEPOINT ingest_look")
    session.execute("RELEASE SAVEPOINT ingest_look")
    return not rows


_NOT_GRANTED = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)


def _lock(session: Session, table: Table) -> bool:
    [(before,)] = session.fetch("SELECT current_setting('lock_timeout')")
    session.execute("SAVEPOINT ingest_lock")
    try:
        session.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        session.execute(f"LOCK TABLE ONLY {table.qualified_name} IN ACCESS EXCLUSIVE MODE")
    except _NOT_GRANTED:
        session.execute("ROLLBACK TO SAVEPOINT ingest_lock")
        is_locked = False
    else:
        session.fetch("SELECT set_config('lock_timeout', $1::text, true)", before)
        is_locked = True
    session.execute("RELEASE SAVEPOINT ingest_lock")
    return is_locked


def _indexes(session: Session, table: Table, *, with_unique: bool) -> tuple[SetAsideIndex, ...]:
    names = [field.name for field in dataclasses.fields(SetAsideIndex)]
    rows = session.fetch(_INDEXES, table.oid, with_unique)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return tuple(SetAsideIndex(**{**row, "keys": tuple(row["keys"])}) for row in found)


# Valid and ready, and with nothing that its definition does not say: a tablespace of its own, a
# mark for CLUSTER or the replica identity, statistics targets, an extension or another object that
# depends on it or on its constraint, a partitioned index above it, a label. Nor one that calls a
# function of the user's own: CREATE INDEX calls it as the table's owner and with another
# search_path than COPY does. The unique ones come first: a duplicate is found before the rest.
_INDEXES = """
SELECT c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid),
       pg_catalog.obj_description(i.indexrelid, 'pg_class'),
       k.contype::text, pg_catalog.obj_description(k.oid, 'pg_constraint'), i.indisunique,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM generate_series(1, i.indnkeyatts) n ORDER BY n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
    AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = $1::int8::oid AND c.relkind = 'i' AND NOT c.relispartition
  AND NOT (i.indisexclusion OR i.indisreplident OR i.indisclustered)
  AND ($2::bool AND i.indimmediate AND NOT coalesce(k.condeferrable, false) OR NOT i.indisunique)
  AND i.indisvalid AND i.indisready AND i.indislive
  AND c.reltablespace = 0 AND current_setting('default_tablespace') = ''
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = i.indexrelid AND coalesce(a.attstattarget, -1) <> -1)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
                    AND d.refobjid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = 'pg_catalog.pg_constraint'::regclass
                    AND d.refobjid = k.oid AND d.objid <> i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.deptype IN ('e', 'x', 'P', 'S')
                    AND (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                         OR d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.refclassid IN ('pg_catalog.pg_proc'::regclass,
                                         'pg_catalog.pg_operator'::regclass))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.objoid IN (i.indexrelid, k.oid))
ORDER BY i.indisunique DESC, c.relname::text COLLATE "C"
"""
_RIGHTS = """
SELECT CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
            THEN format('GRANT %s TO %I', c.relowner::regrole, current_user)
            WHEN NOT pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE')
            THEN format('GRANT CREATE ON SCHEMA %I TO %I', n.nspname, current_user) END,
       EXISTS (SELECT FROM pg_catalog.pg_event_trigger
               WHERE evtenabled <> 'D' AND evtevent <> 'login')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1::int8::oid
"""
_MORE_MEMORY = """
SELECT set_config('maintenance_work_mem', greatest(s.setting::int8, $1::int8)::text || 'kB', true)
FROM pg_catalog.pg_settings s WHERE s.name = 'maintenance_work_mem'
"""
