"""A number of many digits is refused at once, from whatever source."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from finance.models import Account, Transaction
from ingest import load
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
HUGE = ["1e999999999", "-1e999999999", "1" * 2_000_000, "1" * 300_000 + ".5"]


def accounts(tmp_path, kind, number):
    """Return a source of two accounts, of which the first has this number for its user."""
    good = UserFactory().pk
    if kind == "typed":
        return [
            {"user_id": Decimal(number), "number": "1", "name": "a"},
            {"user_id": good, "number": "2", "name": "b"},
        ]
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        path.write_text(f"user_id,number,name\n{number},1,a\n{good},2,b\n")
    else:
        rest = json.dumps({"user_id": good, "number": "2", "name": "b"})
        path.write_text(f'{{"user_id": {number}, "number": "1", "name": "a"}}\n{rest}\n')
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "typed"])
@pytest.mark.parametrize("number", HUGE, ids=lambda number: number[:14])
def test_for_an_integer(tmp_path, kind, number):
    got = load(Account, accounts(tmp_path, kind, number), on_error="reject")
    assert (got.rows, got.rejected) == (1, 1)
    assert [reject.record for reject in got.rejects] == [1]
    assert Account.objects.get().number == "2"


def test_says_what_the_column_is(tmp_path):
    [reject] = load(Account, accounts(tmp_path, "jsonl", "1e999999999"), on_error="reject").rejects
    assert reject.reason == "the column's type integer cannot hold it"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "typed"])
@pytest.mark.parametrize("number", [*HUGE, "1e-999999999"], ids=lambda number: number[:14])
def test_for_a_decimal(tmp_path, kind, number):
    account = AccountFactory()
    rest = {"account": account.pk, "user": account.user_id, "tx_date": "2026-01-01"}
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        cells = ",".join(map(str, rest.values()))
        path.write_text(f"amount,{','.join(rest)}\n{number},{cells}\n1.5,{cells}\n")
    elif kind == "jsonl":
        others = json.dumps(rest)[1:]
        path.write_text(f'{{"amount": {number}, {others}\n{{"amount": 1.5, {others}\n')
    source = path
    if kind == "typed":
        source = [{"amount": Decimal(value), **rest} for value in (number, "1.5")]
    got = load(Transaction, source, on_error="reject")
    assert [reject.record for reject in got.rejects] == [1]
    assert Transaction.objects.get().amount == Decimal("1.5")
