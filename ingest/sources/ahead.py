"""Reads ahead in a thread of its own."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

ITEMS_AHEAD = 2
"""How many items are made in advance: enough to read, decompress and decode while the last block is
parsed and sent. More would only take memory."""


class ReadAhead(Generic[T]):
    """The items of an iterator, made in a separate thread.

    The thread waits only for the consumer, and the consumer only for the next item, so both can
    never wait at the same time.
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
        """Let the thread end after the item that it is making."""
        with self._changed:
            self._is_let_go = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended; call ``let_go`` first."""
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
        except BaseException as error:  # noqa: BLE001 - __next__ raises it in the consumer
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
