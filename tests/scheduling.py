"""Which tests pytest-xdist gives to one worker: those that share what is slow to make.

Its own ``--dist loadgroup`` has no effect with pytest 9.2.
"""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/admin/test_filters.py",
    "tests/admin/test_orderings.py",
    "tests/admin/test_pages.py",
    "tests/admin/uploads/browser/",
    "tests/chaos/",
    "tests/end_to_end/browser/",
    "tests/end_to_end/wheel/",
    "tests/postgres/connection/servers/",
    "tests/postgres/search_path/",
    "tests/writing/direct/test_crash.py",
    "tests/writing/direct/test_replication.py",
    "tests/writing/partitions/test_foreign.py",
)
"""A browser, a server, a built package, or a large table."""
GRANTING = ("tests/test_checks.py", "tests/writing/direct/test_rights.py")
"""They grant a right to a parameter: two GRANTs at a time change the same row of the catalog."""


class SharingScheduling(LoadScopeScheduling):
    """Gives every other test by itself to the worker that is free."""

    def _split_scope(self, nodeid):
        if nodeid.startswith(GRANTING):
            return "granting"
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)
