"""One transaction's view of PostgreSQL, the same over both drivers.

``open_session`` gives Django's own connection inside ``transaction.atomic()``, so that the load
sees the caller's rows and rolls back with the caller; outside it gives an asyncpg connection of
its own, which lives in an event loop of a background thread so that sending overlaps with what
the caller's thread does. SQL is written once, with ``$1`` parameters.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import asyncpg
import psycopg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from django.db import transaction

from ingest.connection import connect, connection_arguments
from ingest.connection.arguments import django_connection
from ingest.exceptions import ConnectionFailed
from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

    from psycopg.abc import AdaptContext

    from ingest.table import Table

CopyFormat = Literal["binary", "text"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyTarget:
    """Where a COPY puts its rows."""

    schema: str
    table: str
    columns: tuple[str, ...]
    format: CopyFormat

    @property
    def statement(self) -> str:
        """The COPY statement."""
        columns = ", ".join(map(quote_name, self.columns))
        return (
            f"COPY {quote_name(self.schema)}.{quote_name(self.table)} ({columns}) "
            f"FROM STDIN (FORMAT {self.format})"
        )


@dataclasses.dataclass(frozen=True)
class Statement:
    """A step that has no answer."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Query:
    """A step that is answered with rows."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Copying:
    """A step that is answered with the number of rows PostgreSQL counted."""

    target: CopyTarget
    payload: bytes


T = TypeVar("T")
Step: TypeAlias = Statement | Query | Copying
Script: TypeAlias = "Generator[Step, Any, T]"
"""Steps that are taken one after the other; what PostgreSQL refuses is raised where it stands."""


class Transaction:
    """What is to become of an open transaction."""

    is_rolled_back = False

    def roll_back(self) -> None:
        """Let it end without a trace, though nothing went wrong."""
        self.is_rolled_back = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backend:
    """A process of the server."""

    pid: int
    began: str


class Session(ABC):
    """One connection, used by one load."""

    driver: ClassVar[str]
    """The driver's name, as the result reports it."""
    is_callers: ClassVar[bool] = False
    """Is it inside a transaction that goes on after the load?"""
    lasts: bool = False
    """Is it the load's own from one transaction to the next?"""
    is_committing: bool = False
    """Has a COMMIT been sent that was not answered?"""
    landing: Callable[[], None] | None = None
    """Waits for the COPY that is on its way, and takes in what PostgreSQL says of it."""

    def backend(self) -> Backend:
        """Say which of the server's processes serves it."""
        [(pid, began)] = self.fetch(_BACKEND)
        return Backend(pid=pid, began=began)

    def end_backend(self, backend: Backend) -> None:
        """End a process of the server whose connection was lost, if it has not noticed yet."""
        self.fetch(_END_BACKEND, backend.pid, backend.began, END_MILLISECONDS)

    def settle(self) -> None:
        """Let a COPY that is on its way come to its end, so that a query can be sent."""
        if self.landing is not None:
            self.landing()

    @abstractmethod
    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with ``$1`` parameters and give its rows."""

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run one statement that has neither parameters nor rows."""

    @abstractmethod
    def start(self, script: Script[T]) -> Future[T]:
        """Play a script, which must have ended before anything else is asked.

        Over asyncpg its code runs in the thread of the connection, while the caller goes on.
        """

    def start_copy(self, target: CopyTarget, payload: bytes) -> Future[int]:
        """Send one whole COPY; the future gives the number of rows PostgreSQL counted."""
        return self.start(_copy(target, payload))

    async def play(self, script: Script[T]) -> T:
        """Take the steps of a script."""
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                step = script.send(answer) if error is None else script.throw(error)
            except StopIteration as end:
                return cast("T", end.value)
            answer = error = None
            try:
                answer = await self.take(step)
            except Exception as raised:  # noqa: BLE001 - the script says what becomes of it
                error = raised

    @abstractmethod
    async def take(self, step: Step) -> Any:
        """Take one step and give its answer."""

    @abstractmethod
    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction: commit at the end, roll back on any exception or when asked."""


def _copy(target: CopyTarget, payload: bytes) -> Script[int]:
    rows: int = yield Copying(target, payload)
    return rows


class AsyncpgSession(Session):
    """An asyncpg connection in an event loop of a background thread."""

    driver = "asyncpg"

    def __init__(self, portal: BlockingPortal, alias: str) -> None:
        self._portal = portal
        arguments = connection_arguments(alias)
        self.lasts = not arguments.is_pooled
        self._transaction_statements = arguments.transaction_statements
        self._connection: asyncpg.Connection = portal.call(connect, alias)
        self._playing: Future[Any] = Future()
        self._playing.set_result(None)
        self._has_sent = False  # rows, in the open transaction
        if self.lasts:
            with suppress(asyncpg.PostgresError):  # not every system can watch a socket
                portal.call(self._connection.execute, _MISS_US)

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
            raise ConnectionFailed(_lost(self, error)) from error

    def start(self, script: Script[T]) -> Future[T]:
        self._has_sent = True
        future = self._portal.start_task_soon(self.play, script)
        self._playing = future
        return future

    async def take(self, step: Step) -> Any:
        try:
            if isinstance(step, Copying):
                return await self._copy(step.target, step.payload)
            if isinstance(step, Query):
                return [tuple(row) for row in await self._connection.fetch(step.sql)]
            return await self._connection.execute(step.sql)
        except LOST as error:
            raise ConnectionFailed(_lost(self, error)) from error

    async def _copy(self, target: CopyTarget, payload: bytes) -> int:
        # asyncpg takes bytes for a file's path; a memoryview is data to it.
        status = await self._connection.copy_to_table(
            target.table,
            schema_name=target.schema,
            columns=target.columns,
            format=target.format,
            source=memoryview(payload),  # type: ignore[arg-type] # the stubs lack it
        )
        return int(status.removeprefix("COPY "))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self.execute("BEGIN")
        self._has_sent = False
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
        if not self._playing.done():
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


FIRST_USER_OID = 16_384
"""Smaller oids are PostgreSQL's own: FirstNormalObjectId in src/include/access/transam.h."""
CLOSE_SECONDS = 5
"""How long a polite goodbye to the server may take before the socket is dropped."""


