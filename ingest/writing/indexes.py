"""Build indexes once: drop them before the rows are loaded, and create them again afterwards.

This is done only in the load's own transaction, only on an empty table, and only if an exclusive
lock is granted at once. Whatever happens, the catalog is the same afterwards as before.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
import psycopg

from ingest.exceptions import ConstraintRefused
from ingest.postgres.catalog import quote_name, read_table
from ingest.postgres.errors import explain
from ingest.writing.index_catalog import DeferredIndex, plain_indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

LOCK_TIMEOUT = "100ms"
"""How long to wait for the exclusive lock; others that queue behind it wait no longer than that."""
MAINTENANCE_MEMORY_KB = 262_144
"""Memory for sorting an index, if the server's own setting is smaller: 256 MB hold the keys of some
five million rows. It is set for the load's transaction only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """The indexes to build after the rows are loaded, or why there are none."""

    indexes: tuple[DeferredIndex, ...] = ()
    reason: str | None = None
    """Why the indexes are kept, in one sentence."""
    keeps_primary: bool = False
    """Whether the primary key is kept, because subscribers identify rows by it."""
    table: Table | None = None
    """The table as read under the exclusive lock, which is still held; None if it is not locked."""


def plan_set_aside(
    session: Session,
    table: Table,
    *,
    with_unique: bool,
    drawn: str | None = None,
    why_not: Callable[[Table], str | None] = lambda _: None,
) -> IndexPlan:
    """Choose the indexes to build afterwards, and take the exclusive lock that makes this safe.

    ``with_unique``: also unique indexes, for a load that ends at the first duplicate. Otherwise,
    unique indexes are chosen only if they contain the column whose values were ``drawn``: these
    refuse no row. ``why_not`` may return another reason to keep the indexes; it is called before
    and after the table is locked.
    """
    if session.is_callers:
        return IndexPlan(
            reason="the exclusive lock would be held until the end of the caller's transaction."
        )
    if session.runs_functions:
        return IndexPlan(
            reason="functions that run for the rows that the layout makes could look for them."
        )
    reason = why_not(table)
    plan = _look(session, table, with_unique=with_unique, drawn=drawn)
    if reason is not None or plan.reason is not None:
        return IndexPlan(reason=reason or plan.reason)
    if not _lock(session, table):
        return IndexPlan(reason=f"others use the table: no exclusive lock within {LOCK_TIMEOUT}.")
    # The table may have changed before it was locked.
    table = read_table(session, table.oid)
    reason = why_not(table)
    if reason is None:
        plan = _look(session, table, with_unique=with_unique, drawn=drawn)
        reason = plan.reason
    if reason is not None:
        # Waiting for others while holding a needless lock could end in a deadlock.
        session.execute("ROLLBACK TO SAVEPOINT ingest_lock; RELEASE SAVEPOINT ingest_lock")
        return IndexPlan(reason=reason)
    session.execute("RELEASE SAVEPOINT ingest_lock")
    return dataclasses.replace(plan, table=table)


@contextmanager
def indexes_set_aside(
    session: Session,
    table: Table,
    plan: IndexPlan,
    where_of: Callable[[DeferredIndex], str | None],
) -> Iterator[None]:
    """Drop the planned indexes, and create them from their definitions at the end.

    Raises ``ConstraintRefused`` if the rows violate an index; ``where_of`` names the first record
    that repeats a key of a unique one.
    """
    if plan.indexes:
        session.execute("; ".join(_drop(table, index) for index in plan.indexes))
    yield
    if plan.indexes:
        # CREATE INDEX is refused while deferred checks of the table's rows are pending.
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        session.fetch(MORE_MEMORY, MAINTENANCE_MEMORY_KB)
    for index in plan.indexes:
        _create(session, table, index, where_of)


def _drop(table: Table, index: DeferredIndex) -> str:
    if index.constraint_kind is None:
        return f"DROP INDEX {_qualified(table, index)}"
    return f"ALTER TABLE ONLY {table.qualified_name} DROP CONSTRAINT {quote_name(index.name)}"


