"""A list too long to be counted: its pages, numbers, filters, search and sums."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Sum
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from finance.admin import TransactionAdmin
from finance.models import Account, Transaction
from ingest.admin.counting import EXACT_ROWS, count_rows
from ingest.admin.pages import STEPPED_ROWS
from ingest.admin.sums import add_up
from tests.loads import record_load

ROWS = 40_000
PER_PAGE = 100
ADDRESS = reverse("admin:finance_transaction_changelist")

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("many_rows")]


@pytest.fixture
def get(admin_client):
    def get(**query):
        response = admin_client.get(ADDRESS, query)
        assert response.status_code == 200, (query, response)
        return response

    return get


@pytest.fixture
def listed(get):
    """Open a page of the list, and give its change list."""

    def listed(**query):
        return get(**query).context_data["cl"]

    return listed


def keys(cl):
    return [row.pk for row in cl.result_list]


def everything(**filters):
    rows = Transaction.objects.filter(**filters).order_by("-tx_date", "-pk")
    return list(rows.values_list("pk", flat=True))


def links_of(cl):
    return {
        int(number): {name: value[0] for name, value in parse_qs(urlsplit(link).query).items()}
        for number, link in cl.page_links()
        if link
    }


def test_the_number_of_rows_is_an_estimate_and_says_so(get):
    response = get()
    assert not response.context_data["cl"].result_count.is_exact
    assert f"about {ROWS:,} transactions" in response.content.decode()


def test_a_number_that_is_cheap_to_count_is_exact(get):
    shown = get(tx_date="2020-02-29")
    assert shown.context_data["cl"].result_count.is_exact
    want = Transaction.objects.filter(tx_date="2020-02-29").count()
    assert f"{want} transactions" in shown.content.decode()


def test_the_whole_table_is_not_counted(get):
    with CaptureQueriesContext(connection) as queries:
        get()
        get(p=200)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all(f"LIMIT {EXACT_ROWS + 1}" in sql or "LIMIT 101" in sql for sql in counts)


def test_pages_near_the_start_are_the_very_same(listed):
    want = everything()
    for number in (1, 2, 7, 101):
        cl = listed(p=number)
        assert cl.open_page.is_exact
        assert keys(cl) == want[(number - 1) * PER_PAGE : number * PER_PAGE]


def test_walking_on_from_page_to_page_shows_each_row_once(listed):
    want = everything()
    cl = listed(p=99)
    for number in range(100, 110):
        cl = listed(**links_of(cl)[number])
        assert cl.open_page.is_exact
        assert keys(cl) == want[(number - 1) * PER_PAGE : number * PER_PAGE]


def test_walking_back_from_the_end_shows_each_row_once(listed):
    want = everything()
    cl = listed(p=ROWS // PER_PAGE)
    assert keys(cl) == want[-PER_PAGE:]
    for step in range(2, 10):
        cl = listed(**links_of(cl)[cl.page_num - 1])
        assert keys(cl) == want[-step * PER_PAGE : (1 - step) * PER_PAGE]


def test_a_page_far_from_all_others_is_about_where_it_should_be(get):
    want = everything()
    response = get(p=200)
    cl = response.context_data["cl"]
    assert not cl.open_page.is_exact
    assert abs(want.index(keys(cl)[0]) - 199 * PER_PAGE) < ROWS * 0.02
    assert keys(cl) == want[want.index(keys(cl)[0]) :][:PER_PAGE]
    assert '<span aria-label="about">≈</span> 200' in response.content.decode()


def test_the_links_around_an_estimated_page_fit_to_it(listed):
    want = everything()
    cl = listed(p=200)
    first = want.index(keys(cl)[0])
    links = links_of(cl)
    for number in (197, 199, 201, 203):
        near = listed(**links[number])
        start = first + (number - 200) * PER_PAGE
        assert near.page_num == number
        assert keys(near) == want[start : start + PER_PAGE]
    assert "_at" not in links[1]


def test_no_page_steps_over_more_rows_than_are_cheap(get):
    with CaptureQueriesContext(connection) as queries:
        for number in (150, 200, 300, 399):
            get(p=number)
    offsets = [int(found) for q in queries for found in re.findall(r"OFFSET (\d+)", q["sql"])]
    assert max(offsets) <= STEPPED_ROWS + PER_PAGE


def test_estimated_pages_end_where_the_rows_do(listed):
    cl = listed(p=4)
    # From here the last page is reached though the number says that there are more.
    last = listed(**{**links_of(cl)[5], "p": "10000"})
    assert keys(last) == everything()[-PER_PAGE:]


@pytest.mark.parametrize("ascending", [True, False])
def test_other_orders_with_an_index(listed, ascending):
    column = str(1 + TransactionAdmin.list_display.index("tx_date"))
    cl = listed(o=column if ascending else f"-{column}", p=150)
    assert cl.notes == []
    sign = "" if ascending else "-"
    order = [f"{sign}tx_date", f"{sign}pk"]
    want = list(Transaction.objects.order_by(*order).values_list("pk", flat=True))
    start = want.index(keys(cl)[0])
    assert keys(cl) == want[start : start + PER_PAGE]
    assert abs(start - 149 * PER_PAGE) < ROWS * 0.02


def test_an_order_without_an_index_is_djangos_own_and_says_so(get):
    column = str(1 + TransactionAdmin.list_display.index("amount"))
    response = get(o=column, p=3)
    want = Transaction.objects.order_by("amount", "pk").values_list("pk", flat=True)[200:300]
    assert keys(response.context_data["cl"]) == list(want)
    assert (
        "This page was reached by reading all rows before it: no index serves the order by "
        "amount, id. Another order of the list is faster."
    ) in response.content.decode()


@pytest.mark.parametrize("at", ["x", "W10", "WzEsIHRydWVd", "eyI", "%00", "WzEsdHJ1ZSwieCIsInkiXQ"])
def test_a_place_that_is_none_leads_to_the_start(admin_client, at):
    response = admin_client.get(ADDRESS, {"p": "5", "_at": at})
    assert (response.status_code, response.headers["Location"]) == (302, f"{ADDRESS}?e=1")


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


@pytest.mark.parametrize("page", [1, 200, 400])
def test_a_page_takes_a_bounded_number_of_queries(get, page):
    get(p=page)
    with CaptureQueriesContext(connection) as queries:
        get(p=page)
    assert len(queries) <= 55


def test_autocomplete_counts_no_large_table(admin_user):
    paginator = TransactionAdmin(Transaction, admin.site).get_paginator(
        RequestFactory().get("/"), Transaction.objects.order_by("pk"), 20
    )
    assert not paginator.count.is_exact
    assert len(paginator.page(1)) == 20
