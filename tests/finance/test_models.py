import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.db.models import ProtectedError

from finance.models import Account, Transaction
from tests.factories import AccountFactory, TransactionFactory, UserFactory

pytestmark = pytest.mark.django_db


def indexes(model):
    """Return the columns of each index in PostgreSQL, including the primary key's."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    return sorted(tuple(c["columns"]) for c in constraints.values() if c["index"] or c["unique"])


def test_account_defaults():
    got = Account(user=UserFactory(), number="1", name="x")
    got.full_clean()
    assert (got.currency, got.opened_on) == ("EUR", None)


def test_number_is_unique():
    AccountFactory(number="CZ1")
    with pytest.raises(IntegrityError, match="finance_account_number_key"):
        AccountFactory(number="CZ1")


def test_transaction_defaults():
    account = AccountFactory()
    got = Transaction(account=account, user=account.user, amount="1.20", tx_date="2025-01-02")
    got.full_clean()
    got.save()
    assert (got.description, got.reference) == ("", "")
    assert got.created_at is not None


def test_a_reference_is_unique_within_its_account():
    first = TransactionFactory(reference="A1")
    TransactionFactory(reference="A1")
    with pytest.raises(IntegrityError, match="transaction_account_reference"):
        TransactionFactory(account=first.account, reference="A1")


def test_a_second_reference_is_told_in_words():
    first = TransactionFactory(reference="A1")
    second = TransactionFactory.build(account=first.account, user=first.user, reference="A1")
    with pytest.raises(ValidationError) as caught:
        second.full_clean()
    assert caught.value.messages == ["This account has this reference already."]


def test_many_transactions_have_no_reference():
    first = TransactionFactory()
    TransactionFactory(account=first.account)
    assert Transaction.objects.filter(reference="").count() == 2


@pytest.mark.parametrize("amount", ["9999999999.99", "-9999999999.99"])
def test_the_largest_amounts(amount):
    got = TransactionFactory(amount=amount)
    got.full_clean()
    got.refresh_from_db()
    assert str(got.amount) == amount


@pytest.mark.parametrize("amount", ["10000000000", "1.239"])
def test_an_amount_that_does_not_fit(amount):
    got = TransactionFactory()
    got.amount = amount
    with pytest.raises(ValidationError):
        got.full_clean()


def test_an_owner_with_accounts_stays():
    transaction = TransactionFactory()
    with pytest.raises(ProtectedError):
        transaction.account.delete()
    with pytest.raises(ProtectedError):
        transaction.user.delete()


def test_a_transaction_has_these_indexes():
    want = [("account_id", "reference"), ("account_id", "tx_date"), ("id",), ("tx_date",)]
    assert indexes(Transaction) == [*want, ("user_id",)]


def test_accounts_and_transactions_have_readable_names():
    assert str(AccountFactory.build(number="CZ1")) == "CZ1"
    assert str(TransactionFactory.build(account=None, user=None)) == "2025-02-28 -12.34"
