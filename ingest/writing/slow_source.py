"""A source that keeps a locked table waiting: it is noticed while it does so, and told once.

A load that builds the indexes after the rows has the table for itself until its commit. A pipe or a
generator that is slower than the server makes that longer than the rows would need.
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
"""How long the server may have had nothing to do, in all, before it is told."""
PAUSE_SECONDS = 0.2
"""How often a thread looks whether that is so: the load's own thread waits for the source."""


class SlowSource:
    """Measures how long the server waited for the source of one load."""

    def __init__(
        self, session: Session, stages: Stages, tell: Callable[[float], None] | None = None
    ) -> None:
        """``tell`` is called once, in a thread of its own, with the seconds waited until then."""
        self._session = session
        self._stages = stages
        self._tell = tell
        self._waiting_since: float | None = None
        self._is_over = Event()
        self.seconds = 0.0
        """How long the server had nothing to do while the source was read."""

    @property
    def is_slow(self) -> bool:
        """Return whether it was longer than expected."""
        return self.seconds >= PATIENCE_SECONDS

    def watch(self, batches: Iterator[TypedBatch]) -> Iterator[TypedBatch]:
        """Yield the batches, and look at the clock while they are made."""
        watcher = Thread(target=self._look, name="ingest-slow-source", daemon=True)
        watcher.start()
        try:
            while True:
                read = self._read_seconds()
                self._waiting_since = time.monotonic()
                batch = next(batches, None)
                idle = self._idle_seconds()
                self._waiting_since = None
                # What it takes to convert a batch is not the source's fault.
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
        """Return for how long the server has had nothing to do since the batch was asked for."""
        waiting, idle = self._waiting_since, self._session.idle_since
        if waiting is None or idle is None:
            return 0.0
        return time.monotonic() - max(waiting, idle)

    def _read_seconds(self) -> float:
        return self._stages.seconds.get("read", 0.0)
