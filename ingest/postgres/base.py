"""The interface to PostgreSQL that both drivers implement. SQL has ``$1`` parameters."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from ingest.postgres.steps import copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from ingest.postgres.session_state import SessionState
    from ingest.postgres.steps import CopyTarget, Script, Step

T = TypeVar("T")


class Transaction:
    """An open transaction, which is committed at its end unless it is to be rolled back."""

    is_rolled_back = False

    def roll_back(self) -> None:
        """Roll the transaction back at its end, though no error occurred."""
        self.is_rolled_back = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backend:
    """A server process."""

    pid: int
    began: str


class Session(ABC):
    """One connection, used by one load."""

    driver: ClassVar[str]
    """The driver's name, as the result reports it."""
    is_callers: ClassVar[bool] = False
    """Whether the load is inside a transaction that continues after it."""
    is_brief: bool = False
    """Whether the load is a small one: it takes no session lock and makes no temporary table."""
    lasts: bool = False
    """Whether the server connection stays the load's own from one transaction to the next."""
    is_committing: bool = False
    """Whether a COMMIT was sent that has not been answered yet."""
    state: SessionState
    """The settings of Django's session, which this session has too."""
    runs_functions: bool = False
    """Whether the load's statements other than COPY may run functions that users defined."""
    functions_run: int = 0
    """How many statements may have run such functions, which may have changed any table."""
    looks_back: bool = False
    """Whether a batch depends on the rows of earlier batches, which must then be sent first."""
    reads_own_rows: bool = False
    """Whether the load looks up its own rows while it runs, by an index if one exists."""
    idle_since: float | None = None
    """Since when no script is running, by ``time.monotonic()``; None if one is."""
    savepoints: tuple[Any, ...] = ()
    """Django's open savepoints on the connection."""
    pending: Future[Any] | None = None
    """The script that was started last in the open transaction."""

    def backend(self) -> Backend:
        """Return the server process of this connection."""
        [(pid, began)] = self.fetch(_BACKEND)
        return Backend(pid=pid, began=began)

    @property
    def isolation_level(self) -> str:
        """The isolation level of its transactions, as PostgreSQL writes it."""
        with self.transaction():
            [(level,)] = self.fetch(
                "SELECT pg_catalog.current_setting('transaction_isolation')::pg_catalog.text"
            )
        return str(level)

    def end_backend(self, backend: Backend) -> None:
        """Terminate the server process of a lost connection, if it is still running."""
        self.terminate(_END_BACKEND, backend.pid, backend.began, END_MILLISECONDS)

    def terminate(self, sql: str, *parameters: Any) -> None:
        """Run a query that terminates backends of the same login, whatever role the session has."""
        with self.transaction():
            self.execute("SET LOCAL ROLE NONE")
            self.fetch(sql, *parameters)

    def settle(self) -> None:
        """Wait for a script that is still running, so that a query can be sent.

        Raises the script's exception. Its result stays with the future of ``start``.
        """
        if self.pending is not None:
            self.pending.result()

    @abstractmethod
    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with ``$1`` parameters and return its rows."""

    def fetch_prepared(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Like ``fetch``, for a long query that every load runs, and that names all its schemas.

        A connection that lasts prepares it once, because PostgreSQL takes longer to plan such a
        query than to run it.
        """
        return self.fetch(sql, *parameters)

    def fetch_later(self, sql: str, *parameters: Any) -> Callable[[], list[tuple[Any, ...]]]:
        """Run one statement, and return a function that returns its rows.

        If the connection can send several statements in one message, this one is sent with the ones
        that follow, at the end of the transaction at the latest.
        """
        rows = self.fetch(sql, *parameters)
        return lambda: rows

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run SQL that has no parameters and returns no rows."""

    @abstractmethod
    def start(self, script: Script[T]) -> Future[T]:
        """Run a script, which must end before anything else is sent.

        With asyncpg, the script runs in the connection's thread while the caller continues.
        """

    def start_copy(self, target: CopyTarget, payload: bytes) -> Future[int]:
        """Send one whole COPY; the future's result is the number of rows PostgreSQL counted."""
        return self.start(copy(target, payload))

    async def play(self, script: Script[T]) -> T:
        """Run the steps of a script."""
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
            except Exception as raised:  # noqa: BLE001 - the script may handle it
                error = raised

    @abstractmethod
    async def take(self, step: Step) -> Any:
        """Run one step and return its answer."""

    @abstractmethod
    @contextmanager
    def transaction(self, first: str = "") -> Iterator[Transaction]:
        """Open a transaction: commit at the end, roll back on any exception or if asked.

        ``first``: statements that are sent in the same message as ``BEGIN``.
        """


END_MILLISECONDS = 5_000
"""How long to wait for a server process to terminate."""
_BACKEND = """
SELECT pid, backend_start::pg_catalog.text FROM pg_catalog.pg_stat_activity
WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
"""
_END_BACKEND = """
SELECT pg_catalog.pg_terminate_backend(pid, $3::bigint) FROM pg_catalog.pg_stat_activity
WHERE pid OPERATOR(pg_catalog.=) $1::integer
  AND backend_start::pg_catalog.text OPERATOR(pg_catalog.=) $2::pg_catalog.text
  AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
"""
