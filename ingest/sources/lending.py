"""What Arrow's threads hold of Python's, and the wait until they have let go of it at the end.

Arrow parses text in threads of its own, which may let go of what they were given a moment after the
caller has the result. They need the interpreter for that. One that comes when the interpreter is
about to end is ended by it, in C++ code that cannot be unwound, and the process aborts.
"""

from __future__ import annotations

import atexit
import time
import weakref
from typing import Any

SECONDS = 1.0
"""How long the end of the process waits at most: they let go within a millisecond, unless the
machine is busy."""
_STEP_SECONDS = 0.001

_lent: dict[int, tuple[weakref.ref[Any], weakref.ref[Any] | None]] = {}


def lend(given: Any, owner: object = None) -> Any:
    """Remember what is given to Arrow, and return it; bytes as a view, which can be remembered.

    It counts as held until it is gone; with an ``owner``, from when that is gone.
    """
    if isinstance(given, bytes):
        given = memoryview(given)
    key = id(given)
    held = weakref.ref(given, lambda _: _lent.pop(key, None))
    _lent[key] = held, None if owner is None else weakref.ref(owner)
    return given


def is_held() -> bool:
    """Return whether Arrow holds something that nobody else needs any more."""
    return any(owner is None or owner() is None for _held, owner in list(_lent.values()))


@atexit.register
def wait_until_released() -> None:
    """Wait until Arrow's threads have let go of what they were lent."""
    end = time.monotonic() + SECONDS
    while is_held() and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)  # others have the interpreter meanwhile
