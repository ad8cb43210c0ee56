"""The original Berka files through the layouts that ship, into empty tables."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db.models import Sum

from finance.models import Account, Transaction
from ingest import load

pytestmark = pytest.mark.django_db(transaction=True)
BERKA = Path(__file__).parents[3] / "shared" / "data" / "berka"

ACCOUNTS = """"account_id";"district_id";"frequency";"date"\r
576;55;"POPLATEK MESICNE";930101\r
3818;74;"POPLATEK TYDNE";971229\r
"""
TRANSACTIONS = (
    '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"\r\n'
    '1;576;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;\r\n'
    '2;3818;940228;"VYDAJ";"VYBER";12.50;687.50;" ";;\r\n'
    '3;3818;940301;"VYBER";"";1.00;686.50;"SIPO";"";\r\n'
)


def test_fixtures_of_the_berka_files():
    load(Account, io.BytesIO(ACCOUNTS.encode()), layout="berka_accounts")
    got = load(Transaction, io.BytesIO(TRANSACTIONS.encode()), layout="berka_transactions")
    assert (got.read, got.rows, got.skipped) == (3, 3, 0)
    assert get_user_model().objects.get().username == "berka"
    assert list(Account.objects.order_by("number").values_list("number", "name", "currency")) == [
        ("3818", "Weekly statements", "CZK"),
        ("576", "Monthly statements", "CZK"),
    ]
    got = [
        (row.account.number, str(row.tx_date), row.amount, row.description, row.user.username)
        for row in Transaction.objects.order_by("pk")
    ]
    assert got == [
        ("576", "1993-01-01", Decimal("700.00"), "VKLAD", "berka"),
        ("3818", "1994-02-28", Decimal("-12.50"), "VYBER", "berka"),
        ("3818", "1994-03-01", Decimal("-1.00"), "SIPO", "berka"),
    ]


@pytest.mark.skipif(not BERKA.exists(), reason="the Berka files are not there")
def test_the_original_files():
    assert load(Account, BERKA / "account.asc", layout="berka_accounts").rows == 4_500
    got = load(Transaction, BERKA / "trans.asc", layout="berka_transactions")
    assert (got.read, got.rows, got.rejected, got.skipped) == (49_102, 49_102, 0, 0)
    total = Transaction.objects.aggregate(Sum("amount"))["amount__sum"]
    assert total == Decimal("39246142.80")
