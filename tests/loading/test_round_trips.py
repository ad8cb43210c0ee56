"""How often a load waits for the server: docs/figures.md has the numbers."""

import pytest
from django.db import connections, transaction

from finance.models import Transaction
from ingest import load
from tests.factories import AccountFactory
from tests.performance.round_trips import counting_proxy

pytestmark = pytest.mark.django_db(transaction=True)


def ten_rows():
    account = AccountFactory()
    row = {
        "user": account.user_id,
        "account": account.pk,
        "amount": "1.50",
        "tx_date": "2024-01-01",
    }
    return [row] * 10


def test_a_small_load_takes_few_round_trips():
    rows = ten_rows()
    with counting_proxy(connections["default"]) as proxy:
        assert load(Transaction, rows).rows == 10
    assert 20 < proxy.round_trips <= 55


def test_a_small_load_inside_atomic_takes_fewer():
    rows = ten_rows()
    with counting_proxy(connections["default"]) as proxy, transaction.atomic():
        assert load(Transaction, rows).rows == 10
    assert 10 < proxy.round_trips <= 40
