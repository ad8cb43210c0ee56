"""What became of the records: counted, kept, migrated and told."""

import io
import json

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse
from django.utils import timezone

from finance.models import Transaction
from ingest.ledger.entries import LedgerEntry
from ingest.management.display import ProgressDisplay
from ingest.models import Load, LoadProgress
from ingest.postgres.session import open_session
from ingest.results import Counts, Progress
from tests.ledger.recorded_loads import record_chunk, record_load

pytestmark = pytest.mark.django_db

MIXED = {"inserted": 100, "updated": 50, "unchanged": 40, "ignored": 3, "deleted": 7}


def test_counts_add_up():
    counts = Counts(read=203, rejected=4, skipped=6, **MIXED)
    assert counts.add_up
    assert counts.loaded == 150
    assert (counts + counts).add_up
    assert counts - counts == Counts()
    for name in ("read", "inserted", "updated", "unchanged", "ignored", "rejected", "skipped"):
        assert not (counts + Counts(**{name: 1})).add_up
    for name in ("deleted", "padded", "cut"):
        assert (counts + Counts(**{name: 1})).add_up


def test_what_chunks_have_committed_is_read_again():
    load = record_load(Transaction, status=Load.Status.FAILED)
    for ordinal in (2, 3):
        record_chunk(load, ordinal, rejected=4, skipped=6, padded=2, cut=1, **MIXED)
    with open_session("default") as session:
        got = LedgerEntry(load, "default").settle(session).counts
    once = Counts(read=203, rejected=4, skipped=6, padded=2, cut=1, **MIXED)
    assert got == once + once


def test_a_running_load_shows_all_its_counts(admin_client):
    load = record_load(Transaction, status=Load.Status.RUNNING)
    LoadProgress.objects.create(load=load, seen_at=timezone.now(), read=203, skipped=6, **MIXED)
    got = Load.objects.get()
    assert {name: getattr(got, name) for name in MIXED} == MIXED
    assert (got.read, got.loaded, got.skipped) == (203, 150, 6)
    address = f"{reverse('admin:ingest_load_progress')}?load={load.pk}"
    texts = admin_client.get(address).json()[str(load.pk)]["texts"]
    want = "100 inserted, 50 updated, 40 unchanged, 3 ignored, 7 deleted"
    assert (texts["loaded"], texts["details"]) == ("150", want)


def test_the_admin_shows_what_became_of_the_records(admin_client):
    load = record_load(Transaction, read=200, inserted=100, updated=60, unchanged=40)
    want = "100 inserted, 60 updated, 40 unchanged"
    page = admin_client.get(reverse("admin:ingest_load_change", args=[load.pk]))
    assert f"<dd>200 read, {want}, 0 rejected, 0 skipped</dd>" in page.content.decode()
    listed = reverse("admin:ingest_load_changelist")
    assert f'160<br><span class="quiet">{want}</span>' in admin_client.get(listed).content.decode()
    record_load(Transaction, inserted=161)
    column = admin_client.get(listed).content.decode().count("sortable column-loaded_rows")
    assert column == 1
    ordered = admin_client.get(f"{listed}?o=-5").context["cl"].queryset
    assert [it.loaded for it in ordered] == [161, 160]


def test_list_has_a_column_for_each_count_that_some_load_has():
    record_load(Transaction, inserted=1, updated=2, read=3)
    record_load(Transaction, inserted=4, deleted=5, read=4)
    out = io.StringIO()
    call_command("bulk_load", "--list", stdout=out)
    head, *lines = [line.split()[-5:] for line in out.getvalue().splitlines()]
    assert head == ["rows", "inserted", "updated", "deleted", "rejects"]
    assert lines == [["4", "4", "0", "5", "0"], ["3", "1", "2", "0", "0"]]


def test_progress_as_json_has_all_counts():
    out = io.StringIO()
    out.isatty = lambda: False
    counts = Counts(read=203, rejected=4, skipped=6, **MIXED)
    with ProgressDisplay("json", OutputLines(out), "title") as display:
        display(Progress(counts=counts, bytes_read=1, bytes_total=None))
    got = json.loads(out.getvalue())
    del got["rows_per_second"]
    want = {"rows": 203, "rejected": 4, "skipped": 6, "bytes_read": 1, "bytes_total": None}
    assert got == {**want, **MIXED}


class OutputLines:
    """The stream of a command, as far as the display needs one."""

    def __init__(self, out):
        self._out = out

    def write(self, line, style_func=None):  # noqa: ARG002 - Django's signature
        self._out.write(f"{line}\n")

    def flush(self):
        self._out.flush()


def test_loads_of_the_ledger_before_the_counts_are_kept():
    executor = MigrationExecutor(connection)
    old = executor.migrate([("ingest", "0006_reasons")]).apps
    load = old.get_model("ingest.Load").objects.create(
        model="finance.Transaction",
        table="t",
        source="s",
        started_at=timezone.now(),
        loaded=5,
        status="loaded",
    )
    old.get_model("ingest.Chunk").objects.create(
        load=load, ordinal=1, first_record=1, last_record=5, rows=5, committed_at=timezone.now()
    )
    old.get_model("ingest.LoadProgress").objects.create(load=load, seen_at=timezone.now(), loaded=4)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    got = Load.objects.get(pk=load.pk)
    chunk, progress = got.chunks.get(), got.progress
    assert [it.inserted for it in (got, chunk, progress)] == [5, 5, 4]
    assert [it.loaded for it in (got, chunk, progress)] == [5, 5, 4]
    assert [getattr(got, name) for name in MIXED if name != "inserted"] == [0, 0, 0, 0]
