"""The event loop for asyncpg's connections: one thread for the whole process."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


class EventLoopThread:
    """An event loop in a background thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ingest-asyncpg", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the loop's thread."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run a coroutine function in the loop, and wait for its result.

        In the loop's own thread, which cannot wait for itself, start it and return None: only the
        garbage collector gets there, when it closes a session that was left open.
        """

        async def run() -> T:
            return await function(*arguments)

        future = self.start(run())
        return cast("T", None) if self.is_current else future.result()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the loop while the caller continues."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_starting = threading.Lock()
_threads: list[EventLoopThread] = []
_left_behind: list[Any] = []
"""Loops of the parent process, after a fork. Their sockets belong to the parent, so they must not
be collected, which would close them."""


def event_loop() -> EventLoopThread:
    """Return the process's event loop."""
    with _starting:
        if not _threads:
            _threads.append(EventLoopThread())
        return _threads[0]


def _forget() -> None:
    global _starting  # noqa: PLW0603 - another thread may have held it as the process was forked
    _starting = threading.Lock()
    _left_behind.extend(_threads)
    _threads.clear()


os.register_at_fork(after_in_child=_forget)
