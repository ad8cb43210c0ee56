from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import transaction

from finance.models import Account, Transaction
from ingest import ConfigurationError, preview
from ingest.layout import FieldLayout, Layout, Reading
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def path(tmp_path):
    AccountFactory(number="DE1")
    path = tmp_path / "bank.csv"
    path.write_text(
        "Konto;Tag;Betrag\nDE1;01.02.2026;1,50\nDE1;x;y\nshort\nDE1;03.02.2026;-2,5\n"
        "DE1;04.02.2026;3\nDE1;z;4\n"
    )
    return path


LAYOUT = Layout(
    source={"delimiter": ";"},
    read=Reading(decimal=",", formats=("%d.%m.%Y",)),
    fields={
        "account": FieldLayout(column="Konto", lookup=("number",)),
        "user": FieldLayout(copy="account.user"),
        "tx_date": FieldLayout(column="Tag"),
        "amount": FieldLayout(column="Betrag"),
    },
)


def test_the_rows_are_as_they_will_be_stored_and_nothing_is_loaded(path):
    got = preview(Transaction, path, layout=LAYOUT, rows=2)
    account = Account.objects.get()
    assert (got.model, got.source) == ("finance.Transaction", str(path))
    assert got.columns[:4] == ("account_id", "user_id", "tx_date", "amount")
    assert [row[:4] for row in got.rows] == [
        (account.pk, account.user_id, dt.date(2026, 2, 1), Decimal("1.50")),
        (account.pk, account.user_id, dt.date(2026, 2, 3), Decimal("-2.50")),
    ]
    assert got.records == (1, 4)
    # Those of the records among the rows that are shown, and not of the last one.
    assert [(reject.record, reject.column) for reject in got.rejects] == [
        (2, "Tag"),
        (2, "Betrag"),
        (3, None),
    ]
    assert Transaction.objects.count() == 0


def test_a_file_of_less_rows(path):
    got = preview(Transaction, path, layout=LAYOUT, rows=50)
    assert got.records == (1, 4, 5)
    assert [reject.record for reject in got.rejects] == [2, 2, 3, 6]


def test_missing_parents_are_not_made(path):
    Account.objects.all().delete()
    create = {"name": "New", "user": {"constant": "o", "lookup": "username", "create": {}}}
    account = FieldLayout(column="Konto", lookup=("number",), create=create)
    layout = Layout(
        source=LAYOUT.source, read=LAYOUT.read, fields={**LAYOUT.fields, "account": account}
    )
    assert len(preview(Transaction, path, layout=layout).rows) == 3
    assert Account.objects.count() == 0


def test_it_sees_what_the_caller_s_transaction_has(path):
    with transaction.atomic():
        Account.objects.update(number="DE0")
        AccountFactory(number="DE1")
        assert len(preview(Transaction, path, layout=LAYOUT).rows) == 3
        assert Account.objects.count() == 2


def test_a_source_that_is_all_bad_comes_to_an_end():
    numbers = iter(range(1_000_000))
    rows = ({"user": "x", "number": "A", "name": "n", "opened_on": number} for number in numbers)
    got = preview(Account, rows, rows=2)
    assert (got.rows, got.records) == ((), ())
    assert next(numbers) < 40_000


def test_an_empty_iterable():
    got = preview(Account, [])
    assert (got.columns, got.rows, got.rejects) == ((), (), ())


@pytest.mark.parametrize("rows", [0, -1])
def test_no_rows(rows):
    with pytest.raises(ConfigurationError, match="A preview shows at least one row"):
        preview(Account, [], rows=rows)
