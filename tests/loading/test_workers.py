"""Several workers: the same rows, rejects and record as one worker, whatever happens to them."""

from __future__ import annotations

import signal

import psutil
import pytest
from django.db import connection

from finance.models import Account, Transaction
from ingest import IngestError, RecordsRefused, ServerFailed, load, resume
from ingest.loading.workers.chunk import describe, error_of
from ingest.models import Load
from ingest.postgres.errors import is_passing

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = "user,account,amount,tx_date,reference,description\n"


@pytest.fixture
def file(tmp_path, account):
    def write(count, *, bad=(), same=(), text="x"):
        path = tmp_path / "rows.csv"
        with path.open("w") as out:
            out.write(HEADER)
            for number in range(1, count + 1):
                amount = "x" if number in bad else number
                reference = f"R{dict(same).get(number, number)}"
                out.write(
                    f'{account.user_id},{account.pk},{amount},2025-01-01,{reference},"{text}"\n'
                )
        return path

    return write


def contents():
    return list(Transaction.objects.order_by("pk").values_list("reference", "amount"))


def told(result):
    return [(reject.record, reject.line, reject.reason, reject.kind) for reject in result.rejects]


def workers():
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and any("spawn_main" in part for part in child.cmdline())
    ]


def load_both_ways(path, tmp_path, **options):
    """Load by one worker, note what came of it, take it away, and load by two."""
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    one = load(Transaction, path, reject_file=files[0], **options)
    want = (sorted(contents()), told(one), one.read, one.rows, one.rejected)
    Transaction.objects.all().delete()
    Load.objects.all().delete()
    two = load(Transaction, path, workers=2, reject_file=files[1], **options)
    got = (sorted(contents()), told(two), two.read, two.rows, two.rejected)
    assert got == want
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not any(decision.startswith("One worker") for decision in two.decisions)
    return two


def test_the_same_rows_rejects_and_record(file, tmp_path):
    path = file(900, bad={3, 250, 777}, text='two\nlines, and a quote: ""')
    got = load_both_ways(path, tmp_path, chunk_rows=100, on_error="reject")
    assert [chunk.ordinal for chunk in got.load.chunks.all()] == list(range(1, 10))
    assert got.load.status == "loaded"
    assert sorted(got.load.rows().values_list("reference")) == sorted(
        Transaction.objects.values_list("reference")
    )
    assert not workers()


def test_what_was_hardly_meant_is_told(file, account, tmp_path):
    paths = []
    for number in range(2):
        path = file(300).rename(tmp_path / f"{number}.csv")
        header, *lines = path.read_text().replace("R", f"R{number}-").splitlines(keepends=True)
        lines.insert(250, header)
        lines[10] = lines[10].replace(',"', ', "')
        path.write_text("".join(["preamble\n", header, *lines]))
        paths.append(path)
    by_one = load(Transaction, paths, on_error="reject", skip_records=1)
    Transaction.objects.all().delete()
    Load.objects.all().delete()
    by_two = load(Transaction, paths, on_error="reject", skip_records=1, workers=2, chunk_rows=100)
    assert len(by_one.warnings) == 4
    assert sorted(by_two.warnings) == sorted(by_one.warnings)
    left_out = [note for note in by_one.decisions if note.startswith("Left out")]
    assert [note for note in sorted(by_two.decisions) if note in left_out] == left_out
    assert len(left_out) == 2


def test_of_two_records_with_one_key_the_first_wins(file, tmp_path):
    # Records of neighbouring chunks repeat one another, in both directions.
    same = {number: 1001 - number for number in range(501, 901)} | {950: 10, 11: 960}
    path = file(1000, same=same)
    got = load_both_ways(path, tmp_path, chunk_rows=100, on_error="reject")
    assert got.rejected == 402


def test_the_first_bad_record_ends_it_as_with_one_worker(file):
    path = file(900, bad={350})
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, path, chunk_rows=100, workers=3)
    assert "record 350 (line 351), column 'amount': 'x'" in str(caught.value)
    assert "300 rows of earlier chunks are committed" in str(caught.value)
    assert Transaction.objects.count() == Load.objects.get().loaded == 300
    assert not workers()


def test_a_worker_that_dies_is_replaced(file):
    path = file(60_000)
    killed = []

    def kill(progress):
        if progress.rows > 10_000 and len(killed) < 3:
            for worker in workers()[:1]:
                worker.send_signal(signal.SIGKILL)
                killed.append(worker.pid)

    got = load(Transaction, path, chunk_rows=5_000, workers=2, progress=kill)
    assert (got.rows, Transaction.objects.count(), len(killed)) == (60_000, 60_000, 3)
    assert sorted(int(reference[1:]) for reference, _ in contents()) == list(range(1, 60_001))


def test_a_worker_whose_connection_is_cut_is_replaced(file):
    cut = []

    def end(progress):
        if progress.rows > 10_000 and len(cut) < 2:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() "
                    "AND datname = current_database() LIMIT 1"
                )
                cut.extend(cursor.fetchall())

    got = load(Transaction, file(40_000), chunk_rows=5_000, workers=2, progress=end)
    assert (got.rows, Transaction.objects.count(), len(cut)) == (40_000, 40_000, 2)


def test_interrupted_and_gone_on_with(file):
    def stop(progress):
        if progress.rows > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Transaction, file(30_000), chunk_rows=2_000, workers=2, progress=stop)
    assert not workers()
    found = Load.objects.get()
    assert (found.status, found.loaded) == ("interrupted", Transaction.objects.count())
    got = resume(found.pk)
    assert (got.rows, Transaction.objects.count()) == (30_000, 30_000)


def test_a_worker_that_dies_over_and_over_is_told_of(file):
    def kill(progress):
        for worker in workers():
            worker.send_signal(signal.SIGKILL)

    want = r"Workers died 2 times over records (1 to 100|101 to 200): check whether memory is short"
    with pytest.raises(IngestError, match=want):
        load(Transaction, file(200), chunk_rows=100, workers=1 + 1, retries=1, progress=kill)
    assert Transaction.objects.count() == 0


def test_what_cannot_be_cut_has_one_worker(account, tmp_path):
    rows = [(account.user_id, f"N{number}", "x") for number in range(10)]
    got = load(Account, rows, columns=("user_id", "number", "name"), workers=2, chunk_rows=4)
    assert (got.rows, got.decisions[0]) == (
        10,
        "One worker, because list must be read from its beginning to be cut into chunks.",
    )


def test_what_a_worker_has_retried_is_not_retried_again():
    failure = ServerFailed("PostgreSQL could not continue: deadlock detected.")
    failure.sqlstate = "40P01"
    told = error_of(describe(failure, may_pass=True))
    assert (type(told), str(told), told.sqlstate) == (ServerFailed, str(failure), "40P01")
    assert not is_passing(told)
