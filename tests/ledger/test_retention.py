"""Old loads are forgotten, with everything that the ledger has of them, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from finance.models import Account
from ingest import LedgerError, TooManyRejects, load, resume
from ingest.exceptions import ConfigurationError
from ingest.ledger.locks import keep_still
from ingest.ledger.retention import forget_loads
from ingest.ledger.undo import undo
from ingest.models import (
    Chunk,
    KeyList,
    KeyRange,
    Load,
    LoadProgress,
    OldRows,
    PendingRejects,
    Reject,
    SeenKeys,
    Upload,
)
from tests.factories import UserFactory
from tests.ledger.recorded_loads import record_chunk, record_load

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = timedelta(days=90)
LONG_AGO = timezone.now() - timedelta(days=91)
NOT_LONG_AGO = timezone.now() - timedelta(days=89)
CHUNKS = (KeyRange, KeyList, OldRows, SeenKeys, PendingRejects)


@pytest.fixture
def path(tmp_path):
    path, user = tmp_path / "rows.csv", UserFactory()
    path.write_text(
        "user,number,name\n" + "".join(f"{user.pk},N{number},x\n" for number in range(10))
    )
    return path


def age(number, **facts):
    Load.objects.filter(pk=number).update(**{"ended_at": LONG_AGO, "seen_at": LONG_AGO, **facts})


def old(**facts):
    """Record a load of the ledger alone that began and ended long ago."""
    return record_load(Account, **{"started_at": LONG_AGO, "ended_at": LONG_AGO, **facts})


def test_everything_of_old_loads_is_deleted_and_nothing_of_others(path):
    kept = load(Account, path, on_error="reject")
    again = {"on_conflict": "upsert", "key": "number", "keep_old": True}
    path.write_text(path.read_text().replace(",x", ",y") + "0,N99,\n")
    changed = load(Account, path, on_error="reject", chunk_rows=4, **again)
    assert (changed.updated, changed.rejected) == (10, 1)
    age(changed.load.pk)
    other = old()
    LoadProgress.objects.create(load=other, seen_at=LONG_AGO)
    chunk = other.chunks.get()
    KeyList.objects.create(chunk=chunk, keys=["1"])
    SeenKeys.objects.create(chunk=chunk, sources=[], rows=[])
    owner = UserFactory(username="owner")
    upload = Upload.objects.create(
        owner=owner, model="finance.Account", name="x", size=1, digest="x", load=other
    )
    assert OldRows.objects.exists()
    got = forget_loads(DAYS)
    assert (got.loads, got.undoable, got.unfinished, got.at_work) == (2, 2, 0, 0)
    assert list(Load.objects.all()) == [kept.load]
    for model in (*CHUNKS, Chunk):
        of = "load" if model is Chunk else "chunk__load"
        assert set(model.objects.values_list(of, flat=True)) <= {kept.load.pk}
    assert not Reject.objects.exists()
    assert not LoadProgress.objects.exclude(load=kept.load).exists()
    upload.refresh_from_db()
    assert upload.load is None
    assert Account.objects.filter(name="y").count() == 10
    with pytest.raises(LedgerError, match="There is no load"):
        undo(changed.load.pk)


@pytest.mark.parametrize(
    ("facts", "has_chunk", "is_forgotten"),
    [
        ({"status": "loaded"}, True, True),
        ({"status": "undone"}, True, True),
        ({"status": "failed"}, False, True),
        ({"status": "interrupted"}, False, True),
        ({"status": "failed"}, True, False),
        ({"status": "interrupted"}, True, False),
        ({"status": "running", "ended_at": None, "seen_at": LONG_AGO}, True, False),
        ({"status": "waiting", "ended_at": None}, False, False),
        ({"status": "draft", "ended_at": None}, False, False),
        ({"status": "loaded", "ended_at": NOT_LONG_AGO}, True, None),
        ({"status": "failed", "ended_at": None, "seen_at": NOT_LONG_AGO}, False, None),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_which_loads_are_old_and_over(facts, has_chunk, is_forgotten, dry_run):
    found = old(**facts)
    if not has_chunk:
        found.chunks.all().delete()
    got = forget_loads(DAYS, dry_run=dry_run)
    assert (got.loads, got.unfinished) == (is_forgotten is True, is_forgotten is False)
    assert Load.objects.exists() is (dry_run or not is_forgotten)


def test_rejects_that_are_not_yet_written_keep_a_load():
    chunk = record_chunk(old(), 2)
    PendingRejects.objects.create(chunk=chunk, log=b"", records=b"")
    assert forget_loads(DAYS).unfinished == 1
    assert PendingRejects.objects.exists()


def test_an_undone_load_keeps_nothing_that_only_a_resumed_one_needs():
    found = old()
    for chunk in (found.chunks.get(), record_chunk(found, 2)):
        PendingRejects.objects.create(chunk=chunk, log=b"", records=b"")
        SeenKeys.objects.create(chunk=chunk, sources=[], rows=[])
    undo(found.pk)
    assert not PendingRejects.objects.exists()
    assert not SeenKeys.objects.exists()
    Load.objects.update(ended_at=LONG_AGO)
    assert (forget_loads(DAYS).loads, Load.objects.exists()) == (1, False)


def test_an_undone_load_of_an_earlier_version_is_forgotten_with_its_pending_rejects():
    chunk = record_chunk(old(status="undone"), 2)
    PendingRejects.objects.create(chunk=chunk, log=b"", records=b"")
    assert forget_loads(DAYS).loads == 1
    assert not PendingRejects.objects.exists()


def test_many_loads_are_forgotten_in_pieces(monkeypatch):
    monkeypatch.setattr("ingest.ledger.retention.LOADS_AT_A_TIME", 2)
    for status in ("loaded", "running", "loaded", "loaded", "failed", "loaded"):
        old(status=status)
    assert str(forget_loads(DAYS, dry_run=True)).startswith("Would forget 4 loads that ended")
    assert forget_loads(DAYS).loads == 4
    assert set(Load.objects.values_list("status", flat=True)) == {"running", "failed"}


@pytest.fixture
def elsewhere():
    """Lend a second connection to the same database."""
    other = connection.copy()
    connections["elsewhere"] = other
    yield other
    other.close()
    del connections["elsewhere"]


def test_a_load_that_somebody_is_at_work_on_is_kept(elsewhere):
    busy, locked, idle = old(status="loaded"), old(status="loaded"), old(status="loaded")
    with transaction.atomic("elsewhere"):
        busy._state.db = "elsewhere"
        assert keep_still(busy)  # as an undo does
        list(Load.objects.using("elsewhere").select_for_update().filter(pk=locked.pk))
        got = forget_loads(DAYS)
    assert (got.loads, got.at_work) == (1, 2)
    assert set(Load.objects.values_list("pk", flat=True)) == {busy.pk, locked.pk}
    assert idle.pk not in Load.objects.values_list("pk", flat=True)
    assert forget_loads(DAYS).loads == 2


def test_a_resume_finds_its_load_forgotten(path, monkeypatch):
    bad = path.with_name("bad.csv")
    bad.write_text("user,number,name\n0,A,x\n0,B,x\n")
    with pytest.raises(TooManyRejects):
        load(Account, bad, on_error="reject", reject_limit=1, resumable=True)
    found = Load.objects.get()
    age(found.pk)
    look = "ingest.loading.api.check_same"

    def forget(*_):
        assert forget_loads(DAYS).loads == 1

    monkeypatch.setattr(look, forget)  # between finding the load and locking it
    with pytest.raises(LedgerError, match=f"Load {found.pk} is no longer in the ledger"):
        resume(found.pk)


def test_a_role_that_may_not_delete(path):
    old()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE reader")
        cursor.execute("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO reader")
        cursor.execute("SET ROLE reader")
        try:
            with pytest.raises(LedgerError, match="could not be changed: permission denied"):
                forget_loads(DAYS)
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY reader")
            cursor.execute("DROP ROLE reader")
    assert Load.objects.count() == 1


def test_the_command(path, capsys):
    got = load(Account, path)
    age(got.load.pk)
    stopped = old(status="failed")
    before = timezone.now() - DAYS
    call_command("bulk_load", "--forget-loads", "--older-than", "90d", "--dry-run")
    out = capsys.readouterr().out
    assert out.startswith("Would forget 1 load that ended before ")
    assert out.endswith(
        "1 load of these could no longer be undone, and their files are new to --on-repeat; the "
        "rows stay in their tables. Kept 1 load not finished: resume or undo them first.\n"
    )
    assert Load.objects.count() == 2
    call_command("bulk_load", "--forget-loads", "--older-than", "90d")
    assert f"Forgot 1 load that ended before {before:%Y-%m-%d}" in capsys.readouterr().out
    assert list(Load.objects.all()) == [stopped]
    call_command(
        "bulk_load",
        "finance.Account",
        str(path),
        "--on-repeat",
        "refuse",
        "--dry-run",
        "--on-conflict",
        "ignore",
        "--key",
        "number",
    )
    with pytest.raises(CommandError, match="is not an age"):
        call_command("bulk_load", "--forget-loads", "--older-than", "0d")
    with pytest.raises(ConfigurationError, match="it must be more than nothing"):
        forget_loads(timedelta(0))
