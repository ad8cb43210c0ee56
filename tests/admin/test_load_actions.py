"""What may be done with a load in the admin, and by whom."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from django.urls import reverse

from finance.models import Account, Transaction
from ingest.models import Load
from tests.admin.clients import ACTIONS, address, clerk, reject, told
from tests.factories import AccountFactory, TransactionFactory
from tests.ledger.recorded_loads import record_load

pytestmark = pytest.mark.django_db

LIST = reverse("admin:ingest_load_changelist")


def test_nothing_can_be_added_changed_or_deleted(admin_client):
    load = record_load(Transaction)
    before = Load.objects.values().get()
    assert admin_client.get(reverse("admin:ingest_load_add")).status_code == 403
    assert admin_client.post(address(load, "delete"), {"post": "yes"}).status_code == 403
    assert admin_client.post(address(load), {"who": "me"}).status_code == 405
    assert admin_client.post(LIST, {"action": "delete_selected", "_selected_action": load.pk})
    assert Load.objects.values().get() == before


def test_each_action_is_behind_its_own_permission(running):
    client = clerk("view_load")
    shown = client.get(address(running)).content.decode()
    for action in ACTIONS:
        assert f"../{action}/" not in shown
        assert client.get(address(running, action)).status_code == 403
        assert client.post(address(running, action)).status_code == 403
    user = get_user_model().objects.get(username="clerk")
    user.user_permissions.add(Permission.objects.get(codename="cancel_load"))
    assert "../cancel/" in client.get(address(running)).content.decode()
    assert client.get(address(running, "cancel")).status_code == 200
    assert client.post(address(running, "undo")).status_code == 403
    running.refresh_from_db()
    assert not running.is_cancel_asked


def test_who_may_not_view_loads_sees_none_of_it():
    load = record_load(Transaction)
    client = clerk("view_transaction", "undo_load", "view_reject")
    pages = ["change", *ACTIONS, "rejects", "reject_file", "reject_log"]
    for page in [LIST, reverse("admin:ingest_load_progress"), *(address(load, p) for p in pages)]:
        assert client.get(page).status_code == 403, page
    assert client.post(address(load, "undo")).status_code == 403
    assert Client().get(address(load)).status_code == 302
    assert LIST not in client.get(reverse("admin:index")).content.decode()


def test_rejects_and_chunks_are_behind_their_permissions():
    load = record_load(Transaction)
    reject(load, value="secret value")
    client = clerk("view_load")
    shown = client.get(address(load)).content.decode()
    assert "secret value" not in shown
    assert "ingest-chunks" not in shown
    assert client.get(address(load, "rejects")).status_code == 403


def test_an_action_takes_a_post_with_a_token():
    load = record_load(Transaction, [TransactionFactory()])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.create_superuser("root"))
    page = address(load, "undo")
    assert strict.post(page).status_code == 403
    assert strict.put(page).status_code in {403, 405}
    shown = strict.get(page).content.decode()
    assert "Delete the 1 row that was loaded from statement.csv into finance.Transaction?" in shown
    assert Transaction.objects.count() == 1
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', shown)[:1]
    assert strict.post(page, {"csrfmiddlewaretoken": token}).status_code == 302
    assert Transaction.objects.count() == 0


def test_undo_tells_what_it_did_and_writes_it_down(admin_client, admin_user):
    load = record_load(Transaction, TransactionFactory.create_batch(4))
    response = admin_client.post(address(load, "undo"), follow=True)
    want = f"Load {load.pk} is undone: 4 rows deleted."
    assert told(response) == [want]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.change_message) == (admin_user, want)
    assert "It has already been undone." in admin_client.get(address(load, "undo")).content.decode()


def test_undo_keeps_changed_rows_only_where_that_is_chosen(admin_client):
    rows = TransactionFactory.create_batch(3)
    load = record_load(Transaction, rows)
    with transaction.atomic():  # a savepoint, for a transaction id of its own
        rows[1].save()
    shown = admin_client.get(address(load, "undo")).content.decode()
    question = "Delete the 2 rows that were loaded from statement.csv into finance.Transaction?"
    assert question in shown
    assert f"<dt>Changed since</dt><dd>1 (with the key {rows[1].pk})</dd>" in shown
    assert 'name="choice"' in shown
    [got] = told(admin_client.post(address(load, "undo"), follow=True))
    assert got.startswith(f"Load {load.pk} is not undone: 1 row with its keys")
    assert Transaction.objects.count() == 3
    admin_client.post(address(load, "undo"), {"choice": "on"})
    assert list(Transaction.objects.all()) == [rows[1]]


def test_undo_says_at_once_that_nothing_can_be_proved(admin_client):
    load = record_load(Transaction, [TransactionFactory()])
    load.chunks.update(transactions=[])
    shown = admin_client.get(address(load, "undo")).content.decode()
    assert "it was recorded before ingest noted which transactions" in shown
    assert "<form method" not in shown.partition("errornote")[2]


def test_undo_tells_why_it_did_nothing(admin_client):
    load = record_load(Account, [AccountFactory()])
    TransactionFactory(account=Account.objects.get())
    [got] = told(admin_client.post(address(load, "undo"), follow=True))
    assert "1 of finance.Transaction by account" in got
    assert Account.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_cancel_asks_a_living_load_to_stop(admin_client, running):
    [got] = told(admin_client.post(address(running, "cancel"), follow=True))
    assert got == f"Load {running.pk} has been asked to stop, and will do so within seconds."
    running.refresh_from_db()
    assert (running.is_cancel_asked, running.status) == (True, Load.Status.RUNNING)
    assert "asked to stop" in admin_client.get(LIST).content.decode()


def test_cancel_marks_a_dead_load_as_interrupted(admin_client):
    load = record_load(Transaction, status=Load.Status.RUNNING)
    [got] = told(admin_client.post(address(load, "cancel"), follow=True))
    assert got == f"Load {load.pk} no longer had a process: it is marked as interrupted."
    load.refresh_from_db()
    assert load.status == Load.Status.INTERRUPTED
    assert load.ended_at is not None


@pytest.mark.parametrize(
    ("status", "given", "action", "want"),
    [
        ("loaded", "a.csv", "cancel", "It is not running: it is loaded."),
        ("loaded", "a.csv", "resume", "Load {} is loaded: there is nothing to resume."),
        ("failed", "-", "resume", "statement.csv can be read only once:"),
        ("failed", None, "resume", "statement.csv can be read only once:"),
        (
            "interrupted",
            [__file__, "/nowhere/a.csv"],
            "resume",
            "the file &#x27;/nowhere/a.csv&#x27; is gone.",
        ),
    ],
)
def test_what_cannot_be_done_is_not_offered_and_says_why(admin_client, status, given, action, want):
    load = record_load(Transaction, status=status, options={"given": given})
    want = want.format(load.pk)
    assert f"../{action}/" not in admin_client.get(address(load)).content.decode()
    assert want in admin_client.get(address(load, action)).content.decode()
    assert want in admin_client.post(address(load, action)).content.decode()


def test_a_load_of_several_files_by_a_pattern_can_be_resumed(admin_client, tmp_path):
    (tmp_path / "a.csv").touch()
    given = str(tmp_path / "*.csv")
    load = record_load(Transaction, status="failed", options={"given": given})
    assert "../resume/" in admin_client.get(address(load)).content.decode()


def test_undo_and_resume_of_a_running_load_are_refused(admin_client, running):
    for action, want in (("undo", "It is running: cancel it first."), ("resume", "It is running.")):
        assert want in admin_client.post(address(running, action)).content.decode()
    assert Load.objects.get().status == Load.Status.RUNNING
