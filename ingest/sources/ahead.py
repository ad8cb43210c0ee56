"""Reading ahead of whoever takes what was read."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

ITEMS_AHEAD = 2
"""How many items wait to be taken: enough for reading, decompressing and decoding to go on while
the last block is parsed and sent. More would only take memory."""


class ReadAhead(Generic[T]):
    """The items of an iterator, made in a thread of its own.

    Nothing but the taker ever makes the thread wait, and the taker waits for nothing but the next
    item, so neither can wait for the other at the same time.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._changed = Condition()
        self._made: list[T] = []
        self._error: BaseException | None = None
        self._is_over = False
        self._is_let_go = False
        self._thread = Thread(target=self._make, name="ingest-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._made or self._is_over)
            if self._made:
                self._changed.notify_all()
                return self._made.pop(0)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def let_go(self) -> None:
        """Let the thread end as soon as it has made the item that it is about to make."""
        with self._changed:
            self._is_let_go = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended, which ``let_go`` has asked for."""
        self._thread.join()

    def _make(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._made.append(item)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: len(self._made) < ITEMS_AHEAD or self._is_let_go)
                    if self._is_let_go:
                        return
        except BaseException as error:  # noqa: BLE001 - whoever takes the items raises it
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
