"""Loads in the admin: what is shown, what may be done, and by whom."""

import json
import re
from html import escape
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from finance.models import Account, Transaction
from ingest import load as load_rows
from ingest.admin.loads.resuming import NotResumed
from ingest.exceptions import IngestError, TooManyRejects
from ingest.ledger.undo import undo
from ingest.models import Load
from ingest.uploads.running import note_failure
from tests.admin.clients import ACTIONS, address, clerk, reject
from tests.factories import AccountFactory, TransactionFactory, UserFactory
from tests.ledger.recorded_loads import record_chunk, record_load

pytestmark = pytest.mark.django_db

LIST = reverse("admin:ingest_load_changelist")
NASTY = "<script>alert(1)</script>&'\""


def test_the_list_shows_what_became_of_each(admin_client):
    facts = {"inserted": 1_234_567, "rejected": 89, "read": 1_234_656, "who": "berta"}
    record_load(Transaction, started_at=timezone.now() - timezone.timedelta(seconds=100), **facts)
    Load.objects.update(ended_at=timezone.now())
    shown = admin_client.get(LIST).content.decode()
    for want in ("1,234,567", ">89<", "berta", "1 min 40 s", "statement.csv", "Loaded"):
        assert want in shown
    assert re.search(r"12,34\d rows/s", shown)


def test_the_list_takes_as_many_queries_for_30_loads_as_for_one(admin_client, running):
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as one:
        admin_client.get(LIST)
    for _ in range(30):
        record_load(Transaction, status=Load.Status.RUNNING)
    with CaptureQueriesContext(connection) as many:
        admin_client.get(LIST)
    assert len(many) == len(one)


LONG_AGO = timezone.timedelta(minutes=5)


def test_a_running_load_that_says_nothing_is_shown_to_be_silent(admin_client, running):
    Load.objects.update(seen_at=timezone.now() - LONG_AGO)
    for page in (LIST, address(running)):
        assert "Running, silent for 5 min 0 s" in admin_client.get(page).content.decode()


def test_a_load_whose_process_was_killed_is_shown_as_stopped(admin_client):
    facts = {"status": Load.Status.RUNNING, "seen_at": timezone.now() - LONG_AGO}
    load = record_load(Transaction, source=__file__, options={"given": __file__}, **facts)
    for page in (LIST, address(load)):
        shown = admin_client.get(page).content.decode()
        assert '"ingest-state ingest-stopped">Stopped' in shown
        assert "silent" not in shown
        assert "data-ingest-reload" not in shown
    assert "../resume/" in shown
    got = admin_client.get(reverse("admin:ingest_load_progress"), {"load": load.pk}).json()
    assert got[str(load.pk)]["isRunning"] is False


def test_a_load_with_rejects_is_not_shown_as_one_without(admin_client):
    load = record_load(Transaction, inserted=2, read=3, rejected=1)
    for page in (LIST, address(load)):
        shown = admin_client.get(page).content.decode()
        assert "ingest-with-rejects" in shown
        assert "Loaded, with rejects" in shown
        assert "ingest-loaded" not in shown
    Load.objects.update(rejected=0)
    assert "ingest-state ingest-loaded" in admin_client.get(LIST).content.decode()


def test_the_method_of_a_load_that_had_no_driver_yet(admin_client):
    load = record_load(Transaction, driver="", status=Load.Status.FAILED)
    shown = admin_client.get(address(load)).content.decode()
    assert "<dd>direct</dd>" in shown
    assert "direct over" not in shown


@pytest.mark.parametrize("refused", ["value", "constraint"])
def test_a_failed_load_shows_and_counts_what_was_refused(admin_client, refused):
    account = AccountFactory()
    good = {"account": account.pk, "user": account.user_id, "tx_date": "2024-05-06", "amount": 1}
    bad = {"amount": "12,x"} if refused == "value" else {"account": 999_999}
    with pytest.raises(IngestError):
        load_rows(Transaction, [good, good | bad])
    load = Load.objects.get()
    assert (load.status, load.rejected, load.inserted) == ("failed", 1, 0)
    assert load.read == 1
    shown = admin_client.get(address(load)).content.decode()
    rejects = shown[shown.index('id="ingest-rejects"') :]
    assert ("12,x" if refused == "value" else "999999") in rejects
    assert "Why records were refused" in rejects
    assert "<span>(1)</span>" in rejects
    assert "1 rejected" in shown


