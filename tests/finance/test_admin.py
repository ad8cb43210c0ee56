import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from finance.models import Transaction
from tests.factories import AccountFactory, TransactionFactory, UserFactory

pytestmark = pytest.mark.django_db

TRANSACTIONS = reverse("admin:finance_transaction_changelist")
ACCOUNTS = reverse("admin:finance_account_changelist")


@pytest.fixture
def page(admin_client):
    """Fetch a page of the admin and return its text."""

    def fetch(address, **query):
        response = admin_client.get(address, query)
        assert response.status_code == 200, (address, response)
        return response.content.decode()

    return fetch


@pytest.mark.parametrize(
    ("address", "query"),
    [
        (TRANSACTIONS, {}),
        (TRANSACTIONS, {"q": "Bread"}),
        (TRANSACTIONS, {"account__currency": "EUR"}),
        (TRANSACTIONS, {"tx_date__year": "2025", "tx_date__month": "2"}),
        (ACCOUNTS, {}),
        (ACCOUNTS, {"q": "CZ"}),
        (ACCOUNTS, {"currency": "EUR"}),
        (ACCOUNTS, {"opened_on__year": "2020"}),
    ],
)
def test_a_list_takes_as_many_queries_for_50_rows_as_for_5(page, address, query):
    noun = "transactions" if address == TRANSACTIONS else "accounts"
    TransactionFactory.create_batch(5)
    page(address)  # the first request also looks up content types
    with CaptureQueriesContext(connection) as five:
        assert f"5 {noun}" in page(address, **query)
    TransactionFactory.create_batch(45)
    with CaptureQueriesContext(connection) as fifty:
        assert f"50 {noun}" in page(address, **query)
    assert len(fifty) == len(five)


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ({"q": "Rye"}, {"Rye bread"}),
        ({"q": "R-77"}, {"Wheat bread"}),
        ({"q": "CZ77"}, {"Rye bread"}),
        ({"q": "berta"}, {"Wheat bread"}),
        ({"account__currency": "CZK"}, {"Wheat bread"}),
        ({"tx_date__year": "2024"}, {"Rye bread"}),
        ({"tx_date__gte": "2025-01-01"}, {"Wheat bread"}),
    ],
)
def test_transactions_are_found(page, query, want):
    TransactionFactory(description="Rye bread", account__number="CZ77", tx_date="2024-12-31")
    TransactionFactory(
        description="Wheat bread",
        reference="R-77",
        account__currency="CZK",
        account__user__username="berta",
    )
    shown = page(TRANSACTIONS, **query)
    assert {text for text in ("Rye bread", "Wheat bread") if text in shown} == want


def test_newest_first(page):
    for day in ("2025-01-02", "2025-01-03", "2025-01-01"):
        TransactionFactory(tx_date=day, description=f"on-{day}")
    shown = page(TRANSACTIONS)
    places = [shown.index(f"on-2025-01-0{day}") for day in (3, 2, 1)]
    assert places == sorted(places)


def test_a_list_counts_no_table_to_its_end(page):
    TransactionFactory()
    with CaptureQueriesContext(connection) as queries:
        page(TRANSACTIONS, q="Bread")
    counts = [q["sql"] for q in queries if "COUNT(*)" in q["sql"]]
    assert counts
    assert all("LIMIT 10001" in sql for sql in counts)


@pytest.mark.parametrize("name", ["transaction", "account"])
def test_forms_open_with_autocomplete_and_few_queries(page, name):
    AccountFactory.create_batch(30)
    transaction = TransactionFactory()
    row = transaction if name == "transaction" else transaction.account
    added = page(reverse(f"admin:finance_{name}_add"))
    with CaptureQueriesContext(connection) as queries:
        changed = page(reverse(f"admin:finance_{name}_change", args=[row.pk]))
    for form in (added, changed):
        assert "admin-autocomplete" in form
    # The 30 other accounts are not in the form: it has the chosen one only.
    assert changed.count("<option") <= 4
    assert len(queries) <= 8


def test_created_at_is_shown_and_cannot_be_changed(page):
    transaction = TransactionFactory()
    form = page(reverse("admin:finance_transaction_change", args=[transaction.pk]))
    assert "Created at" in form
    assert 'name="created_at' not in form


@pytest.mark.parametrize(
    ("model", "field", "want"),
    [
        ("transaction", "account", "CZ77"),
        ("transaction", "user", "berta"),
        ("account", "user", "berta"),
    ],
)
def test_parents_are_chosen_by_autocomplete(admin_client, model, field, want):
    AccountFactory(number="CZ77", user=UserFactory(username="berta"))
    AccountFactory()
    response = admin_client.get(
        reverse("admin:autocomplete"),
        {"app_label": "finance", "model_name": model, "field_name": field, "term": want},
    )
    assert [row["text"] for row in response.json()["results"]] == [want]


def test_a_transaction_is_added(admin_client):
    account = AccountFactory()
    response = admin_client.post(
        reverse("admin:finance_transaction_add"),
        {
            "user": account.user_id,
            "account": account.pk,
            "amount": "-1.50",
            "tx_date": "2025-02-28",
            "description": "",
            "reference": "",
        },
    )
    assert response.status_code == 302
    assert str(Transaction.objects.get().amount) == "-1.50"


def test_the_root_leads_to_the_admin(client):
    assert client.get("/").headers["Location"] == "/admin/"
    assert client.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
    assert not get_user_model().objects.exists()
