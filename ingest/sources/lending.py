"""Waits at exit until Arrow's threads have released the Python objects that they hold.

Arrow parses text in threads of its own, which may release their objects a moment after the caller
has the result. They need the interpreter for that. If one does so while the interpreter is shutting
down, Python ends the thread inside C++ code that cannot be unwound, and the process aborts.
"""

from __future__ import annotations

import atexit
import time
import weakref
from typing import Any

SECONDS = 1.0
"""The longest wait at exit: the threads need less than a millisecond, unless the machine is
busy."""
_STEP_SECONDS = 0.001

_lent: dict[int, tuple[weakref.ref[Any], weakref.ref[Any] | None]] = {}


def lend(given: Any, owner: object = None) -> Any:
    """Register and return an object for Arrow; bytes become a memoryview, for a weak reference.

    The object counts as held until it is collected. With an ``owner``, it counts only after the
    owner has been collected.
    """
    if isinstance(given, bytes):
        given = memoryview(given)
    key = id(given)
    held = weakref.ref(given, lambda _: _lent.pop(key, None))
    _lent[key] = held, None if owner is None else weakref.ref(owner)
    return given


def is_held() -> bool:
    """Return whether Arrow still holds an object that no other code needs."""
    return any(owner is None or owner() is None for _held, owner in list(_lent.values()))


@atexit.register
def wait_until_released() -> None:
    """Wait until Arrow's threads have released all objects, for at most ``SECONDS``."""
    end = time.monotonic() + SECONDS
    while is_held() and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)  # releases the interpreter for the threads