def test_a_load_that_failed_by_its_limit_counts_its_rejects(admin_client):
    account = AccountFactory()
    bad = {"account": account.pk, "user": account.user_id, "tx_date": "2024-05-06", "amount": "x"}
    with pytest.raises(TooManyRejects):
        load_rows(Transaction, [bad] * 3, on_error="reject", reject_limit=1)
    assert Load.objects.get().rejected == 3
    assert "3 rejected" in admin_client.get(address(Load.objects.get())).content.decode()


def test_a_resume_that_fails_late_says_so_on_the_page(admin_client, monkeypatch):
    """The page refreshes itself until the process has begun, or has written down why not."""
    monkeypatch.setattr("ingest.admin.loads.actions.start_resuming", lambda *_: Path("resume.log"))
    load = record_load(Transaction, status=Load.Status.FAILED, options={"given": __file__})
    shown = admin_client.post(address(load, "resume"), follow=True).content.decode()
    assert f'data-ingest-reload="{load.pk}"' in shown
    assert "Waiting" in shown
    note_failure(load.pk, "default", "The file is no longer the file that was loaded.")
    shown = admin_client.get(address(load)).content.decode()
    assert "The file is no longer the file that was loaded." in shown
    assert "data-ingest-reload" not in shown
    assert "../resume/" in shown


def test_the_page_of_a_load(admin_client):
    load = record_load(
        Transaction,
        TransactionFactory.create_batch(3),
        stages={"read": 1.0, "send": 2.0, "commit": 1.0},
        decisions=["Plain COPY: so few rows load no faster by any other way."],
        error="It went wrong.",
    )
    shown = admin_client.get(address(load)).content.decode()
    for want in (
        "Plain COPY: so few rows load no faster by any other way.",
        "It went wrong.",
        'aria-label="send 50%, commit 25%, read 25%"',
        '<rect class="ingest-colour-1" x="300.0" y="0" width="150.0" height="24">',
        f'href="{reverse("admin:finance_transaction_changelist")}?load={load.pk}"',
    ):
        assert want in shown


def test_there_is_no_link_to_rows_that_nobody_lists(admin_client):
    user_load = record_load(get_user_model())
    gone = record_load(Transaction, model="finance.Cheque")
    for load in (user_load, gone):
        assert "Rows of this load" not in admin_client.get(address(load)).content.decode()


def test_names_and_values_with_html_do_no_harm(admin_client):
    load = record_load(
        Transaction,
        source=NASTY,
        who=NASTY,
        error=NASTY,
        decisions=[NASTY],
        stages={NASTY: 1.0},
        model=NASTY,
        status=Load.Status.FAILED,
    )
    for name in ("source", "column", "field", "value", "reason", "constraint"):
        reject(load, **{name: NASTY})
    pages = [LIST, address(load), *(address(load, action) for action in ACTIONS)]
    for page in pages:
        shown = admin_client.get(page).content.decode()
        assert "<script>alert" not in shown
    assert admin_client.get(address(load)).content.decode().count(escape(NASTY)) > 8


def test_chunks_are_shown_page_by_page(admin_client):
    load = record_load(Transaction)
    for ordinal in range(2, 121):
        record_chunk(load, ordinal, inserted=ordinal, first_byte=ordinal * 10, last_byte=99)
    first = admin_client.get(address(load)).content.decode()
    assert "Page 1 of 3" in first
    assert "<td>120</td>" in first
    assert 'href="?chunks=2#ingest-chunks"' in first
    last = admin_client.get(address(load), {"chunks": 3}).content.decode()
    assert "<td>20</td>" in last
    assert "<td>120</td>" not in last


