"""Loads in a real browser, beside a million rows, under a strict content security policy."""

from django.db import connection
from django.urls import reverse
from django.utils import timezone

from finance.models import Transaction
from ingest.models import Load, Reject
from tests.ledger.recorded_loads import record_load

TRANSACTIONS = reverse("admin:finance_transaction_changelist")
LOADS = reverse("admin:ingest_load_changelist")
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&'


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
    facts = {"bytes_read": 640_000, "inserted": 123_456, "seen_at": timezone.now()}
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
    assert "Delete the 20 rows that were loaded from statements/2025-03.csv into" in browser.text
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
