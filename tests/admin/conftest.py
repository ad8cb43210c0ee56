import pytest
from django.db import connection
from django.utils import timezone

from finance.models import Transaction
from ingest.ledger.locks import LOCK_CLASS
from ingest.models import Load
from tests.admin.clients import TRANSACTIONS
from tests.ledger.recorded_loads import record_load
from tests.many_rows import many_rows


@pytest.fixture(scope="module")
def large_table(request, django_db_setup, django_db_blocker):
    """As many transactions as the module's `ROWS` says, committed for all of its tests."""
    with django_db_blocker.unblock(), many_rows(request.module.ROWS):
        yield


@pytest.fixture
def get(admin_client):
    def get(**query):
        response = admin_client.get(TRANSACTIONS, query)
        assert response.status_code == 200, (query, response)
        return response

    return get


@pytest.fixture
def listed(get):
    """Open a page of the list, and give its change list."""

    def listed(**query):
        return get(**query).context_data["cl"]

    return listed


@pytest.fixture
def running():
    """A load whose process is alive: it holds the lock that a running load holds."""
    now = timezone.now()
    load = record_load(
        Transaction, status=Load.Status.RUNNING, bytes_read=25, bytes_total=100, seen_at=now
    )
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, load.pk % 2**31])
    yield load
    other.close()
