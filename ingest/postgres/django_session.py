"""Django's own connection, inside the caller's transaction."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager, suppress
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
from ingest.postgres.session_state import SessionState, read_state
from ingest.postgres.steps import Query, Statement, without_triggers

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    @cached_property
    def state(self) -> SessionState:  # type: ignore[override]
        return read_state(self._alias)

    @property
    def savepoints(self) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(self._wrapper.savepoint_ids)

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def execute(self, sql: str) -> None:
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql.encode(), prepare=False)  # it may be several statements

    def start(self, script: Script[T]) -> Future[T]:
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
        with psycopg.RawCursor(self._connection) as cursor:
            with cursor.copy(step.target.statement.encode()) as copy:
                copy.write(step.payload)
            return cursor.rowcount

    def _copy_without_triggers(self, step: Copying) -> int:
        """Send one message that leaves out the triggers, copies and brings them back.

        ``Cursor.copy()`` takes one statement alone. Whatever happens on this side, the triggers are
        left out for no other statement: PostgreSQL works off the message, or gives it up.
        """
        connection, pgconn = self._connection, self._connection.pgconn
        with connection.lock:
            pgconn.send_query(without_triggers(step.target.statement).encode())
            _check(connection.wait(execute(pgconn)), ends_in=ExecStatus.COPY_IN)
            try:
                writer = LibpqWriter(psycopg.RawCursor(connection))
                writer.write(step.payload)
            except BaseException as error:
                with suppress(psycopg.Error):
                    connection.wait(_end_copy(pgconn, f"ended by {type(error).__name__}".encode()))
                raise
            copied, *_ = _check(connection.wait(_end_copy(pgconn)), ends_in=ExecStatus.TUPLES_OK)
            return copied.command_tuples or 0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        current = Transaction()
        self.pending = None
        with transaction.atomic(using=self._alias):
            yield current
            if current.is_rolled_back:
                transaction.set_rollback(True, using=self._alias)


def _end_copy(pgconn: PGconn, error: bytes | None = None) -> PQGen[list[PGresult]]:
    """End the data of a COPY, and give what it and the statements after it are answered with."""
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
    """Return what psycopg knows of the database's types.

    Types that an extension or a user made (hstore) are known only to a live connection: for them
    Django's own is opened.
    """
    wrapper = django_connection(alias)
    if any(column.type_oid >= FIRST_USER_OID for column in table.columns):
        wrapper.ensure_connection()
        return cast("AdaptContext", wrapper.connection)
    return cast("AdaptContext", wrapper.get_connection_params()["context"])
