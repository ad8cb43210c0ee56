import copy

import psutil
import pytest
from django.db import connection, connections
from django.db.utils import ConnectionHandler


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Drop the databases that killed test runs left on the embedded server."""
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname ~ '^test_ingest_[0-9]+(_|$)'")
        for (name,) in cursor.fetchall():
            if not psutil.pid_exists(int(name.split("_")[2])):
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def add_alias():
    """Add an entry of DATABASES for the length of a test; gives its alias."""
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
