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
from django.urls import reverse

from finance.admin import TransactionAdmin
from finance.models import Account, Transaction
from ingest.admin.counting import count_rows
from ingest.admin.sums import add_up
from tests.loads import record_load

ROWS = 40_000
ADDRESS = reverse("admin:finance_transaction_changelist")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("large_table")]


def keys(cl):
    return [row.pk for row in cl.result_list]


def everything(**filters):
    rows = Transaction.objects.filter(**filters).order_by("-tx_date", "-pk")
    return list(rows.values_list("pk", flat=True))


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
        "Not searched, for want of an index: description, reference. Filter the list to fewer "
        "rows first, and they are."
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
    response = admin_client.get(ADDRESS, {"load": value})
    assert (response.status_code, response.headers["Location"]) == (302, f"{ADDRESS}?e=1")


def test_who_may_not_see_loads_does_not_learn_their_sources(client):
    load = record_load(Transaction, Transaction.objects.order_by("pk")[:5], source="secret.csv")
    user = get_user_model().objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_transaction"))
    client.force_login(user)
    shown = client.get(ADDRESS, {"load": load.pk}).content.decode()
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
    assert got.problem == "Adding up takes longer than 0.001 s: filter the list to fewer rows."
    assert Transaction.objects.exists()  # the transaction around it goes on


def test_a_count_that_takes_too_long_is_an_estimate():
    got = count_rows(Transaction.objects.filter(description__contains="zz"), milliseconds=1)
    assert not got.is_exact
    assert str(got) == f"about {int(got):,}"
