import gc

import pytest


@pytest.fixture(autouse=True)
def frozen_again():
    """Freeze what a benchmark's end has unfrozen: the objects of thousands of collected tests."""
    gc.freeze()
