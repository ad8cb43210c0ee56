"""One transaction's view of PostgreSQL, the same over both drivers. SQL has ``$1`` parameters."""

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
    """Whether it is inside a transaction that goes on after the load."""
    is_brief: bool = False
    """Does it only what a load of few rows does: no lock of its session, no temporary table?"""
    lasts: bool = False
    """Whether it is the load's own from one transaction to the next."""
    is_committing: bool = False
    """Whether a COMMIT was sent that was not answered."""
    state: SessionState
    """What was set in the session of Django's connection, and holds for this one."""
    runs_functions: bool = False
    """Whether what the load does here, apart from its COPYs, may run functions that users made."""
    functions_run: int = 0
    """How many statements were sent that may have run them: they may have changed any table."""
    looks_back: bool = False
    """Whether a batch is made from the rows of those before it; then these must be sent first."""
    reads_own_rows: bool = False
    """Whether rows of the load itself are looked up while it runs, by an index if there is one."""
    idle_since: float | None = None
    """Since when no script has been on its way, by ``time.monotonic()``; None: one is."""
    savepoints: tuple[Any, ...] = ()
    """Those of Django that are open on the connection."""
    pending: Future[Any] | None = None
    """The script that was started last in the open transaction."""

    def backend(self) -> Backend:
        """Return which of the server's processes serves it."""
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
        """End a process of the server whose connection was lost, if it has not noticed yet."""
        self.fetch(_END_BACKEND, backend.pid, backend.began, END_MILLISECONDS)

    def settle(self) -> None:
        """Wait for a script that is still on its way, so that a query can be sent.

        Raises what the script raised; whoever started it gets its result.
        """
        if self.pending is not None:
            self.pending.result()

    @abstractmethod
    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with ``$1`` parameters and give its rows."""

    def fetch_later(self, sql: str, *parameters: Any) -> Callable[[], list[tuple[Any, ...]]]:
        """Run one statement, and give a function that gives its rows.

        Over a connection that can send several statements in one message, this one is sent with
        those that follow, at the end of the transaction at the latest.
        """
        rows = self.fetch(sql, *parameters)
        return lambda: rows

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
        return self.start(copy(target, payload))

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
    def transaction(self, first: str = "") -> Iterator[Transaction]:
        """Open a transaction: commit at the end, roll back on any exception or when asked.

        ``first``: statements that are sent in the same message as the transaction's beginning.
        """


END_MILLISECONDS = 5_000
"""How long a process of the server is waited for that was told to end."""
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
