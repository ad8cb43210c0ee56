"""Detect a source that keeps a locked table waiting, while it does so, and report it once.

A load that builds the indexes after the rows locks the table until its commit. A pipe or a
generator that is slower than the server makes that time longer than the rows need.
"""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.conversion import TypedBatch
    from ingest.postgres.session import Session
    from ingest.writing.timings import Stages

PATIENCE_SECONDS = 2.0
"""How long the server may be idle, in total, before this is reported."""
PAUSE_SECONDS = 0.2
"""How often a separate thread checks this: the load's own thread waits for the source."""


class SlowSource:
    """Measures how long the server waited for the source of one load."""

    def __init__(
        self, session: Session, stages: Stages, tell: Callable[[float], None] | None = None
    ) -> None:
        """``tell`` is called once, in a separate thread, with the seconds waited until then."""
        self._session = session
        self._stages = stages
        self._tell = tell
        self._waiting_since: float | None = None
        self._is_over = Event()
        self.seconds = 0.0
        """How long the server was idle while the source was read."""

    @property
    def is_slow(self) -> bool:
        """Whether the server was idle for longer than expected."""
        return self.seconds >= PATIENCE_SECONDS

    def watch(self, batches: Iterator[TypedBatch]) -> Iterator[TypedBatch]:
        """Yield the batches, and measure the time while they are made."""
        watcher = Thread(target=self._look, name="ingest-slow-source", daemon=True)
        watcher.start()
        try:
            while True:
                read = self._read_seconds()
                self._waiting_since = time.monotonic()
                batch = next(batches, None)
                idle = self._idle_seconds()
                self._waiting_since = None
                # The time to convert a batch does not count: it is not the source's fault.
                self.seconds += min(idle, self._read_seconds() - read)
                if batch is None:
                    return
                yield batch
        finally:
            self._is_over.set()
            watcher.join()

    def _look(self) -> None:
        while not self._is_over.wait(PAUSE_SECONDS):
            is_reading = self._stages.current == "read"
            waited = self.seconds + (self._idle_seconds() if is_reading else 0.0)
            if waited >= PATIENCE_SECONDS:
                if self._tell is not None:
                    self._tell(waited)
                return

    def _idle_seconds(self) -> float:
        """Return how long the server has been idle since the batch was requested."""
        waiting, idle = self._waiting_since, self._session.idle_since
        if waiting is None or idle is None:
            return 0.0
        return time.monotonic() - max(waiting, idle)

    def _read_seconds(self) -> float:
        return self._stages.seconds.get("read", 0.0)
