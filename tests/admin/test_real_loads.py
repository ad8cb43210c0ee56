"""Real loads, cancelled, resumed and undone from the admin."""

import os
import subprocess
import sys
import tempfile

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.urls import reverse

from finance.models import Transaction
from ingest import load
from ingest.admin.loads import resuming
from ingest.ledger.locks import is_alive
from ingest.models import Load
from tests.factories import AccountFactory, TransactionFactory
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.signals import answer_to_signals

RECORDS = 150_000

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(client):
    client.force_login(get_user_model().objects.create_superuser("root"))

    def page(number, name="change"):
        return reverse(f"admin:ingest_load_{name}", args=[number])

    return page


@pytest.fixture
def statement(tmp_path):
    account = AccountFactory()
    path = tmp_path / "statement.csv"
    lines = [
        f"{account.user_id},{account.pk},{n}.00,2025-01-{1 + n % 28:02},row {n}\n"
        for n in range(RECORDS)
    ]
    path.write_text("user,account,amount,tx_date,description\n" + "".join(lines))
    return path


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Let the processes that are started find the tests' database."""
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings.development")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return os.environ


def status():
    return Load.objects.values_list("status", flat=True).first()


def test_a_load_is_cancelled_and_resumed_and_undone(client, page, statement, environment):
    before = TransactionFactory(description="before")
    command = [sys.executable, "-m", "django", "bulk_load", "finance.Transaction", str(statement)]
    process = subprocess.Popen(
        [*command, "--chunk-rows", "10000"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=answer_to_signals,
    )
    wait_until(lambda: Load.objects.filter(chunks__isnull=False).exists())
    number = Load.objects.get().pk
    assert "It is running" in client.post(page(number, "undo")).content.decode()
    assert client.post(page(number, "cancel")).status_code == 302
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode != 0, status()) == (True, Load.Status.INTERRUPTED), said
    rows = Transaction.objects.count() - 1
    assert 0 < rows < RECORDS
    assert f"after the {rows:,} rows" in client.get(page(number, "resume")).content.decode()
    response = client.post(page(number, "resume"), follow=True)
    assert "in a separate process" in response.content.decode()
    wait_until(lambda: status() == Load.Status.LOADED and not is_alive(Load.objects.get()))
    assert Load.objects.get().rows().count() == RECORDS
    assert len(set(Transaction.objects.values_list("description", flat=True))) == RECORDS + 1
    client.post(page(number, "undo"))
    assert list(Transaction.objects.all()) == [before]


def test_a_resume_that_fails_says_why(client, page, statement, environment, monkeypatch):
    monkeypatch.setattr(resuming, "STARTING_SECONDS", PATIENCE_SECONDS)  # on a busy machine
    rows = statement.read_text()
    statement.write_text(rows + "x\n")
    with pytest.raises(Exception, match="record 150,001"):
        load(Transaction, statement, chunk_rows=50_000)
    statement.write_text(rows.replace("row 7\n", "row 8\n"))
    number = Load.objects.get().pk
    said = client.post(page(number, "resume"), follow=True).content.decode()
    assert f"Load {number} could not be resumed:" in said
    assert "is no longer the file that was loaded" in said
    assert status() == Load.Status.FAILED
    assert "is no longer the file that was loaded" in Load.objects.get().error


def test_the_page_of_a_real_load(client, page, statement):
    result = load(Transaction, statement, who="berta", chunk_rows=100_000)
    shown = client.get(page(result.load.pk)).content.decode()
    for want in (
        "berta",
        "150,000",
        "1 to 100000",
        'class="ingest-colour-0"',
        result.load.fingerprint,
        *(decision.split(":")[0] for decision in result.decisions),
    ):
        assert want in shown
    listed = client.get(reverse("admin:finance_transaction_changelist"), {"load": result.load.pk})
    assert listed.context_data["cl"].open_page is not None


def test_undo_restores_what_an_upsert_changed(client, page):
    row = TransactionFactory(reference="R1", amount=1)
    facts = {"user": row.user_id, "account": row.account_id, "tx_date": "2025-01-01"}
    records = [{**facts, "amount": 2, "reference": name} for name in ("R1", "R2")]
    how = {"on_conflict": "upsert", "keep_old": True}
    got = load(Transaction, records, **how).load
    shown = client.get(page(got.pk, "undo")).content.decode()
    assert "Delete 1 row, restore 1 row of finance.Transaction, as they were before list?" in shown
    assert "<dt>To restore</dt><dd>1 of 1 that it updated</dd>" in shown
    want = f"Load {got.pk} is undone: 1 row deleted, 1 restored."
    assert want in client.post(page(got.pk, "undo"), follow=True).content.decode()
    assert [it.amount for it in Transaction.objects.all()] == [1]
    again = load(Transaction, records, on_conflict="upsert").load
    assert "did not keep what it was" in client.get(page(again.pk, "undo")).content.decode()
