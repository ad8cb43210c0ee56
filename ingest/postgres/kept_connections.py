"""Connections of loads that have ended, kept for the next load.

A connection is kept while the Django connection that it was opened beside is open, and for a minute
at most. So ``CONN_MAX_AGE`` applies to it too, a test database can be dropped as soon as Django's
connections to it are closed, and a load reconnects when Django does. A kept connection is reused
only in the thread that opened it, and only for the same state of the session.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.prepared_stmt import PreparedStatement

    from ingest.postgres.event_loop import EventLoopThread
    from ingest.postgres.session_state import SessionState

KEPT_SECONDS = 60.0
"""How long a connection is kept for the next load."""
MOST_KEPT = 4
"""How many connections, of different session states, are kept beside one of Django's."""
CLOSE_SECONDS = 5
"""How long a clean close may take before the socket is dropped."""


@dataclasses.dataclass(kw_only=True, eq=False)
class KeptConnection:
    """A connection between two loads."""

    connection: asyncpg.Connection
    loop: EventLoopThread
    state: SessionState
    """Its state, taken from Django's connection."""
    reset: str
    """Statements that restore that state, whatever the previous load has set."""
    facts: dict[str, Any]
    """Known facts about the connection: its server process."""
    prepared: dict[str, PreparedStatement]
    """Prepared statements, by their SQL."""
    thread: int = 0

    def close(self) -> None:
        """Close the connection, and wait for it unless called in the loop's own thread."""
        if self.connection.is_closed():
            return
        ending = self.loop.start(close(self.connection))
        if not self.loop.is_current:
            with suppress(Exception):
                ending.result(CLOSE_SECONDS)


async def close(connection: asyncpg.Connection) -> None:
    """Close a connection cleanly, or at least its socket."""
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    finally:
        connection.terminate()


_kept: dict[int, list[KeptConnection]] = {}
"""By the ``id`` of the psycopg connection that Django has."""
_lock = threading.RLock()  # a finalizer may run anywhere
_left_behind: list[Any] = []


def take(beside: Any, state: SessionState) -> KeptConnection | None:
    """Remove and return a connection in this state that was kept beside Django's, or None."""
    with _lock:
        for kept in _kept.get(id(beside), []):
            if kept.state == state and kept.thread == threading.get_ident():
                _kept[id(beside)].remove(kept)
                break
        else:
            return None
    return None if kept.connection.is_closed() else kept


def keep(beside: Any, kept: KeptConnection) -> None:
    """Keep a connection as long as Django's connection, beside which it was opened."""
    kept.thread = threading.get_ident()
    loop, number = kept.loop.loop, id(beside)
    loop.call_soon_threadsafe(loop.call_later, KEPT_SECONDS, _let_go, number, kept)
    with _lock:
        if number not in _kept:
            _kept[number] = []
            weakref.finalize(beside, _close_all, number, os.getpid())
            _watch(beside, number)
        _kept[number].append(kept)
        oldest = _kept[number].pop(0) if len(_kept[number]) > MOST_KEPT else None
    if oldest is not None:
        oldest.close()


def _watch(beside: Any, number: int) -> None:
    """Close the kept connections as soon as Django's connection is closed.

    Django calls the connection's ``close``, and neither Django nor psycopg sends a signal. Waiting
    for its collection is not enough: a traceback, for example, may still refer to it.
    """
    process, found = os.getpid(), weakref.ref(beside)

    def close() -> None:
        _close_all(number, process)
        connection = found()
        if connection is not None:
            type(connection).close(connection)

    beside.close = close


def _let_go(number: int, kept: KeptConnection) -> None:
    with _lock:
        if kept not in _kept.get(number, []):
            return
        _kept[number].remove(kept)
    kept.close()


def _close_all(number: int, process: int) -> None:
    """Close the connections kept beside a closed connection of Django's."""
    with _lock:
        gone = _kept.pop(number, [])
    if process != os.getpid():
        _left_behind.extend(gone)
        return
    for kept in gone:
        kept.close()


def _forget() -> None:
    """Leave the connections to the parent process, after a fork."""
    global _lock  # noqa: PLW0603 - another thread may have held it as the process was forked
    _lock = threading.RLock()
    _left_behind.extend(_kept.values())
    _kept.clear()


os.register_at_fork(after_in_child=_forget)
