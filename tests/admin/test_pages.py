"""A list too long to be counted: its pages, numbers, filters, search and sums."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from finance.admin import TransactionAdmin
from finance.models import Transaction
from ingest.admin.large_tables.counting import EXACT_ROWS
from ingest.admin.large_tables.pages import STEPPED_ROWS
from tests.admin.clients import TRANSACTIONS, everything, keys

ROWS = 40_000
PER_PAGE = 100

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("large_table")]


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
    assert "≈</abbr> 200" in response.content.decode()


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
    response = admin_client.get(TRANSACTIONS, {"p": "5", "_at": at})
    assert (response.status_code, response.headers["Location"]) == (302, f"{TRANSACTIONS}?e=1")


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
