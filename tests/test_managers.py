import asyncio

import pytest
from django.db import models

from finance.models import Transaction
from ingest.managers import BulkLoadManager, BulkLoadQuerySet
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows():
    account = AccountFactory()
    row = {"user": account.user_id, "account": account.pk, "amount": 1, "tx_date": "2026-01-01"}
    return [row, {**row, "amount": "x"}]


def test_a_manager_loads(rows):
    got = Transaction.objects.bulk_load(iter(rows), on_error="reject")
    assert (got.rows, got.rejected) == (1, 1)
    assert Transaction.objects.get().amount == 1


def test_a_manager_loads_without_blocking(rows):
    got = asyncio.run(Transaction.objects.abulk_load(rows[:1]))
    assert got.rows == Transaction.objects.count() == 1


def test_a_queryset_loads_into_its_own_database(rows):
    class Routed(BulkLoadQuerySet):
        @property
        def db(self):
            assert self._for_write, "a load writes"
            return super().db

    assert Routed(Transaction).bulk_load(rows[:1]).rows == 1
    assert Transaction.objects.using("default").bulk_load(rows[:1]).rows == 1
    with pytest.raises(Exception, match="no DATABASES\\['elsewhere'\\]"):
        Transaction.objects.using("elsewhere").bulk_load(rows[:1])


def test_one_s_own_queryset():
    class Own(BulkLoadQuerySet):
        pass

    manager = models.Manager.from_queryset(Own)
    assert issubclass(BulkLoadManager, models.Manager)
    assert callable(manager().bulk_load)
