"""How long each stage of a load took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Item = TypeVar("Item")


class Stages:
    """Adds up wall-clock seconds by stage; what goes on within a stage is counted for itself.

    For one thread. It is asked a few times a batch, and so costs nothing that can be measured.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Seconds of each stage, in the order in which they were first entered."""
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what goes on inside for this stage."""
        self._charge()
        self._open.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    @property
    def current(self) -> str | None:
        """The stage that goes on now; other threads may ask, too."""
        return next(reversed(self._open), None)

    def watch(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Count what it takes to make each item for this stage."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what stages took in another process."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
