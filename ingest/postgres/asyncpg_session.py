"""An asyncpg connection of the load's own, in an event loop of a background thread.

So sending overlaps with what the caller's thread does.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ingest.exceptions import (
    NOTHING_LOADED,
    UNKNOWN_OUTCOME,
    ConfigurationError,
    ConnectionFailed,
    Outcome,
)
from ingest.postgres.base import Session, Transaction
from ingest.postgres.connection import connect, connection_arguments
from ingest.postgres.connection.arguments import set_config
from ingest.postgres.session_state import NO_ROLE, SessionState
from ingest.postgres.steps import BRING_BACK_TRIGGERS, LEAVE_OUT_TRIGGERS, Copying, Query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Future

    from ingest.postgres.steps import Script, Step

T = TypeVar("T")


class AsyncpgSession(Session):
    """An asyncpg connection in an event loop of a background thread."""

    driver = "asyncpg"

    def __init__(self, portal: BlockingPortal, alias: str) -> None:
        self._portal = portal
        arguments = connection_arguments(alias)
        self.lasts = not arguments.is_pooled
        self._transaction_statements = arguments.transaction_statements
        self._connection: asyncpg.Connection = portal.call(connect, alias)
        self.state = SessionState()
        self.idle_since = time.monotonic()
        self._has_sent = False  # rows, in the open transaction
        if self.lasts:
            with suppress(asyncpg.PostgresError):  # not every system can watch a socket
                portal.call(self._connection.execute, _MISS_US)

    def adopt(self, state: SessionState) -> None:
        """Bring the connection into the state of Django's.

        Behind a pooler in transaction mode each transaction is. Raises ``ConfigurationError`` where
        PostgreSQL refuses a setting.
        """
        self.state = state
        if not self.lasts:
            settings = state.transaction_settings
            if settings:
                self._transaction_statements += (set_config(settings, local=True),)
            return
        wanted = {**state.usual, **state.settings}
        present = dict(self.fetch(_PRESENT, list(wanted)))
        changes = {name: text for name, text in wanted.items() if present[name] != text}
        if state.user:
            changes["session_authorization"] = state.user
        if present["role"] != state.role or state.user:
            changes["role"] = state.role  # the last: it may not be allowed to set the others
        if not changes:
            return
        try:
            if present["role"] != NO_ROLE:
                self.execute(set_config({"role": NO_ROLE}, local=False))
                changes.setdefault("role", state.role)
            self.execute(set_config(changes, local=False))
        except asyncpg.PostgresError as error:
            raise ConfigurationError(
                "The load's own connection cannot be brought into the state of Django's, where "
                f"these were set: {', '.join(changes)}. PostgreSQL says: {error.args[0]}. Load "
                "inside transaction.atomic(), over Django's own connection."
            ) from error

    def run(self, function: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """Run a coroutine function on the connection, in the loop's thread."""
        return self._call(function, self._connection)

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._call(self._connection.fetch, sql, *parameters)]

    def execute(self, sql: str) -> None:
        self._call(self._connection.execute, sql)

    def _call(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        try:
            return self._portal.call(function, *arguments)
        except LOST as error:
            raise _lost(self, error) from error

    def start(self, script: Script[T]) -> Future[T]:
        self._has_sent = True
        self.idle_since = None
        future = self._portal.start_task_soon(self.play, script)
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
        if step.leaves_out_triggers:
            statement = f"{LEAVE_OUT_TRIGGERS}; {statement}"
        # copy_to_table() would send the COPY alone: to set the triggers first took another round
        # trip. asyncpg takes bytes for a file's path; a memoryview is data to it. An iterable of
        # pieces would be waited for without end where the connection is lost between two of them.
        status: str = await self._connection._copy_in(  # type: ignore[attr-defined]
            statement, memoryview(step.payload), None
        )
        if step.leaves_out_triggers:
            await self._connection.execute(BRING_BACK_TRIGGERS)
        return int(status.removeprefix("COPY "))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self.execute("BEGIN")
        self._has_sent = False
        self.pending = None
        current = Transaction()
        try:
            for statement in self._transaction_statements:
                self.execute(statement)
            yield current
        except BaseException:
            self._portal.call(self._roll_back)
            raise
        self.is_committing = self._has_sent and not current.is_rolled_back
        self.execute("ROLLBACK" if current.is_rolled_back else "COMMIT")
        self.is_committing = False

    async def _roll_back(self) -> None:
        if self.pending is not None and not self.pending.done():
            # Interrupted while a COPY was on its way: without a connection PostgreSQL rolls back.
            self._connection.terminate()
        elif not self._connection.is_closed():
            with suppress(*LOST):  # without a connection PostgreSQL rolls back, too
                await self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; a COPY still on its way is cut off."""
        if self._connection.is_closed():
            return
        try:
            self._portal.call(self._close)
        finally:
            self._connection.terminate()

    async def _close(self) -> None:
        await self._connection.close(timeout=CLOSE_SECONDS)


@contextmanager
def open_asyncpg_session(alias: str) -> Iterator[AsyncpgSession]:
    """Open an asyncpg connection of its own for the alias; it is closed at the end."""
    with start_blocking_portal(name="ingest-asyncpg") as portal:
        session = AsyncpgSession(portal, alias)
        try:
            yield session
        finally:
            session.close()


CLOSE_SECONDS = 5
"""How long a polite goodbye to the server may take before the socket is dropped."""
_MISS_US = """
SELECT pg_catalog.set_config('client_connection_check_interval', '2s', false)
WHERE pg_catalog.current_setting('client_connection_check_interval', true)
  OPERATOR(pg_catalog.=) '0'
"""
"""Else a process of the server that waits for a lock, or builds an index, notices only after it
that the load was killed, and who goes on with the load must wait as long. Since PostgreSQL 14."""
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
"""How asyncpg says that there is no connection any more."""


def _lost(session: Session, error: Exception) -> ConnectionFailed:
    said = str(error).rstrip(".") or type(error).__name__
    if session.is_committing:
        return ConnectionFailed(
            f"The connection to PostgreSQL was lost while it committed: {said}."
        ).with_outcome(Outcome.UNKNOWN, UNKNOWN_OUTCOME)
    return ConnectionFailed(f"The connection to PostgreSQL was lost: {said}.").with_outcome(
        Outcome.NOTHING, NOTHING_LOADED
    )