def test_rejects_are_filtered_and_paged(admin_client):
    load = record_load(Transaction)
    for number in range(120):
        reject(load, record=number, column="amount", value=f"value {number}")
    reject(load, column=None, kind="duplicate", value="whole")
    reject(load, column="-", kind="parse", value="dash")
    shown = admin_client.get(address(load)).content.decode()
    assert "Page 1 of 3" in shown
    for query, want in (
        ({"kind": "duplicate"}, {"whole"}),
        ({"column": "-"}, {"whole"}),
        ({"column": "column:-"}, {"dash"}),
        ({"column": "column:amount", "rejects": "3"}, {"value 119"}),
        ({"column": "column:amount", "kind": "parse"}, set()),
    ):
        shown = admin_client.get(address(load), query).content.decode()
        assert {it for it in ("whole", "dash", "value 119") if f">{it}</td>" in shown} == want
    assert 'href="?column=column%3Aamount&amp;rejects=2#ingest-rejects"' in admin_client.get(
        address(load), {"column": "column:amount"}
    ).content.decode().replace("&rejects", "&amp;rejects")


def test_rejects_are_downloaded_as_json_lines(admin_client):
    load = record_load(Transaction)
    reject(load, column="amount", value=NASTY, line=8)
    reject(load, kind="parse")
    response = admin_client.get(address(load, "rejects"), {"kind": "value"})
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="load-{load.pk}-rejects.jsonl"'
    )
    [line] = b"".join(response.streaming_content).decode().splitlines()
    assert json.loads(line) == {
        "source": "statement.csv",
        "record": 7,
        "column": "amount",
        "field": None,
        "value": NASTY,
        "reason": "Enter a date.",
        "kind": "value",
        "constraint": None,
        "line": 8,
    }


def test_the_refused_records_are_downloaded_while_the_file_is_as_the_load_left_it(
    admin_client, tmp_path
):
    path = tmp_path / "mend.csv"
    path.write_text("a,ingest_reasons\nx,no number\n")
    load = record_load(Transaction, reject_file=str(path))
    load.chunks.update(position={"marks": {"file": {"bytes": path.stat().st_size}}})
    assert "../reject-file/" in admin_client.get(address(load)).content.decode()
    response = admin_client.get(address(load, "reject_file"))
    assert b"".join(response.streaming_content) == path.read_bytes()
    assert f'filename="load-{load.pk}-reject-file.csv"' in response["Content-Disposition"]
    path.write_text("another file")
    assert "../reject-file/" not in admin_client.get(address(load)).content.decode()
    assert admin_client.get(address(load, "reject_file")).status_code == 404


def test_the_reject_log_is_downloaded(admin_client, tmp_path):
    path = tmp_path / "rejects.jsonl"
    line = json.dumps({"source": "a", "record": 1, "reason": "x", "kind": "value"}) + "\n"
    path.write_text(line * 3)
    load = record_load(Transaction, reject_log=str(path))
    assert "../reject-log/" in admin_client.get(address(load)).content.decode()
    response = admin_client.get(address(load, "reject_log"))
    assert b"".join(response.streaming_content).decode() == line * 3


def test_the_reject_log_of_another_load_is_not_given_away(admin_client, tmp_path):
    path, user = tmp_path / "rejects.jsonl", UserFactory().pk
    how = {"on_error": "reject", "reject_log": path, "overwrite": True}
    found = []
    for bad in ("first", "second"):
        rows = [
            {"user": user, "number": bad, "name": "n"},
            {"user": bad, "number": "x", "name": ""},
        ]
        found.append(load_rows(Account, rows, **how).load)
        response = admin_client.get(address(found[-1], "reject_log"))
        assert b"".join(response.streaming_content) == path.read_bytes()
    earlier, later = (admin_client.get(address(it)).content.decode() for it in found)
    assert ("../reject-log/" in earlier, "../reject-log/" in later) == (False, True)
    assert admin_client.get(address(found[0], "reject_log")).status_code == 404
    load_rows(Account, [{"user": user, "number": "third", "name": "n"}], **how)
    assert path.read_bytes() == b""
    assert admin_client.get(address(found[1], "reject_log")).status_code == 404


def test_the_log_of_a_load_that_failed_is_its_own_until_the_next(admin_client, tmp_path):
    path = tmp_path / "rejects.jsonl"
    path.write_text(json.dumps({"source": "a", "record": 1, "reason": "x", "kind": "value"}) + "\n")
    failed = record_load(Transaction, reject_log=str(path), status=Load.Status.FAILED)
    response = admin_client.get(address(failed, "reject_log"))
    assert b"".join(response.streaming_content) == path.read_bytes()
    record_load(Transaction, reject_log=str(path))
    assert admin_client.get(address(failed, "reject_log")).status_code == 404


