"""Filters, dates, search and sums of a list too long to be counted."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from finance.admin import TransactionAdmin
from finance.models import Account, Transaction
from ingest.admin.large_tables.counting import count_rows
from ingest.admin.large_tables.filters import walk_values
from ingest.admin.large_tables.sums import add_up
from tests.admin.clients import TRANSACTIONS, everything, keys
from tests.ledger.recorded_loads import record_load

ROWS = 40_000

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("large_table")]


def test_filters_keep_nothing_of_the_page(get):
    shown = get(p=200).content.decode()
    filters = re.findall(r'href="\?([^"]*account__currency[^"]*)"', shown)
    assert filters
    assert all("_at" not in unescape(link) for link in filters)


def test_the_choices_of_a_filter_are_not_read_from_the_large_table(get):
    with CaptureQueriesContext(connection) as queries:
        shown = get().content.decode()
    assert all(f"?account__currency={currency}" in shown for currency in ("CZK", "EUR", "USD"))
    distinct = [q["sql"] for q in queries if "DISTINCT" in q["sql"]]
    assert all("finance_transaction" not in sql for sql in distinct)


def test_the_date_hierarchy_truncates_no_date(get):
    with CaptureQueriesContext(connection) as queries:
        years = get().content.decode()
        months = get(tx_date__year=2020).content.decode()
        days = get(tx_date__year=2020, tx_date__month=2).content.decode()
        day = get(tx_date__year=2020, tx_date__month=2, tx_date__day=29).content.decode()
    assert not [q for q in queries if "DATE_TRUNC" in q["sql"]]
    for year in range(2015, 2025):
        assert f'<a href="?tx_date__year={year}">{year}</a>' in years
    assert "tx_date__month=12&amp;tx_date__year=2020" in months
    assert "tx_date__day=29&amp;tx_date__month=2&amp;tx_date__year=2020" in days
    assert "tx_date__day=30&" not in days
    assert "February 29" in day
    want = Transaction.objects.filter(tx_date="2020-02-29").count()
    assert f"{want} transactions" in day


def test_the_date_hierarchy_offers_only_what_has_rows(get):
    Transaction.objects.filter(tx_date__year=2018).delete()
    shown = get().content.decode()
    assert "tx_date__year=2017" in shown
    assert "tx_date__year=2018" not in shown


def test_the_search_uses_indexes_and_names_what_has_none(get, listed):
    account = Account.objects.latest("pk")
    response = get(q=account.number)
    assert set(keys(response.context_data["cl"])) == set(everything(account=account))
    assert (
        "Not searched, because they have no index: description, reference. Filter the list to "
        "fewer rows to search them, too."
    ) in response.content.decode()
    assert keys(listed(q="nobody has this")) == []


def test_each_word_of_a_search_must_be_found(listed):
    account = Account.objects.latest("pk")
    other = Account.objects.exclude(user=account.user).earliest("pk")
    found = listed(q=f"{account.number} {account.user.username}")
    assert set(keys(found)) == set(everything(account=account))
    assert keys(listed(q=f"{account.number} {other.user.username}")) == []


def test_a_filtered_list_is_searched_in_all_fields(listed):
    row = Transaction.objects.filter(tx_date__year=2019).latest("pk")
    cl = listed(tx_date__year=2019, q=row.description)
    assert row.pk in keys(cl)
    assert cl.notes == []


def test_the_rows_of_a_load(get, listed):
    rows = Transaction.objects.order_by("pk")[100:150]
    load = record_load(Transaction, rows)
    assert set(keys(listed(load=load.pk))) == {row.pk for row in rows}
    assert f"{load.pk}: statement.csv" in get().content.decode()


@pytest.mark.parametrize("value", ["99999999", "x", "-1", ""])
def test_a_load_that_is_none_of_this_table_leads_to_the_start(admin_client, value):
    record_load(Account, [])
    response = admin_client.get(TRANSACTIONS, {"load": value})
    assert (response.status_code, response.headers["Location"]) == (302, f"{TRANSACTIONS}?e=1")


def test_who_may_not_see_loads_does_not_learn_their_sources(client):
    load = record_load(Transaction, Transaction.objects.order_by("pk")[:5], source="secret.csv")
    user = get_user_model().objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_transaction"))
    client.force_login(user)
    shown = client.get(TRANSACTIONS, {"load": load.pk}).content.decode()
    assert "5 transactions" in shown
    assert "secret.csv" not in shown


def test_sums_are_made_when_they_are_asked_for(get):
    with CaptureQueriesContext(connection) as queries:
        shown = get(tx_date__year=2020).content.decode()
    assert not [q for q in queries if "SUM(" in q["sql"]]
    [link] = re.findall(r'<a href="([^"]*_sum=1[^"]*)">Add up amount of these rows</a>', shown)
    asked = {name: value[0] for name, value in parse_qs(urlsplit(unescape(link)).query).items()}
    shown = get(**asked).content.decode()
    rows = Transaction.objects.filter(tx_date__year=2020)
    for currency in ("CZK", "EUR", "USD"):
        total = rows.filter(account__currency=currency).aggregate(sum=Sum("amount"))["sum"]
        assert f"<li>Amount, {currency}: {total:,}</li>" in shown


def test_a_sum_that_takes_too_long_says_so(admin_user):
    rows = TransactionAdmin(Transaction, admin.site)
    rows.sum_milliseconds = 1
    got = add_up(Transaction.objects.all(), rows)
    assert got.lines == ()
    assert got.problem == "The sums take longer than 0.001 s: filter the list to fewer rows."
    assert Transaction.objects.exists()  # the transaction around it goes on


def test_a_count_that_takes_too_long_is_an_estimate():
    got = count_rows(Transaction.objects.filter(description__contains="zz"), milliseconds=1)
    assert not got.is_exact
    assert str(got) == f"about {int(got):,}"


class WideAdmin(TransactionAdmin):
    list_filter = ("user", "description", "account__name", "tx_date")
    list_display = ("account", "account__user", "amount")
    list_select_related = False


@pytest.fixture
def wide(rf, admin_user):
    """Open the list of an admin that chose its filters without care."""

    def wide(**query):
        request = rf.get("/", query)
        request.user = admin_user
        return WideAdmin(Transaction, admin.site).get_changelist_instance(request)

    return wide


def test_filters_that_would_read_the_table_or_fill_the_page_are_left_out(wide):
    with CaptureQueriesContext(connection) as queries:
        titles = [str(spec.title) for spec in wide().filter_specs]
    assert titles == ["tx date"]
    assert not [q for q in queries if "DISTINCT" in q["sql"] and "LIMIT 101" not in q["sql"]]


def test_a_filter_that_was_left_out_filters_when_it_is_used(wide):
    user = Account.objects.latest("pk").user
    cl = wide(user__id__exact=user.pk)
    assert set(keys(cl)) == set(everything(user=user))
    [spec] = [spec for spec in cl.filter_specs if spec.title == "user"]
    assert [choice["display"] for choice in spec.choices(cl)] == ["All", user.username]
    row = Transaction.objects.latest("pk")
    assert keys(wide(description=row.description)) == [row.pk]


def test_values_are_found_by_steps_down_the_index():
    rows = Transaction.objects.all()
    want = list(rows.order_by("tx_date").values_list("tx_date", flat=True).distinct())
    assert walk_values(rows, "tx_date", limit=5_000) == want
    assert walk_values(rows, "tx_date", limit=7) == want[:8]
    assert walk_values(rows.none(), "tx_date") == []


def test_what_the_list_shows_of_other_tables_is_joined(rf, wide):
    assert WideAdmin(Transaction, admin.site).get_list_select_related(rf.get("/")) == [
        "account",
        "account__user",
    ]
    cl = wide()
    with CaptureQueriesContext(connection) as queries:
        assert [row.account.user.username for row in cl.result_list]
    assert len(queries) == 0
