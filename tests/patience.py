"""Wait for a condition, and never for a time: how long anything takes depends on the machine."""

import time

import pytest

PATIENCE_SECONDS = 180
"""How long something may take before it counts as hanging: several suites may share two cores."""
PAUSE_SECONDS = 0.02


def wait_until(is_so, told=None):
    """Return the first true answer; fail with what was told if there is none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := is_so()):
        if time.monotonic() > deadline:
            pytest.fail(str(told() if callable(told) else told or "it did not come to that"))
        time.sleep(PAUSE_SECONDS)
    return answer