@pytest.mark.parametrize("text", ["SECRET_KEY = 'x'\n", '{"password": "x"}\n', None])
def test_another_file_is_not_given_away(admin_client, tmp_path, text):
    path = tmp_path / "rejects.jsonl"
    if text is not None:
        path.write_text(text)
    load = record_load(Transaction, reject_log=str(path))
    assert "../reject-log/" not in admin_client.get(address(load)).content.decode()
    assert admin_client.get(address(load, "reject_log")).status_code == 404


def test_progress_is_told_as_json(admin_client, running):
    record_load(Transaction)
    progress = reverse("admin:ingest_load_progress")
    got = admin_client.get(progress, {"load": [running.pk, "x", "999999"]}).json()
    assert list(got) == [str(running.pk)]
    assert got[str(running.pk)]["isRunning"] is True
    assert got[str(running.pk)]["share"] == 0.25
    assert got[str(running.pk)]["texts"]["share"] == "25%"


def test_a_load_that_is_not_there(admin_client):
    load = record_load(Transaction)
    load.delete()
    load.pk = 12345
    for page in ("change", *ACTIONS, "rejects", "reject_file", "reject_log"):
        assert admin_client.get(address(load, page)).status_code == 404


def test_an_error_is_shown_to_those_who_may_see_rejects(admin_client):
    load = record_load(Transaction, status=Load.Status.FAILED, error="record 3: 'secret-4711'")
    reader = clerk("view_load")
    url = reverse("admin:ingest_load_changelist")
    assert "secret-4711" in admin_client.get(address(load)).content.decode()
    shown = reader.get(address(load)).content.decode()
    assert "secret-4711" not in shown
    assert "you need the permission to view rejects" in shown
    for lookup in ("error", "error__contains", "error__startswith", "error__regex"):
        assert admin_client.get(url, {lookup: "secret"}).status_code == 200
        assert reader.get(url, {lookup: "secret"}).status_code == 400


def test_what_a_failed_resume_said_is_shown_to_those_who_may_see_rejects(admin_client, monkeypatch):
    def fail(load, alias):
        raise NotResumed(load, "record 3: 'secret-4711'", Path("resume.log"))

    monkeypatch.setattr("ingest.admin.loads.actions.start_resuming", fail)
    load = record_load(Transaction, status=Load.Status.FAILED, options={"given": __file__})
    reader = clerk("view_load", "resume_load")
    shown = reader.post(address(load, "resume"), follow=True).content.decode()
    assert "secret-4711" not in shown
    assert "could not be resumed. The reason may contain rejected values" in shown
    shown = admin_client.post(address(load, "resume"), follow=True).content.decode()
    assert "secret-4711" in shown


@pytest.fixture
def sales(monkeypatch):
    """Let the transactions be in another schema's table; Django keeps its name in each field."""

    def forget():
        for field in Transaction._meta.concrete_fields:
            field.__dict__.pop("cached_col", None)

    forget()
    with monkeypatch.context() as patch:
        patch.setattr(Transaction._meta, "db_table", 'ods"."sales')
        yield
    forget()


def test_the_rows_of_a_load_into_a_schema_by_the_quotes_trick(admin_client, sales):
    account = AccountFactory()
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA ods")
        cursor.execute("CREATE TABLE ods.sales (LIKE finance_transaction INCLUDING ALL)")
    common = {"account": account.pk, "user": account.user_id, "tx_date": "2024-05-06"}
    TransactionFactory(account=account, description="not of the load")
    rows = [{**common, "amount": 1, "description": name} for name in ("one of it", "two of it")]
    ledger = load_rows(Transaction, rows).load
    link = f"{reverse('admin:finance_transaction_changelist')}?load={ledger.pk}"
    assert link in admin_client.get(address(ledger)).content.decode()
    shown = admin_client.get(link).content.decode()
    assert "one of it" in shown
    assert "two of it" in shown
    assert "not of the load" not in shown
    assert undo(ledger.pk).deleted == 2
    assert Transaction.objects.get().description == "not of the load"
