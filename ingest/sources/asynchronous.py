"""Iterates over an asynchronous iterable from synchronous code."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import SyncToAsync, async_to_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator


def walk(records: AsyncIterable[Any], at_a_time: int) -> Iterator[Any]:
    """Yield the records of an asynchronous iterable, fetched ``at_a_time`` together.

    Under ``aload`` the iterable runs on the caller's event loop, to which its resources belong.
    Otherwise it runs on one loop for the whole iteration. Closing this generator closes the
    iterable.
    """
    iterator = aiter(records)

    async def take() -> list[Any]:
        return [record async for record in _first(iterator, at_a_time)]

    with _event_loop() as run:
        try:
            while chunk := run(take):
                yield from chunk
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                run(close)


async def _first(iterator: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        try:
            yield await anext(iterator)
        except StopAsyncIteration:
            return


@contextmanager
def _event_loop() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    # Without a running loop, each call of async_to_sync would start and end a loop of its own,
    # which would end an asynchronous generator after the first records.
    around = getattr(SyncToAsync.threadlocal, "main_event_loop", None)
    if around is not None and around.is_running():
        yield lambda function: async_to_sync(_wrap(function))()
        return
    with asyncio.Runner() as runner:
        yield lambda function: runner.run(_wrap(function)())


def _wrap(function: Callable[[], Any]) -> Callable[[], Any]:
    async def call() -> Any:
        return await function()

    return call
