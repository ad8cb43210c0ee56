import psutil
import pytest
from django.db import connection


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Drop the databases that killed test runs left on the embedded server."""
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname ~ '^test_ingest_[0-9]+$'")
        for (name,) in cursor.fetchall():
            if not psutil.pid_exists(int(name.rpartition("_")[2])):
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
