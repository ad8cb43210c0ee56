import pytest
from django.db import connection

from tests.many_rows import fill_transactions

EMPTIED = "finance_transaction, finance_account, auth_user, ingest_load"


@pytest.fixture(scope="module")
def many_rows(request, django_db_setup, django_db_blocker):
    """Commit as many transactions as the module's `ROWS` says, for all of its tests."""
    assert connection.settings_dict["NAME"].startswith("test_ingest_"), "not the tests' database"
    with django_db_blocker.unblock():
        fill_transactions(request.module.ROWS)
    yield request.module.ROWS
    with django_db_blocker.unblock():
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {EMPTIED} CASCADE")
        connection.close()
