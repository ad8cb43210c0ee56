"""Some of the many cases of a test; with ``HYPOTHESIS_PROFILE=long`` all of them."""

import os

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def some_of(cases, every, first=0):
    """Return each case whose place is ``first`` and a multiple of ``every``."""
    return list(cases) if IS_LONG else list(cases)[first % every :: every]
