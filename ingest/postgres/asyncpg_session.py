"""A load's own asyncpg connection, in the event loop of a background thread.

So sending overlaps with the work of the caller's thread. The connection is kept for the next load.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from ingest.exceptions import (
    NOTHING_LOADED,
    UNKNOWN_OUTCOME,
    ConfigurationError,
    ConnectionFailed,
    Outcome,
)
from ingest.postgres.base import Session, Transaction
from ingest.postgres.connection import connect, connection_arguments
from ingest.postgres.connection.arguments import django_connection, set_config
from ingest.postgres.event_loop import EventLoopThread, event_loop
from ingest.postgres.kept_connections import KeptConnection, close, keep, take
from ingest.postgres.session_state import NO_ROLE, SessionState, read_state
from ingest.postgres.steps import BRING_BACK_TRIGGERS, LEAVE_OUT_TRIGGERS, Copying, Query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Future

    from asyncpg.prepared_stmt import PreparedStatement

    from ingest.postgres.base import Backend
    from ingest.postgres.steps import Script, Step

T = TypeVar("T")


class AsyncpgSession(Session):
    """An asyncpg connection in the event loop of a background thread."""

    driver = "asyncpg"

    def __init__(
        self, alias: str, kept: KeptConnection | None = None, *, is_adopted: bool = False
    ) -> None:
        """``kept``: a connection of an earlier load to reuse.

        ``is_adopted``: ``adopt`` is called next, and sends all settings in one message.
        """
        self._alias = alias
        self._loop: EventLoopThread = event_loop()
        self.state = SessionState()
        self.idle_since = time.monotonic()
        self._has_sent = False  # rows, in the open transaction
        self._facts: dict[str, Any] = {}
        """Facts that are true for the connection's whole life."""
        self._prepared: dict[str, PreparedStatement] = {}
        self._reset = ""
        """Statements that restore the connection's present state."""
        self._first = ""
        """Statements to send before all others: they show whether a kept connection is alive."""
        self._connection: asyncpg.Connection
        self._transaction_statements: tuple[str, ...] = ()
        self._setup: list[str] = []
        """Statements that a new connection still needs."""
        if kept is None:
            self._connect(is_adopted=is_adopted)
            return
        self.lasts = True
        self._connection = kept.connection
        self.state, self._facts, self._prepared = kept.state, kept.facts, kept.prepared
        self._reset = self._first = kept.reset

    def _connect(self, *, is_adopted: bool) -> None:
        arguments = connection_arguments(self._alias)
        self.lasts = not arguments.is_pooled
        self._transaction_statements = arguments.transaction_statements
        self._connection = self._loop.call(partial(connect, is_set=False), self._alias)
        self._facts, self._prepared, self._reset = {}, {}, _RESET
        self._setup = [set_config(dict(arguments.session), local=False)]
        if not arguments.session:
            self._setup = []
        if self.lasts:
            self._setup.append(_MISS_US)
        if not is_adopted:
            self._set()

    def _set(self, *more: str) -> None:
        """Set up a new connection, and run further statements in the same message."""
        setup, self._setup = [*self._setup, *more], []
        try:
            if setup:
                self.execute("; ".join(setup))
        except asyncpg.PostgresError:  # not every system supports client_connection_check_interval
            if _MISS_US not in setup:
                raise
            setup.remove(_MISS_US)
            if setup:
                self.execute("; ".join(setup))
        self._reset = "; ".join([self._reset, *setup])

    def adopt(self, state: SessionState) -> None:
        """Give the connection the state of Django's connection.

        Behind a pooler in transaction mode this is done for each transaction. Raises
        ``ConfigurationError`` if PostgreSQL refuses a setting.
        """
        self.state = state
        if not self.lasts:
            self._set()
            settings = state.transaction_settings
            if settings:
                self._transaction_statements += (set_config(settings, local=True),)
            return
        wanted = {**state.usual, **state.settings}
        if wanted.keys() == {"TimeZone", "search_path"} and state.role == NO_ROLE:
            # Every role may set these two, and setting them to their present value is harmless.
            self._set(set_config(wanted, local=False))
            return
        self._set()
        present = dict(self.fetch(_PRESENT, list(wanted)))
        changes = {name: text for name, text in wanted.items() if present[name] != text}
        if state.user:
            changes["session_authorization"] = state.user
        if present["role"] != state.role or state.user:
            changes["role"] = state.role  # last: the role may not be allowed to set the others
        if not changes:
            return
        try:
            if present["role"] != NO_ROLE:
                self.execute(set_config({"role": NO_ROLE}, local=False))
                changes.setdefault("role", state.role)
            self.execute(set_config(changes, local=False))
            self._reset += f"; {set_config(changes, local=False)}"
        except asyncpg.PostgresError as error:
            raise ConfigurationError(
                "The load's own connection cannot be brought into the state of Django's, where "
                f"these were set: {', '.join(changes)}. PostgreSQL says: {error.args[0]}. Load "
                "inside transaction.atomic(), over Django's own connection."
            ) from error

    def run(self, function: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """Run a coroutine function on the connection, in the loop's thread."""
        return self._call(function, self._connection)

    def backend(self) -> Backend:
        if "backend" not in self._facts:
            self._facts["backend"] = super().backend()
        found: Backend = self._facts["backend"]
        return found

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        if self._first:
            self._reuse("")
        return [tuple(row) for row in self._call(self._connection.fetch, sql, *parameters)]

    def fetch_prepared(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        if self._first:
            self._reuse("")
        if not self.lasts:
            return self.fetch(sql, *parameters)
        if sql not in self._prepared:
            self._prepared[sql] = self._call(self._connection.prepare, sql)
        return [tuple(row) for row in self._call(self._prepared[sql].fetch, *parameters)]

    def execute(self, sql: str) -> None:
        if self._first:
            self._reuse(sql)
        else:
            self._call(self._connection.execute, sql)

    def _reuse(self, sql: str) -> None:
        """Reset a kept connection, and run the first statements of this load in the same message.

        A new connection replaces it if it was lost or can no longer be reset.
        """
        first, self._first = self._first, ""
        # In a transaction of its own: otherwise a rollback would undo the reset.
        message = f"BEGIN; {first}; COMMIT" + (f"; {sql}" if sql else "")
        try:
            self._loop.call(self._connection.execute, message)
        except (*LOST, asyncpg.PostgresError):
            self._connection.terminate()
            self._connect(is_adopted=True)
            self.adopt(self.state)
            if sql:
                self.execute(sql)

    def _call(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        try:
            return self._loop.call(function, *arguments)
        except LOST as error:
            raise _lost(self, error) from error

    def start(self, script: Script[T]) -> Future[T]:
        self._has_sent = True
        self.idle_since = None
        future = self._loop.start(self.play(script))
        future.add_done_callback(self._note_end)
        self.pending = future
        return future

    def _note_end(self, _: Future[Any]) -> None:
        self.idle_since = time.monotonic()

    async def take(self, step: Step) -> Any:
        try:
            if isinstance(step, Copying):
                return await self._copy(step)
            if isinstance(step, Query):
                return [tuple(row) for row in await self._connection.fetch(step.sql)]
            return await self._connection.execute(step.sql)
        except LOST as error:
            raise _lost(self, error) from error

    async def _copy(self, step: Copying) -> int:
        statement = step.target.statement
        if step.check:
            # Constraints are immediate from here on, so a violation is an error of the COPY itself.
            statement = f"{step.check}; {statement}"
        if step.leaves_out_triggers:
            statement = f"{LEAVE_OUT_TRIGGERS}; {statement}"
        # copy_to_table() sends the COPY alone, so leaving out the triggers would take another round
        # trip. asyncpg takes bytes for a file's path, and a memoryview for data. With an iterable
        # of pieces asyncpg waits forever if the connection is lost between two of them.
        status: str = await self._connection._copy_in(  # type: ignore[attr-defined]
            statement, memoryview(step.payload), None
        )
        if step.leaves_out_triggers:
            await self._connection.execute(BRING_BACK_TRIGGERS)
        return int(status.removeprefix("COPY "))

    @contextmanager
    def transaction(self, first: str = "") -> Iterator[Transaction]:
        self.execute(f"BEGIN; {first}" if first else "BEGIN")
        self._has_sent = False
        self.pending = None
        current = Transaction()
        try:
            for statement in self._transaction_statements:
                self.execute(statement)
            yield current
        except BaseException:
            self._loop.call(self._roll_back)
            raise
        self.is_committing = self._has_sent and not current.is_rolled_back
        self.execute("ROLLBACK" if current.is_rolled_back else "COMMIT")
        self.is_committing = False

    async def _roll_back(self) -> None:
        if self.pending is not None and not self.pending.done():
            # Interrupted during a COPY. When the connection is lost, PostgreSQL rolls back.
            self._connection.terminate()
        elif not self._connection.is_closed():
            with suppress(*LOST):
                await self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; a running COPY is cut off."""
        if not self._connection.is_closed():
            self._loop.call(close, self._connection)

    def keep(self) -> None:
        """Keep the connection for the next load if that is safe, otherwise close it."""
        beside = django_connection(self._alias).connection
        if beside is None or not self.lasts or self._connection.is_closed():
            self.close()
            return
        if self._connection.is_in_transaction():
            self._connection.terminate()
            return
        if not self._first and not self.is_brief:  # it was used
            self._loop.call(self._clear)  # now: its lock shows others that the load is running
            if self._connection.is_closed():
                return
        kept = KeptConnection(
            connection=self._connection,
            loop=self._loop,
            state=self.state,
            reset=self._reset,
            facts=self._facts,
            prepared=self._prepared,
        )
        keep(beside, kept)

    async def _clear(self) -> None:
        """Release the load's locks, and forget what asyncpg knows about tables: they may change."""
        try:
            await self._connection.execute(_GIVE_BACK)
            await self._connection.reload_schema_state()
        except (*LOST, asyncpg.PostgresError):
            self._connection.terminate()


@contextmanager
def open_asyncpg_session(alias: str) -> Iterator[AsyncpgSession]:
    """Open a separate asyncpg connection for the alias, which is closed at the end."""
    session = AsyncpgSession(alias)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def open_kept_session(
    alias: str, state: SessionState | None = None, *, is_brief: bool = False
) -> Iterator[AsyncpgSession]:
    """Open a connection in this state, or reuse a kept one; it is kept for the next load.

    Without a state, Django's connection is not open yet: the load's own is opened first, so that
    its error is the one reported, and then gets the state of Django's. ``is_brief``: the load does
    nothing that must be undone before the connection is kept.
    """
    kept = None if state is None else take(django_connection(alias).connection, state)
    session = AsyncpgSession(alias, kept, is_adopted=True)
    try:
        if kept is None:
            session.adopt(read_state(alias) if state is None else state)
        session.is_brief = is_brief
        yield session
    except BaseException:
        session.close()
        raise
    session.keep()


_RESET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"
_GIVE_BACK = "SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP"
_MISS_US = """
SELECT pg_catalog.set_config('client_connection_check_interval', '2s', false)
WHERE pg_catalog.current_setting('client_connection_check_interval', true)
  OPERATOR(pg_catalog.=) '0'
"""
"""Without it, a server process that waits for a lock or builds an index notices only afterwards
that the load was killed, and a process that resumes the load must wait as long. Since PostgreSQL
14."""
_PRESENT = """
SELECT w.name, coalesce(s.setting, pg_catalog.current_setting(w.name, true))
FROM pg_catalog.unnest($1::pg_catalog.text[]) w (name)
LEFT JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) w.name
UNION ALL SELECT 'role', pg_catalog.current_setting('role')
"""
LOST = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    OSError,
)
"""The exceptions by which asyncpg reports a lost connection."""


def _lost(session: Session, error: Exception) -> ConnectionFailed:
    said = str(error).rstrip(".") or type(error).__name__
    if session.is_committing:
        return ConnectionFailed(
            f"The connection to PostgreSQL was lost while it committed: {said}."
        ).with_outcome(Outcome.UNKNOWN, UNKNOWN_OUTCOME)
    return ConnectionFailed(f"The connection to PostgreSQL was lost: {said}.").with_outcome(
        Outcome.NOTHING, NOTHING_LOADED
    )
