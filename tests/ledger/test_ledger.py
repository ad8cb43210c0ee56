"""The ledger: a load and its record stand or fall together."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection, transaction
from django.utils import timezone

from finance.models import Account, Transaction
from ingest import (
    IngestError,
    LedgerError,
    LoadCancelled,
    Outcome,
    RecordsRefused,
    ServerFailed,
    load,
    resume,
)
from ingest.ledger.entries import LedgerEntry
from ingest.ledger.locks import is_alive
from ingest.ledger.rows import text_of
from ingest.models import Chunk, KeyList, KeyRange, Load, Reject
from ingest.postgres.session import open_session
from ingest.sources import Position
from tests.end_to_end.contract.models.keys import UniversalKey
from tests.factories import AccountFactory, TransactionFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = "user,account,amount,tx_date,reference\n"


@pytest.fixture
def account():
    return AccountFactory()


@pytest.fixture
def file(tmp_path, account):
    def write(count, bad=()):
        amounts = ["x" if number in bad else number for number in range(1, count + 1)]
        lines = [
            f"{account.user_id},{account.pk},{amount},2025-01-01,R{number}\n"
            for number, amount in enumerate(amounts, 1)
        ]
        path = tmp_path / "rows.csv"
        path.write_text(HEADER + "".join(lines))
        return path

    return write


def references(rows=None):
    rows = Transaction.objects.all() if rows is None else rows
    return sorted(int(reference[1:]) for reference in rows.values_list("reference", flat=True))


def test_a_load_is_recorded_with_its_counts_and_stages(file):
    got = load(Transaction, file(10, bad={3}), on_error="reject", who="anna")
    [found] = Load.objects.all()
    assert got.load == found
    assert (found.model, found.status, found.who) == ("finance.Transaction", "loaded", "anna")
    assert (found.read, found.loaded, found.rejected, found.skipped) == (10, 9, 1, 0)
    assert found.table == '"public"."finance_transaction"'
    assert len(found.fingerprint) == 64
    assert found.ended_at is not None
    assert found.decisions == list(got.decisions)
    assert {"read", "convert", "encode", "send", "commit"} <= set(found.stages)
    assert set(got.stages) == set(found.stages)
    [chunk] = found.chunks.all()
    assert (chunk.ordinal, chunk.first_record, chunk.last_record, chunk.inserted) == (1, 1, 10, 9)
    [reject] = found.rejects.all()
    assert (reject.record, reject.line, reject.column, reject.value) == (3, 4, "amount", "x")


def test_the_rows_of_a_load_are_told_from_all_others(file):
    TransactionFactory(reference="R1000")
    first = load(Transaction, file(5))
    TransactionFactory(reference="R1001")
    second = load(Transaction, file(3), columns=None) if False else None
    assert second is None
    assert references(first.load.rows()) == [1, 2, 3, 4, 5]
    assert KeyRange.objects.count() == 1


def test_a_refused_duplicate_is_not_among_the_rows(account):
    AccountFactory(number="OLD")
    rows = [(account.user_id, number, "x") for number in ("A", "OLD", "B", "A")]
    got = load(Account, rows, columns=("user_id", "number", "name"), on_error="reject")
    assert sorted(got.load.rows().values_list("number", flat=True)) == ["A", "B"]


def test_given_keys_are_ranges_where_they_are_dense_and_lists_where_not(account):
    dense = [(number, account.user_id, f"D{number}", "x") for number in range(5000, 5100)]
    sparse = [(number, account.user_id, f"S{number}", "x") for number in range(9000, 99000, 900)]
    columns = ("id", "user_id", "number", "name")
    first, second = (load(Account, rows, columns=columns) for rows in (dense, sparse))
    assert list(KeyRange.objects.values_list("first", "last")) == [(5000, 5099)]
    assert [len(found.keys) for found in KeyList.objects.all()] == [100]
    assert first.load.rows().count() == second.load.rows().count() == 100
    assert set(second.load.rows().values_list("number", flat=True)) == {row[2] for row in sparse}


def test_keys_that_are_no_numbers():
    keys = [uuid.uuid4() for _ in range(20)]
    got = load(UniversalKey, [{"id": key} for key in keys[:10]])
    load(UniversalKey, [{"id": key} for key in keys[10:]])
    assert set(got.load.rows().values_list("pk", flat=True)) == set(keys[:10])


def test_inside_atomic_the_record_rolls_back_with_the_caller(file):
    path = file(5)
    with transaction.atomic():
        got = load(Transaction, path)
        assert references(got.load.rows()) == [1, 2, 3, 4, 5]
        transaction.set_rollback(True)
    assert (Load.objects.count(), Transaction.objects.count()) == (0, 0)


def test_a_load_that_fails_says_so(file):
    with pytest.raises(RecordsRefused):
        load(Transaction, file(5, bad={2}))
    [found] = Load.objects.all()
    assert found.status == "failed"
    assert "'x'" in found.error
    assert (found.loaded, Transaction.objects.count(), Chunk.objects.count()) == (0, 0, 0)
    assert not is_alive(found)


def test_a_dry_run_is_not_recorded_and_draws_no_keys(file):
    before = TransactionFactory(reference="R1000").pk
    got = load(Transaction, file(5), dry_run=True)
    assert (got.load, got.rows, Load.objects.count()) == (None, 5, 0)
    assert TransactionFactory(reference="R1001").pk == before + 1


def test_without_the_tables_a_load_works_and_says_that_it_is_not_recorded(file):
    path = file(5)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingest_keylist RENAME TO elsewhere")
    try:
        got = load(Transaction, path)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ingest_keylist")
    assert (got.load, got.rows) == (None, 5)
    assert got.decisions[0] == (
        "Not recorded: the ledger's tables, or columns of them, are not in this database. Add "
        "'ingest' to INSTALLED_APPS and run `python manage.py migrate ingest`."
    )


def test_a_ledger_that_lacks_a_migration_is_not_used(file):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingest_load RENAME COLUMN reasons TO elsewhere")
    try:
        got = load(Transaction, file(5))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE ingest_load RENAME COLUMN elsewhere TO reasons")
    assert (got.load, got.rows) == (None, 5)
    assert got.decisions[0].startswith("Not recorded: ")


def test_a_chunked_load_that_is_not_recorded_says_what_is_in(file):
    path = file(10, bad={6})
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingest_keylist RENAME TO elsewhere")
    try:
        with pytest.raises(RecordsRefused) as caught:
            load(Transaction, path, chunk_rows=4)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ingest_keylist")
    assert "\n4 rows of earlier chunks are committed." in str(caught.value)
    assert caught.value.outcome is Outcome.CHUNKS
    assert references() == [1, 2, 3, 4]


def test_chunks_are_committed_one_by_one(file):
    got = load(Transaction, file(10), chunk_rows=4)
    assert (got.rows, got.read) == (10, 10)
    found = list(got.load.chunks.values_list("ordinal", "first_record", "last_record", "inserted"))
    assert found == [(1, 1, 4, 4), (2, 5, 8, 4), (3, 9, 10, 2)]
    ends = list(got.load.chunks.values_list("first_byte", "last_byte"))
    assert ends[0][0] == 0
    assert [first for first, _ in ends[1:]] == [last for _, last in ends[:-1]]
    assert all(len(chunk.fingerprint) == 64 for chunk in got.load.chunks.all())


def test_a_number_of_records_that_is_a_multiple_of_the_chunks(file):
    got = load(Transaction, file(8), chunk_rows=4)
    assert [chunk.inserted for chunk in got.load.chunks.all()] == [4, 4]


def test_a_failed_load_goes_on_after_its_last_chunk(file, tmp_path):
    path = file(10, bad={6})
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, path, chunk_rows=4)
    [found] = Load.objects.all()
    said = (
        f"4 rows of earlier chunks are committed: continue with `bulk_load --resume {found.pk}`, "
        f"or delete them with `bulk_load --undo {found.pk}`."
    )
    assert said in str(caught.value)
    assert caught.value.outcome is Outcome.CHUNKS
    assert references() == [1, 2, 3, 4]
    path.write_text(path.read_text().replace(",x,", ",6,"))
    with pytest.raises(LedgerError) as refused:
        resume(found.pk)
    assert str(refused.value).startswith(
        f"Load {found.pk} cannot be resumed: {path} is no longer the file that was loaded; it was "
        "changed after the records that are in."
    )
    path.write_text(path.read_text().replace(",6,", ",x,"))
    with pytest.raises(RecordsRefused):
        resume(found.pk)
    assert references() == [1, 2, 3, 4]


def test_rejects_go_on_with_the_load(file, tmp_path, monkeypatch):
    path, log = file(12, bad={2, 6, 11}), tmp_path / "rejects.jsonl"
    seen = []

    def stop(progress):
        seen.append(progress.rows)
        if progress.rows > 8:
            raise KeyboardInterrupt

    mended = tmp_path / "mend.csv"
    options = {"chunk_rows": 4, "on_error": "reject", "reject_log": log, "reject_file": mended}
    with pytest.raises(KeyboardInterrupt):
        load(Transaction, path, progress=stop, **options)
    [found] = Load.objects.all()
    assert (found.status, found.loaded, found.rejected) == ("interrupted", 6, 2)
    got = resume(found.pk)
    assert (got.read, got.rows, got.rejected) == (12, 9, 3)
    assert references() == [1, 3, 4, 5, 7, 8, 9, 10, 12]
    assert [reject.record for reject in got.rejects] == [2, 6, 11]
    assert len(log.read_text().splitlines()) == 3
    assert len(mended.read_text().splitlines()) == 4
    assert list(Reject.objects.values_list("record", flat=True)) == [2, 6, 11]
    assert references(got.load.rows()) == references()
    with pytest.raises(LedgerError) as caught:
        resume(found.pk)
    assert str(caught.value) == f"Load {found.pk} is loaded: there is nothing to resume."


def test_a_reject_file_that_is_gone_when_the_load_goes_on(file, tmp_path):
    def stop(progress):
        if progress.rows > 8:
            raise KeyboardInterrupt

    mended = tmp_path / "mend.csv"
    options = {"chunk_rows": 4, "on_error": "reject", "reject_file": mended}
    with pytest.raises(KeyboardInterrupt):
        load(Transaction, file(12, bad={2}), progress=stop, **options)
    mended.unlink()
    with pytest.raises(IngestError) as caught:
        resume(Load.objects.get().pk)
    assert str(caught.value) == (
        f"The reject file {str(mended)!r}, which this load has begun, is gone: restore it, or "
        "undo the load and load again."
    )


def test_what_fails_after_the_commit_says_that_the_rows_are_in(file, monkeypatch):
    def fail(*_arguments):
        raise ServerFailed("PostgreSQL could not continue: it is tired.")

    monkeypatch.setattr("ingest.loading.loader.needs_analyze", lambda *_: True)
    monkeypatch.setattr("ingest.loading.loader.analyze", fail)
    with pytest.raises(ServerFailed) as caught:
        load(Transaction, file(60))
    assert str(caught.value) == (
        "PostgreSQL could not continue: it is tired. All 60 rows are loaded: only a later step "
        "failed."
    )
    assert caught.value.outcome is Outcome.ALL
    assert (Load.objects.get().status, Transaction.objects.count()) == ("loaded", 60)


def test_the_same_command_again_goes_on(file):
    path = file(10)

    def stop(progress):
        if progress.rows > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Transaction, path, progress=stop, chunk_rows=4, resumable=True)
    with pytest.raises(LedgerError, match="was begun with another chunk_rows: continue with"):
        load(Transaction, path, chunk_rows=5, resumable=True)
    got = load(Transaction, path, chunk_rows=4, resumable=True)
    assert (got.rows, references()) == (10, list(range(1, 11)))
    assert Load.objects.count() == 1
    assert got.decisions[0] == f"Continued load {got.load.pk}, which was not finished."
    assert load(Account, [], resumable=True).rows == 0


def test_an_iterable_cannot_go_on(account):
    rows = [(account.user_id, account.pk, "x", "2025-01-01")]
    columns = ("user_id", "account_id", "amount", "tx_date")
    with pytest.raises(RecordsRefused):
        load(Transaction, rows, columns=columns, chunk_rows=4)
    with pytest.raises(LedgerError) as caught:
        resume(Load.objects.get().pk)
    number = Load.objects.get().pk
    assert str(caught.value) == (
        f"Load {number} cannot be resumed: list can be read only once: undo it with "
        f"`bulk_load --undo {number}`, and load again from a file."
    )


def test_a_number_that_no_load_has():
    with pytest.raises(LedgerError) as caught:
        resume(4711)
    assert str(caught.value) == "There is no load 4711 in the ledger of 'default'."


def test_two_processes_at_one_load(file, monkeypatch):
    monkeypatch.setattr("ingest.ledger.locks.PATIENCE_SECONDS", 0.2)
    path = file(10)
    refused = []

    def other(progress):
        if progress.rows > 4 and not refused:
            with pytest.raises(LedgerError) as caught:
                resume(Load.objects.get().pk)
            assert is_alive(Load.objects.get())
            refused.append(str(caught.value))

    got = load(Transaction, path, progress=other, chunk_rows=4)
    assert refused == [
        f"Another process is at work on load {got.load.pk}: wait for its end, or cancel it."
    ]
    assert references() == list(range(1, 11))


def test_a_chunk_that_another_process_has_committed(file):
    """As may happen behind a pooler in transaction mode, where no lock outlives a transaction."""

    def other(progress):
        if progress.rows > 4 and not Chunk.objects.filter(ordinal=3).exists():
            _commit_chunk(Load.objects.get(), 3)

    with pytest.raises(LedgerError, match=r"Another process is at work on load \d+: wait for its"):
        load(Transaction, file(12), progress=other, chunk_rows=4)
    assert references() == list(range(1, 9))


def test_a_chunk_that_is_committed_meanwhile(file, monkeypatch):
    """Chunks and position are those of one moment, so that a resume leaves nothing out."""
    found = load(Transaction, file(10), chunk_rows=4).load
    Load.objects.update(status="interrupted")
    with open_session("default") as session:
        fetch = session.fetch

        def fetch_before_a_commit(*arguments):
            got = fetch(*arguments)
            _commit_chunk(found, Chunk.objects.count() + 1)
            return got

        monkeypatch.setattr(session, "fetch", fetch_before_a_commit)
        with session.transaction():
            settled = LedgerEntry(found, "default").settle(session)
    last = Chunk.objects.get(ordinal=settled.chunks)
    assert settled.position == Position(**last.position["source"])


def _commit_chunk(found, ordinal):
    Chunk.objects.create(
        load=found, ordinal=ordinal, first_record=4 * ordinal - 3, last_record=4 * ordinal,
        inserted=0, committed_at=timezone.now(), position={"source": {"record": 4 * ordinal}},
    )  # fmt: skip


def test_a_cancelled_load_ends_and_can_go_on(file, monkeypatch):
    monkeypatch.setattr("ingest.loading.progress.SECONDS_BETWEEN_NOTES", 0)

    def cancel(progress):
        if progress.rows > 4:
            Load.objects.update(is_cancel_asked=True)

    with pytest.raises(LoadCancelled):
        load(Transaction, file(10), progress=cancel, chunk_rows=4)
    found = Load.objects.get()
    assert (found.status, found.loaded, references()) == ("interrupted", 4, [1, 2, 3, 4])
    assert resume(found.pk).rows == 10
    assert UserFactory().pk


def test_what_fails_after_the_commit_does_not_make_the_load_look_failed(file, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ingest.loading.loader.needs_analyze", lambda *_: True)
    monkeypatch.setattr("ingest.loading.loader.analyze", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        load(Transaction, file(60))
    assert str(caught.value) == "All 60 rows are loaded: only a later step failed."
    assert Load.objects.get().status == "loaded"
    assert Transaction.objects.count() == 60


def test_a_key_of_an_earlier_chunk_is_not_told_as_the_tables_own(account):
    rows = [(account.user_id, number, "x") for number in ("A", "B", "C", "A")]
    columns = ("user_id", "number", "name")
    got = load(Account, rows, columns=columns, chunk_rows=2, on_error="reject")
    [reject] = got.rejects
    assert reject.reason.endswith(
        "The table has this key from before the load, or from an earlier chunk."
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\0b", "a\u2400b"),
        ("\0\0", "\u2400\u2400"),
        ("C:\\u0000", "C:\\u0000"),
        ("\\\0", "\\\u2400"),
        ("\\\\u0000\0", "\\\\u0000\u2400"),
        ("\ud800", "\ufffd"),
    ],
)
def test_only_what_jsonb_cannot_store_is_replaced(given, kept):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb", [text_of({given: [given]})])
        assert json.loads(cursor.fetchone()[0]) == {kept: [kept]}