class DjangoSession(Session):
    """Django's own connection, inside the caller's transaction."""

    driver = "psycopg"
    is_callers = True

    def __init__(self, alias: str) -> None:
        self._alias = alias
        wrapper = django_connection(alias)
        wrapper.ensure_connection()
        self._connection: psycopg.Connection[Any] = wrapper.connection

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def execute(self, sql: str) -> None:
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode())

    def start(self, script: Script[T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            self.play(script).send(None)  # nothing in it waits for an event loop
        except StopIteration as end:
            future.set_result(end.value)
        except Exception as error:  # noqa: BLE001 - the future carries it, as over asyncpg
            future.set_exception(error)
        return future

    async def take(self, step: Step) -> Any:
        if isinstance(step, Query):
            return self.fetch(step.sql)
        if isinstance(step, Statement):
            return self.execute(step.sql)
        with psycopg.RawCursor(self._connection) as cursor:
            with cursor.copy(step.target.statement.encode()) as copy:
                copy.write(step.payload)
            return cursor.rowcount

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        current = Transaction()
        with transaction.atomic(using=self._alias):
            yield current
            if current.is_rolled_back:
                transaction.set_rollback(True, using=self._alias)


_MISS_US = """
SELECT pg_catalog.set_config('client_connection_check_interval', '2s', false)
WHERE pg_catalog.current_setting('client_connection_check_interval', true) = '0'
"""
"""Else a process of the server that waits for a lock, or builds an index, notices only after it
that the load was killed, and who goes on with the load must wait as long. Since PostgreSQL 14."""
END_MILLISECONDS = 5_000
"""How long a process of the server is waited for that was told to end."""
_BACKEND = """
SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()
"""
_END_BACKEND = """
SELECT pg_catalog.pg_terminate_backend(pid, $3::int8) FROM pg_catalog.pg_stat_activity
WHERE pid = $1::int4 AND backend_start::text = $2::text AND pid <> pg_backend_pid()
"""


def adaptation_context(alias: str, table: Table) -> AdaptContext:
    """Give what psycopg knows of the database's types.

    Types that an extension or a user made (hstore) are known only to a live connection: for them
    Django's own is opened.
    """
    wrapper = django_connection(alias)
    if any(column.type_oid >= FIRST_USER_OID for column in table.columns):
        wrapper.ensure_connection()
        return cast("AdaptContext", wrapper.connection)
    return cast("AdaptContext", wrapper.get_connection_params()["context"])


@contextmanager
def open_session(alias: str) -> Iterator[Session]:
    """Open the session that fits: Django's inside ``atomic()``, an asyncpg one outside."""
    if django_connection(alias).in_atomic_block:
        yield DjangoSession(alias)
        return
    with open_asyncpg_session(alias) as session:
        yield session


@contextmanager
def open_asyncpg_session(alias: str) -> Iterator[AsyncpgSession]:
    """Open an asyncpg connection of its own for the alias; it is closed at the end."""
    with start_blocking_portal(name="ingest-asyncpg") as portal:
        session = AsyncpgSession(portal, alias)
        try:
            yield session
        finally:
            session.close()


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


IS_UNKNOWN = "Whether the rows are in cannot be known from here: look before you load again."


def _lost(session: Session, error: Exception) -> str:
    said = str(error).rstrip(".") or type(error).__name__
    if session.is_committing:
        return f"The connection to PostgreSQL was lost while it committed: {said}. {IS_UNKNOWN}"
    return f"The connection to PostgreSQL was lost: {said}. Nothing was loaded."
