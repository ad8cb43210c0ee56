"""The scratch schema: a throw-away copy of real tables that is always dropped afterwards.

A run holds an advisory lock, named after its schemas, in a transaction of its own connection. A
schema whose lock is free is therefore left over from a run that was killed, and the next run drops
it; a schema whose lock is held belongs to a live run. The lock belongs to the transaction, not the
session, so that it also works behind a pooler. Under READ COMMITTED, an idle transaction that wrote
nothing does not hold back VACUUM.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, connections

from ingest.exceptions import BenchmarkError
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

PREFIX = "ingest_scratch_"
COMMENT = "Throw-away copies of tables, made by a benchmark of django-ingest; dropped by the next."
TOKEN_BYTES = 5
"""Enough that two runs never share a name; the rest of a name's 63 bytes is for numbers."""
DROP_LOCK_TIMEOUT = "2s"
"""How long dropping waits for locks of our own connections before they are terminated."""


class Scratch:
    """The schemas of one run: one for each schema that copied tables come from."""

    def __init__(self, alias: str, token: str, guard: BaseDatabaseWrapper) -> None:
        self.alias = alias
        self.prefix = f"{PREFIX}{token}_"
        self.notes: list[str] = []
        """Sentences for the report: what the copy lacks, and why."""
        self._schemas: dict[str, str] = {}
        self._guard = guard

    @property
    def schemas(self) -> tuple[str, ...]:
        """The names of the schemas created so far."""
        return tuple(self._schemas.values())

    def schema_for(self, original: str) -> str:
        """Return the schema that replaces the original one; create it on the first call."""
        if original not in self._schemas:
            name = f"{self.prefix}{len(self._schemas)}"
            with connections[self.alias].cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA {quote_name(name)}")
                cursor.execute(f"COMMENT ON SCHEMA {quote_name(name)} IS '{COMMENT}'")
            self._schemas[original] = name
        return self._schemas[original]


@contextmanager
def open_scratch(alias: str) -> Iterator[Scratch]:
    """Drop the schemas of killed runs, then yield scratch schemas for the block.

    They are dropped at the end, however it ends. Raise ``BenchmarkError`` inside a transaction,
    which could not commit, and for a role that may not create schemas.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        raise BenchmarkError(
            "A benchmark commits, so it cannot run inside transaction.atomic(): call it outside."
        )
    check_privilege(alias)
    clear_leftovers(alias)
    token = secrets.token_hex(TOKEN_BYTES)
    guard = _open_guard(alias, f"{PREFIX}{token}_")
    scratch = Scratch(alias, token, guard)
    try:
        yield scratch
    finally:
        with _uninterrupted():
            _drop(guard, alias, scratch.prefix)


def check_privilege(alias: str) -> None:
    """Raise ``BenchmarkError`` if the role may not create a schema in the alias's database."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT current_user, pg_catalog.current_database(), "
            "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"
        )
        [role, database, is_allowed] = cursor.fetchone()
    if not is_allowed:
        raise BenchmarkError(
            f"The role {role!r} may not create the scratch schema in the database {database!r}: "
            f"GRANT CREATE ON DATABASE {quote_name(database)} TO {quote_name(role)}."
        )


def clear_leftovers(alias: str) -> int:
    """Drop the schemas of killed runs, not those of live runs; return their number."""
    prefixes = {name.rpartition("_")[0] + "_" for name in _existing(alias, PREFIX)}
    cleared = 0
    for prefix in sorted(prefixes):
        guard = _try_guard(alias, prefix)
        if guard is not None:
            _drop(guard, alias, prefix)
            cleared += 1
    return cleared


def _open_guard(alias: str, prefix: str) -> BaseDatabaseWrapper:
    guard = _try_guard(alias, prefix)
    if guard is None:
        raise BenchmarkError(f"Another run holds the scratch schema {prefix!r}: start again.")
    return guard


def _try_guard(alias: str, prefix: str) -> BaseDatabaseWrapper | None:
    # copy() opens a second connection with the same settings, as the backend interprets them.
    guard: BaseDatabaseWrapper = connections[alias].copy()
    try:
        guard.set_autocommit(False)
        with guard.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            if guard.pg_version >= TRANSACTION_TIMEOUT_SINCE:  # type: ignore[attr-defined]
                cursor.execute("SET LOCAL transaction_timeout = 0")
            cursor.execute(
                "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))",
                [prefix],
            )
            if cursor.fetchone() == (True,):
                return guard
    except BaseException:
        guard.close()
        raise
    guard.close()
    return None


TRANSACTION_TIMEOUT_SINCE = 170000
"""The first version of PostgreSQL, as a number, that has transaction_timeout."""


def _existing(alias_or_guard: str | BaseDatabaseWrapper, prefix: str) -> list[str]:
    connection: Any = (
        connections[alias_or_guard] if isinstance(alias_or_guard, str) else alias_or_guard
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace "
            "WHERE pg_catalog.starts_with(nspname::pg_catalog.text, %s) "
            "AND pg_catalog.obj_description(oid, 'pg_namespace') OPERATOR(pg_catalog.=) %s "
            "AND pg_catalog.pg_has_role(nspowner, 'USAGE') ORDER BY 1",
            [prefix, COMMENT],
        )
        return [name for (name,) in cursor.fetchall()]


def _drop(guard: BaseDatabaseWrapper, alias: str, prefix: str) -> None:
    # The commit drops the schemas and releases the lock at the same moment.
    try:
        _drop_on(guard, prefix)
    except (DatabaseError, InterfaceError):
        # The guarding connection was lost, or its wait timed out: a new one terminates those in the
        # way.
        guard.close()
        fresh: BaseDatabaseWrapper = connections[alias].copy()
        try:
            fresh.set_autocommit(False)
            _end_users(fresh, prefix)
            _drop_on(fresh, prefix)
        finally:
            fresh.close()
    finally:
        with contextlib.suppress(DatabaseError, InterfaceError):
            guard.close()


def _drop_on(guard: BaseDatabaseWrapper, prefix: str) -> None:
    with guard.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'")
        cursor.execute("SET LOCAL statement_timeout = 0")
        for name in _existing(guard, prefix):
            cursor.execute(f"DROP SCHEMA {quote_name(name)} CASCADE")
    guard.commit()


def _end_users(guard: BaseDatabaseWrapper, prefix: str) -> None:
    # Only the run that created the schemas uses them, so only its own connections are terminated.
    with guard.cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, 5000)) FROM ("
            "SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l "
            "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation "
            "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
            "WHERE pg_catalog.starts_with(n.nspname::pg_catalog.text, %s) "
            "AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() "
            "AND l.database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database "
            "WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) others",
            [prefix],
        )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    # A second Ctrl-C while the schema is being dropped must not leave it behind.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
