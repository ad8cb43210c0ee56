"""Reading is ahead of the consumer, but no further than necessary."""

import threading

import pytest

from ingest.sources import ahead
from ingest.sources.ahead import ReadAhead


class Items:
    def __init__(self, count):
        self.made = 0
        self._count = count
        self._changed = threading.Condition()

    def __iter__(self):
        for number in range(self._count):
            with self._changed:
                self.made += 1
                self._changed.notify_all()
            yield number

    def wait_until_made(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.made >= count, 10)


def test_items_come_in_order_and_all():
    assert list(ReadAhead(iter(range(1_000)))) == list(range(1_000))


def test_no_more_is_made_than_may_wait():
    items = Items(20)
    reading = ReadAhead(iter(items))
    items.wait_until_made(ahead.ITEMS_AHEAD)
    assert next(reading) == 0
    items.wait_until_made(ahead.ITEMS_AHEAD + 1)
    threading.Event().wait(0.05)
    assert items.made == ahead.ITEMS_AHEAD + 1
    reading.let_go()
    reading.join()


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("no more")

    reading = ReadAhead(items())
    assert next(reading) == 1
    with pytest.raises(ValueError, match="no more"):
        next(reading)
    with pytest.raises(StopIteration):
        next(reading)


def test_the_thread_ends_when_it_is_let_go():
    items = Items(20)
    reading = ReadAhead(iter(items))
    items.wait_until_made(ahead.ITEMS_AHEAD)
    reading.let_go()
    reading.join()
    assert items.made <= ahead.ITEMS_AHEAD + 1