def _create(
    session: Session,
    table: Table,
    index: DeferredIndex,
    where_of: Callable[[DeferredIndex], str | None],
) -> None:
    try:
        session.execute(
            f"SAVEPOINT ingest_index; {index.definition}; RELEASE SAVEPOINT ingest_index"
        )
    except (asyncpg.PostgresError, psycopg.Error) as error:
        if explain(error) is None:
            raise
        session.execute("ROLLBACK TO SAVEPOINT ingest_index")
        where = where_of(index) if index.is_unique else None
        raise ConstraintRefused(_refusal(error, index, where)) from error
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
            [(literal,)] = session.fetch(
                "SELECT pg_catalog.quote_literal($1::pg_catalog.text)", comment
            )
            session.execute(f"COMMENT ON {what} IS {literal}")


def _refusal(error: Exception, index: DeferredIndex, where: str | None) -> str:
    detail = getattr(error, "detail", None) or getattr(
        getattr(error, "diag", None), "message_detail", None
    )
    if not index.is_unique or not detail:
        said = str(error).rstrip(".")
        return (
            f"PostgreSQL refused a record, as the index {index.name!r} shows: {said}. Load with "
            "indexes='keep' to have the record named."
        )
    return (
        f"PostgreSQL refused {where or 'a record'}: duplicate key value violates unique constraint "
        f'"{index.name}". {detail} Remove the record, or change its key.'
    )


def _qualified(table: Table, index: DeferredIndex) -> str:
    return f"{quote_name(table.schema)}.{quote_name(index.name)}"


def _look(session: Session, table: Table, *, with_unique: bool, drawn: str | None) -> IndexPlan:
    [rights] = table.facts["index_rights"]
    if rights["missing_right"] is not None:
        return IndexPlan(
            reason=f"the role may not build the indexes of {table.qualified_name}: "
            f"{rights['missing_right']}."
        )
    if rights["has_event_trigger"]:
        return IndexPlan(reason="an event trigger watches what is created or dropped.")
    if rights["is_subscribed"]:
        return IndexPlan(reason="a subscription writes to the table, too, and would have to wait.")
    keeps_primary = rights["is_decoded"]
    indexes = plain_indexes(
        table, with_unique=with_unique, drawn=drawn, keeps_primary=keeps_primary
    )
    if not indexes:
        return IndexPlan(reason="the table has no index that is its own definition and no more.")
    if _has_rows(session, table):
        return IndexPlan(reason="the table holds rows already.")
    return IndexPlan(indexes=indexes, keeps_primary=keeps_primary)


def _has_rows(session: Session, table: Table) -> bool:
    if table.size == 0:
        return False
    # The scan's lock is released: two loads that both held it and requested the exclusive lock
    # would wait for each other.
    session.execute("SAVEPOINT ingest_look")
    rows = session.fetch(f"SELECT 1 FROM ONLY {table.qualified_name} LIMIT 1")
    session.execute("ROLLBACK TO SAVEPOINT ingest_look; RELEASE SAVEPOINT ingest_look")
    return bool(rows)


_NOT_GRANTED = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)


def _lock(session: Session, table: Table) -> bool:
    """Take the exclusive lock in the savepoint ``ingest_lock``, which stays open if successful."""
    before = table.lock_timeout.replace("'", "''")
    try:
        session.execute(
            "SAVEPOINT ingest_lock; "
            f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; "
            f"LOCK TABLE ONLY {table.qualified_name} IN ACCESS EXCLUSIVE MODE; "
            f"SET LOCAL lock_timeout = '{before}'"
        )
    except _NOT_GRANTED:
        session.execute("ROLLBACK TO SAVEPOINT ingest_lock; RELEASE SAVEPOINT ingest_lock")
        return False
    return True


MORE_MEMORY = """
SELECT pg_catalog.set_config('maintenance_work_mem',
  pg_catalog.concat(greatest(s.setting::bigint, $1::bigint), 'kB'), true)
FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'maintenance_work_mem'
"""
