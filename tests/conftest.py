import copy
import gc
import os

import hypothesis
import psutil
import pytest
from django.db import connection, connections
from django.db.utils import ConnectionHandler
from django.test import TransactionTestCase

from tests.empty_tables import empty_tables
from tests.scheduling import SharingScheduling

ENDURANCE = (
    "tests/admin/test_unusable_addresses.py",
    "tests/admin/uploads/browser/",
    "tests/chaos/",
    "tests/end_to_end/browser/",
    "tests/end_to_end/tenants/",
    "tests/end_to_end/test_documented_commands.py",
    "tests/ledger/test_undo_at_random.py",
    "tests/loading/test_dask.py",
    "tests/loading/test_stream.py",
    "tests/writing/conflicts/test_at_random.py",
    "tests/writing/conflicts/test_concurrency.py",
    "tests/writing/direct/test_callers_transactions.py",
    "tests/writing/direct/test_concurrency.py",
    "tests/writing/test_rejects_at_random.py",
)
"""Tests that take minutes: dozens of faults, schedules and interleavings, a fresh clone, a million
rows.

CI runs them. By hand: ``pytest -m endurance``, or ``-m ""`` for all tests."""
ENDURANCE_TIMEOUT = 1_200
"""Seconds: two suites at once on a slow machine take three times as long as one test alone."""


SHORT_EXAMPLES, LONG_EXAMPLES = 100, 3_600
"""Hypothesis examples for each property; in tests/conversion each is a column of ten cells."""
PATIENT = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
"""So that no property fails because the machine is busy."""
# The short run is the same every time, so that it fails only for who broke something.
hypothesis.settings.register_profile(
    "short", max_examples=SHORT_EXAMPLES, derandomize=True, **PATIENT
)
hypothesis.settings.register_profile("long", max_examples=LONG_EXAMPLES, print_blob=True, **PATIENT)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if any(part in item.path.as_posix() for part in ENDURANCE):
            item.add_marker(pytest.mark.endurance)
            item.add_marker(pytest.mark.timeout(ENDURANCE_TIMEOUT))


def pytest_collection_finish():
    """Keep the garbage collector from the objects of thousands of tests: they stay."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SharingScheduling(config, log)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Make tests that commit fast; drop the databases that killed test runs left behind."""
    TransactionTestCase._fixture_teardown = empty_tables
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        # Tests of crashes have a server of their own.
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.close()
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname ~ '^test_ingest_[0-9]+(_|$)'")
        for (name,) in cursor.fetchall():
            if not psutil.pid_exists(int(name.split("_")[2])):
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def few_rows_too(monkeypatch):
    """Let ``direct`` take its own way with the few rows of a test, too."""
    monkeypatch.setattr("ingest.writing.direct.SMALL_ROWS", 0)


@pytest.fixture(params=["copy", "direct"])
def method(request, few_rows_too):
    return request.param


@pytest.fixture
def add_alias():
    """Return a function that adds an entry of DATABASES for one test and returns its alias."""
    added = set()

    def add(entry, alias="tried"):
        forget(alias)
        handler = ConnectionHandler({"default": {}, alias: copy.deepcopy(entry)})
        connections.settings[alias] = handler.settings[alias]
        added.add(alias)
        return alias

    def forget(alias):
        if connections.settings.pop(alias, None) and hasattr(connections._connections, alias):
            connections[alias].close()
            del connections[alias]

    yield add
    for alias in added:
        forget(alias)


def pytest_addoption(parser):
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="take the pictures of docs/screenshots while the admin is tested in the browser",
    )
