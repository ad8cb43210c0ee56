"""The admin in a real browser, over a million rows, under a strict content security policy.

`--screenshots` also takes the pictures of the documentation.
"""

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from finance.models import Transaction
from ingest.ledger import LOCK_CLASS
from ingest.models import KeyRange, Load, Reject
from tests.admin.browser import open_browser
from tests.loads import record_chunk, record_load

ROWS = 1_000_000
PICTURES = Path(__file__).parents[2] / "docs" / "screenshots"
TRANSACTIONS = reverse("admin:finance_transaction_changelist")
LOADS = reverse("admin:ingest_load_changelist")
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&'


@pytest.fixture(scope="module")
def db(many_rows):
    """Stand in for pytest-django's, whose name makes it set up a database: all is committed."""


@pytest.fixture(scope="module")
def server(db, django_db_blocker):
    # Not `live_server`: that empties the tables after each test.
    strict = [*settings.MIDDLEWARE, "tests.admin.browser.strict_policy"]
    hosts = ["localhost", "testserver"]
    with (
        django_db_blocker.unblock(),
        override_settings(MIDDLEWARE=strict, ALLOWED_HOSTS=hosts),
    ):
        started = LiveServer("localhost")
        yield started
        started.stop()


@pytest.fixture(scope="module")
def shared_browser(server):
    with open_browser() as browser:
        browser.server = server.url
        yield browser


@pytest.fixture
def browser(shared_browser):
    yield shared_browser
    complaints = shared_browser.complaints()
    assert complaints == []


@pytest.fixture
def log_in(browser):
    """Log somebody in: the superuser, or a clerk with these permissions only."""

    def log_in(*permissions):
        users = get_user_model().objects
        users.filter(username__in=["root", "clerk"]).delete()
        if permissions:
            user = users.create_user("clerk", is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        else:
            user = users.create_superuser("root")
        client = Client()
        client.force_login(user)
        browser.log_in(client)

    return log_in


@pytest.fixture
def picture(request, browser):
    def take(name):
        if request.config.getoption("screenshots"):
            PICTURES.mkdir(exist_ok=True)
            browser.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    return take


@pytest.fixture
def load():
    """A load of a thousand of the rows, with all that its page can show."""
    keys = Transaction.objects.order_by("pk").values_list("pk", flat=True)[1_000:2_000]
    first, last = keys[0], keys[999]
    load = record_load(
        Transaction,
        source="statements/2025-02.csv",
        fingerprint="5f0c0f5d1c1e4d6f8a2b3c4d5e6f7a8b",
        who="berta",
        loaded=1_000,
        read=1_007,
        rejected=7,
        chunk_rows=500,
        started_at=timezone.now() - timezone.timedelta(seconds=4),
        ended_at=timezone.now(),
        stages={"parse": 0.21, "convert": 0.34, "references": 0.42, "send": 1.9, "indexes": 0.8},
        decisions=[
            "Foreign keys were checked as a set: user, account.",
            "Indexes were kept: the table had rows.",
        ],
    )
    chunk = load.chunks.get()
    chunk.rows = 500
    chunk.save()
    record_chunk(load, 2, rows=500, rejected=7, first_record=501, last_record=1_007)
    KeyRange.objects.create(chunk=chunk, first=first, last=last)
    for record in range(7):
        Reject.objects.create(
            load=load,
            chunk=chunk,
            source=load.source,
            record=record + 40,
            line=record + 41,
            column="amount" if record % 2 else "tx_date",
            field="amount" if record % 2 else "tx_date",
            value="12,50 €" if record % 2 else "2025-02-30",
            reason="Enter a number." if record % 2 else "There is no such day.",
            kind="value",
        )
    yield load
    load.delete()


@pytest.fixture
def running():
    load = record_load(
        Transaction,
        source="statements/2025-03.csv",
        status=Load.Status.RUNNING,
        bytes_read=100_000,
        bytes_total=1_000_000,
        seen_at=timezone.now(),
        who="berta",
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, load.pk % 2**31])
    yield load
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
    load.delete()


def dates(browser):
    return browser.texts("#result_list td.field-tx_date, #result_list th.field-tx_date a")


def keys(browser):
    boxes = browser.driver.find_elements("css selector", "#result_list input.action-select")
    return [box.get_attribute("value") for box in boxes]


def test_pages_of_a_million_rows_open(browser, log_in, picture):
    log_in()
    browser.open(TRANSACTIONS)
    assert "about 1,000,000 transactions" in browser.text
    assert len(dates(browser)) == 100
    picture("transactions")
    browser.click("10000")
    assert browser.texts(".this-page") == ["≈ 10000"]
    assert dates(browser)[-1] == "Jan. 1, 2015"
    oldest = keys(browser)
    browser.click("9999")
    assert browser.texts(".this-page") == ["≈ 9999"]
    assert not set(keys(browser)) & set(oldest)
    browser.open(f"{TRANSACTIONS}?p=5000")
    middle = keys(browser)
    assert dates(browser)[0].endswith(("2019", "2020"))
    browser.click("5001")
    browser.click("5000")
    assert keys(browser) == middle


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


