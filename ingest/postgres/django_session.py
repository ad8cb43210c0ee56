"""Django's own connection, inside the caller's transaction."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg
from django.db import transaction
from psycopg.copy import LibpqWriter
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

from ingest.postgres.base import Session, Transaction
from ingest.postgres.connection.arguments import django_connection
from ingest.postgres.session_state import SessionState, read_state, send_state
from ingest.postgres.steps import (
    CheckRefusedError,
    Query,
    Statement,
    in_savepoint,
    without_triggers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.abc import AdaptContext, PQGen
    from psycopg.pq.abc import PGconn, PGresult

    from ingest.postgres.catalog import Table
    from ingest.postgres.steps import Copying, Script, Step

T = TypeVar("T")


class DjangoSession(Session):
    """Django's own connection, inside the caller's transaction."""

    driver = "psycopg"
    is_callers = True

    def __init__(self, alias: str) -> None:
        self._alias = alias
        wrapper = django_connection(alias)
        with wrapper.cursor():  # a tenant-aware backend sets its search path at a cursor
            pass
        self._wrapper = wrapper
        self._connection: psycopg.Connection[Any] = wrapper.connection
        self._pipeline: tuple[AbstractContextManager[Any], psycopg.Pipeline] | None = None
        """While it is set, statements are collected and sent together."""
        self._read_state: Callable[[], SessionState] | None = None

    @cached_property
    def state(self) -> SessionState:  # type: ignore[override]
        if self._read_state is None:
            return read_state(self._alias)
        self._send()
        return self._read_state()

    @property
    def savepoints(self) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(self._wrapper.savepoint_ids)

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode(), parameters)
            self._send()
            return cursor.fetchall() if cursor.description else []

    def fetch_later(self, sql: str, *parameters: Any) -> Callable[[], list[tuple[Any, ...]]]:
        self._collect()
        cursor = psycopg.RawCursor(self._connection)
        cursor.execute(sql.encode(), parameters)

        def rows() -> list[tuple[Any, ...]]:
            self._send()
            return cursor.fetchall() if cursor.description else []

        return rows

    def _collect(self) -> None:
        """Collect all further statements until ``_send`` sends them together."""
        if self._pipeline is None and psycopg.Pipeline.is_supported():
            context = self._connection.pipeline()
            self._pipeline = context, context.__enter__()

    def _send(self) -> None:
        """Send the collected statements, and wait for the answers."""
        if self._pipeline is None:
            return
        (context, pipeline), self._pipeline = self._pipeline, None
        try:
            pipeline.sync()
        except BaseException:
            with suppress(psycopg.Error):
                context.__exit__(None, None, None)
            raise
        # All answers have arrived: leaving the pipeline would cost another round trip.
        pipeline._exit_gen = _nothing  # type: ignore[method-assign]
        context.__exit__(None, None, None)

    def execute(self, sql: str) -> None:
        self._send()
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode(), prepare=False)  # it may be several statements

    def start(self, script: Script[T]) -> Future[T]:
        self._send()
        future: Future[T] = Future()
        try:
            self.play(script).send(None)  # nothing in it waits for an event loop
        except StopIteration as end:
            future.set_result(end.value)
        except Exception as error:  # noqa: BLE001 - the future carries it, as over asyncpg
            future.set_exception(error)
        self.pending = future
        return future

    async def take(self, step: Step) -> Any:
        if isinstance(step, Query):
            return self.fetch(step.sql)
        if isinstance(step, Statement):
            return self.execute(step.sql)
        if step.leaves_out_triggers:
            return self._copy_without_triggers(step)
        if step.check:
            return self._copy_and_check(step)
        with psycopg.RawCursor(self._connection) as cursor:
            with cursor.copy(step.target.statement.encode()) as copy:
                copy.write(step.payload)
            return cursor.rowcount

    def _copy_without_triggers(self, step: Copying) -> int:
        """Send one message that leaves out the triggers, copies and restores them.

        ``Cursor.copy()`` takes only one statement. With one message, whatever happens on this side,
        triggers are left out for no other statement: PostgreSQL completes the message or aborts it.
        """
        begun, ended = self._copy(without_triggers(step.target.statement), step.payload)
        _check(begun, ends_in=ExecStatus.COPY_IN)
        copied, *_ = _check(ended, ends_in=ExecStatus.TUPLES_OK)
        return copied.command_tuples or 0

    def _copy_and_check(self, step: Copying) -> int:
        """Send one message that checks the existing rows, copies, and checks again.

        Raises ``CheckRefusedError`` if a check fails, inside its savepoint.
        """
        check = in_savepoint(step.check)
        begun, ended = self._copy(f"{check}; {step.target.statement}; {check}", step.payload)
        if begun[-1].status != ExecStatus.COPY_IN:
            raise CheckRefusedError(is_before=True) from error_from_result(begun[-1])
        copied = ended[0]
        if copied.status != ExecStatus.COMMAND_OK:
            raise error_from_result(copied)
        if ended[-1].status != ExecStatus.COMMAND_OK:
            raise CheckRefusedError(is_before=False) from error_from_result(ended[-1])
        return copied.command_tuples or 0

    def _copy(self, message: str, payload: bytes) -> tuple[list[PGresult], list[PGresult]]:
        """Send a message with a COPY in it; return its results before and after the data."""
        connection, pgconn = self._connection, self._connection.pgconn
        with connection.lock:
            pgconn.send_query(message.encode())
            begun = cast("list[PGresult]", connection.wait(execute(pgconn)))
            if begun[-1].status != ExecStatus.COPY_IN:
                return begun, []
            try:
                writer = LibpqWriter(psycopg.RawCursor(connection))
                writer.write(payload)
            except BaseException as error:
                with suppress(psycopg.Error):
                    connection.wait(_end_copy(pgconn, f"ended by {type(error).__name__}".encode()))
                raise
            return begun, connection.wait(_end_copy(pgconn))

    @contextmanager
    def transaction(self, first: str = "") -> Iterator[Transaction]:
        if self.is_brief:
            with self._brief_transaction(first) as current:
                yield current
            return
        current = Transaction()
        self.pending = None
        with transaction.atomic(using=self._alias):
            if first:
                self.execute(first)
            yield current
            if current.is_rolled_back:
                transaction.set_rollback(True, using=self._alias)

    @contextmanager
    def _brief_transaction(self, first: str) -> Iterator[Transaction]:
        """Open a savepoint like ``atomic()``, but send it together with the next statements."""
        current = Transaction()
        self.pending = None
        try:
            self._collect()
            for statement in ("SAVEPOINT ingest_load", first):
                if statement:
                    self.fetch_later(statement)
            if "state" not in vars(self):
                self._read_state = send_state(self._wrapper)
            yield current
            self.fetch_later("RELEASE SAVEPOINT ingest_load")
            self._send()
        except BaseException:
            with suppress(psycopg.Error):
                self._send()
            try:
                self.execute("ROLLBACK TO SAVEPOINT ingest_load; RELEASE SAVEPOINT ingest_load")
            except psycopg.Error:  # only a rollback is possible, as when Django's savepoint fails
                self._wrapper.needs_rollback = True
            raise


def _nothing() -> PQGen[None]:
    yield from ()


def _end_copy(pgconn: PGconn, error: bytes | None = None) -> PQGen[list[PGresult]]:
    """End the data of a COPY, and return the results of it and of the statements after it."""
    while pgconn.put_copy_end(error) == 0:
        yield Wait.W
    return cast("list[PGresult]", (yield from execute(pgconn)))


def _check(results: list[PGresult], *, ends_in: ExecStatus) -> list[PGresult]:
    if results[-1].status != ends_in:
        raise error_from_result(results[-1])
    return results


FIRST_USER_OID = 16_384
"""Smaller oids are PostgreSQL's own: FirstNormalObjectId in src/include/access/transam.h."""


def adaptation_context(alias: str, table: Table) -> AdaptContext:
    """Return psycopg's adapters for the database's types.

    Only an open connection has the adapters of types that an extension or a user made (hstore): for
    them Django's own connection is opened.
    """
    wrapper = django_connection(alias)
    if any(column.type_oid >= FIRST_USER_OID for column in table.columns):
        wrapper.ensure_connection()
        return cast("AdaptContext", wrapper.connection)
    return cast("AdaptContext", wrapper.get_connection_params()["context"])
