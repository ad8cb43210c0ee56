"""A list of a million rows in a real browser, under a strict content security policy."""

import re

from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from finance.models import Transaction
from tests.end_to_end.browser.driver import open_browser

TRANSACTIONS = reverse("admin:finance_transaction_changelist")


def dates(browser):
    return browser.texts("#result_list td.field-tx_date, #result_list th.field-tx_date a")


def keys(browser):
    boxes = browser.driver.find_elements("css selector", "#result_list input.action-select")
    return [box.get_attribute("value") for box in boxes]


def test_pages_of_a_million_rows_open(browser, log_in, picture):
    log_in()
    browser.open(TRANSACTIONS)
    # The planner's estimate is off by a page or two where other tests added and deleted rows.
    [estimate] = re.findall(r"about ([\d,]+) transactions", browser.text)
    assert abs(int(estimate.replace(",", "")) - 1_000_000) < 1_000
    assert len(dates(browser)) == 100
    last = browser.texts(".paginator a")[-1]
    browser.click(last)
    assert browser.texts(".this-page") == [f"≈ {last}"]
    assert dates(browser)[-1] == "Jan. 1, 2015"
    oldest = keys(browser)
    before = str(int(last) - 1)
    browser.click(before)
    assert browser.texts(".this-page") == [f"≈ {before}"]
    assert not set(keys(browser)) & set(oldest)
    browser.open(f"{TRANSACTIONS}?p=5000")
    middle = keys(browser)
    assert dates(browser)[0].endswith(("2019", "2020"))
    browser.click("5001")
    browser.click("5000")
    assert keys(browser) == middle
    browser.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    picture("transactions")


def test_filters_search_and_sums_work(browser, log_in):
    log_in()
    browser.open(TRANSACTIONS)
    browser.click("CZK")
    assert "account__currency=CZK" in browser.driver.current_url
    browser.click("2020")
    browser.click("February 2020")
    browser.click("February 29")
    assert set(dates(browser)) == {"Feb. 29, 2020"}
    rows = Transaction.objects.filter(account__currency="CZK", tx_date="2020-02-29")
    assert f"{rows.count()} transactions" in browser.text
    browser.click("Add up amount of these rows")
    total = sum(row.amount for row in rows)
    assert browser.texts(".ingest-sums li") == [f"Amount, CZK: {total:,}"]
    number = rows[0].account.number
    browser.one("#searchbar").send_keys(number)
    browser.press("#changelist-search input[type=submit]")
    assert set(browser.texts("#result_list .field-account")) == {number}


def test_it_works_without_scripts(server, django_db_blocker, load):
    users = get_user_model().objects
    users.filter(username="root").delete()
    client = Client()
    client.force_login(users.create_superuser("root"))
    with open_browser(scripts=False) as browser:
        browser.server = server.url
        browser.log_in(client)
        browser.open(f"{TRANSACTIONS}?p=5000")
        browser.click("5001")
        browser.click("EUR")
        assert "about" in browser.texts(".ingest-count")[0]
        browser.open(reverse("admin:ingest_load_change", args=[load.pk]))
        browser.click("Undo")
        assert "Delete the 1,000 rows" in browser.text
