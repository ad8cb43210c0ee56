"""Loads at the isolation levels REPEATABLE READ and SERIALIZABLE, recorded with live progress."""

from __future__ import annotations

import copy

import pytest
from django.db import connections, transaction
from psycopg import IsolationLevel

from finance.models import Transaction
from ingest import LoadCancelled, load, resume
from ingest.models import Load
from tests.loading.stored import references

pytestmark = pytest.mark.django_db(transaction=True)

LEVELS = [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]


@pytest.fixture(params=LEVELS, ids=lambda level: level.name)
def level(request, settings):
    """Let the default database, and the processes of workers, use an isolation level."""
    wrapper = connections["default"]
    before = wrapper.settings_dict["OPTIONS"]
    wrapper.close()
    wrapper.settings_dict["OPTIONS"] = {**copy.copy(before), "isolation_level": request.param}
    wrapper.__dict__.pop("isolation_level", None)
    yield request.param
    wrapper.close()
    wrapper.settings_dict["OPTIONS"] = before
    wrapper.__dict__.pop("isolation_level", None)


@pytest.fixture(autouse=True)
def _notes(monkeypatch):
    monkeypatch.setattr("ingest.loading.progress.SECONDS_BETWEEN_NOTES", 0)


def no_second_try(result):
    return not any(decision.startswith("Tried again") for decision in result.decisions)


@pytest.mark.parametrize(("count", "chunk_rows"), [(100_000, None), (30, 7)])
def test_a_load_shows_its_progress_and_succeeds(level, file, count, chunk_rows):
    seen = []

    def watch(progress):
        running = Load.objects.get()
        seen.append((running.status, running.read, progress.rows))

    got = load(Transaction, file(count), progress=watch, chunk_rows=chunk_rows)
    assert no_second_try(got)
    assert len(seen) > 1
    assert {status for status, _, _ in seen} == {"running"}
    # The ledger is told after the caller: it has what the caller was told before.
    assert [read for _, read, _ in seen[1:]] == [rows for _, _, rows in seen[:-1]]
    assert references() == list(range(1, count + 1))
    assert (got.load.status, got.load.read, got.load.loaded) == ("loaded", count, count)


def test_inside_atomic(level, file):
    with transaction.atomic():
        got = load(Transaction, file(10))
    assert references() == list(range(1, 11))
    assert Load.objects.get().status == "loaded"
    assert got.driver == "psycopg"


def test_workers_share_a_load_but_at_serializable(level, file):
    got = load(
        Transaction, file(300, bad={3, 150, 290}), workers=2, chunk_rows=20, on_error="reject"
    )
    assert references() == [number for number in range(1, 301) if number not in {3, 150, 290}]
    assert [reject.record for reject in got.rejects] == [3, 150, 290]
    assert got.load.rejects.count() == 3
    is_serializable = level is IsolationLevel.SERIALIZABLE
    assert is_serializable is any(
        decision == "One worker, because at the isolation level SERIALIZABLE each chunk would be "
        "refused for the one before."
        for decision in got.decisions
    )


def test_the_ledger_keeps_no_more_rejects_of_workers_than_it_may(level, file, settings):
    settings.INGEST = {**settings.INGEST, "REJECTS_KEPT": 4}
    got = load(Transaction, file(100, bad=range(1, 11)), workers=1, chunk_rows=4, on_error="reject")
    assert got.load.rejects.count() == 4


def test_a_cancelled_load_ends_and_can_go_on(level, file):
    def cancel(progress):
        if progress.rows > 4:
            Load.objects.update(is_cancel_asked=True)

    with pytest.raises(LoadCancelled):
        load(Transaction, file(10), progress=cancel, chunk_rows=4)
    found = Load.objects.get()
    assert (found.status, found.loaded, references()) == ("interrupted", 4, [1, 2, 3, 4])
    assert resume(found.pk).rows == 10
    assert references() == list(range(1, 11))


def test_a_cancel_that_no_batch_is_left_to_notice(level, file, monkeypatch):
    """It is the load's own row that was updated: the COMMIT is refused, and nothing is loaded."""
    monkeypatch.setattr("ingest.loading.progress.SECONDS_BETWEEN_NOTES", 1_000)

    def cancel(progress):
        Load.objects.update(is_cancel_asked=True)

    with pytest.raises(LoadCancelled):
        load(Transaction, file(10), progress=cancel)
    assert Load.objects.get().status == "interrupted"
    assert references() == []
