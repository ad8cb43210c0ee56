"""Measure how long each stage of a load takes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Item = TypeVar("Item")


class Stages:
    """Adds up wall-clock seconds by stage; a stage within another one is counted separately.

    For one thread. It is called a few times for each batch, which costs no measurable time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Seconds of each stage, in the order in which they were first entered."""
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent in the block for this stage."""
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
        """The current stage; other threads may read it, too."""
        return next(reversed(self._open), None)

    def watch(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Count the time to make each item for this stage."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of stages in another process."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