def test_the_page_of_a_load_leads_to_its_rows(browser, log_in, load, picture):
    log_in()
    browser.open(LOADS)
    browser.click(str(load.pk))
    assert "statements/2025-02.csv into finance.Transaction" in browser.text
    assert len(browser.driver.find_elements("css selector", "svg.ingest-stages rect")) == 5
    picture("load")
    browser.click("Rows of this load")
    assert "1000 transactions" in browser.text or "1,000 transactions" in browser.text


def test_rejects_are_filtered(browser, log_in, load):
    log_in()
    browser.open(reverse("admin:ingest_load_change", args=[load.pk]))
    browser.one("select[name=column] option[value='column:amount']").click()
    browser.press(".ingest-filter input[type=submit]")
    assert browser.texts(".ingest-value") == ["12,50 €"] * 3


def test_the_bar_of_a_running_load_moves(browser, log_in, running, load, picture):
    log_in()
    browser.open(LOADS)
    bar = browser.one("progress")
    assert bar.get_attribute("value") == "0.1"
    facts = {"bytes_read": 640_000, "loaded": 123_456, "seen_at": timezone.now()}
    Load.objects.filter(pk=running.pk).update(**facts)
    browser.wait(lambda: bar.get_attribute("value") == "0.64")
    assert "123,456" in browser.texts("#result_list .field-loaded_rows")
    picture("loads")
    ended = {"status": Load.Status.LOADED, "ended_at": timezone.now()}
    Load.objects.filter(pk=running.pk).update(**ended)
    browser.wait(lambda: "Running" not in browser.texts("#result_list .field-state"))


def test_the_page_of_a_running_load_opens_again_when_it_ends(browser, log_in, running):
    log_in()
    browser.open(reverse("admin:ingest_load_change", args=[running.pk]))
    assert "Cancel" in browser.texts(".object-tools a")
    Load.objects.filter(pk=running.pk).update(bytes_read=500_000, seen_at=timezone.now())
    browser.wait(lambda: "50%" in browser.text)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
    ended = {"status": Load.Status.LOADED, "ended_at": timezone.now()}
    Load.objects.filter(pk=running.pk).update(**ended)
    browser.wait(lambda: "Undo" in browser.texts(".object-tools a"))


def test_undo_asks_first_and_deletes_exactly_the_rows(browser, log_in, picture):
    newest = Transaction.objects.latest("pk")
    account = newest.account
    made = Transaction.objects.bulk_create(
        [
            Transaction(account=account, user=account.user, amount=1, tx_date="2025-03-01")
            for _ in range(20)
        ]
    )
    load = record_load(Transaction, made, source="statements/2025-03.csv")
    log_in()
    browser.open(reverse("admin:ingest_load_change", args=[load.pk]))
    browser.click("Undo")
    assert "Delete the 20 rows that statements/2025-03.csv put into" in browser.text
    picture("undo")
    browser.click("No, take me back")
    assert Transaction.objects.filter(pk__in=[row.pk for row in made]).count() == 20
    browser.click("Undo")
    browser.press("input[type=submit].ingest-destructive")
    assert browser.texts(".messagelist li") == [f"Load {load.pk} is undone: 20 rows deleted."]
    assert Transaction.objects.latest("pk") == newest


def test_a_clerk_sees_no_action_and_reaches_none(browser, log_in, load):
    log_in("view_load", "view_transaction")
    page = reverse("admin:ingest_load_change", args=[load.pk])
    browser.open(page)
    tools = browser.texts(".object-tools a")
    assert not {"Undo", "Resume", "Cancel"} & set(tools)
    browser.open(page.replace("change", "undo"))
    assert "403 Forbidden" in browser.text
    assert len(browser.complaints()) == 1  # that very answer
    log_in("view_transaction")
    browser.open(page)
    assert "403 Forbidden" in browser.text
    assert len(browser.complaints()) == 1


def test_names_and_values_with_html_do_no_harm(browser, log_in):
    texts = {"source": NASTY, "who": NASTY, "error": NASTY, "decisions": [NASTY]}
    load = record_load(Transaction, **texts, stages={NASTY: 1.0}, status=Load.Status.FAILED)
    refused = {"column": NASTY, "field": NASTY, "value": NASTY, "reason": NASTY}
    chunk = load.chunks.get()
    Reject.objects.create(load=load, chunk=chunk, source=NASTY, record=1, kind="value", **refused)
    row = Transaction.objects.latest("pk")
    row.description, row.tx_date = NASTY, "2031-01-01"
    row.save()
    log_in()
    pages = [reverse(f"admin:ingest_load_{name}", args=[load.pk]) for name in ("change", "undo")]
    for page in (LOADS, *pages, TRANSACTIONS, f"{TRANSACTIONS}?load={load.pk}"):
        browser.open(page)
        assert "<script>window.hacked=1</script>" in browser.one("html").get_attribute("innerText")
        assert browser.driver.execute_script("return window.hacked") is None
    load.delete()
    row.delete()


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
