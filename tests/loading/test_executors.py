"""Executors that load chunks, in the source's order or in any: the same rows and rejects."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from django.db import OperationalError, connection

from finance.models import Transaction
from ingest import (
    ConfigurationError,
    IngestError,
    LoadCancelled,
    RecordsRefused,
    TooManyRejects,
    load,
    resume,
)
from ingest.ledger.entries import LedgerEntry
from ingest.ledger.shared import chunk_class
from ingest.ledger.undo import undo
from ingest.loading.attempt import LoadAttempt
from ingest.loading.workers import worker
from ingest.loading.workers.execution import load_chunk
from ingest.models import Chunk, Load, PendingRejects
from ingest.postgres.session import open_session
from ingest.sources import Position, open_source
from tests.loading.stored import references
from tests.patience import wait_until
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

ANY = {"order": "any"}


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as pool:
        yield pool


def numbers(*without, count):
    return [number for number in range(1, count + 1) if number not in without]


class Calls(Executor):
    """Runs each call at once, in this thread, and keeps what was asked for."""

    def __init__(self, times=1):
        self.asked = []
        self.times = times

    def submit(self, function, /, *arguments):
        self.asked.append((function, arguments))
        future = Future()
        for _ in range(self.times):
            told = function(*arguments)
        future.set_result(told)
        return future


@pytest.mark.parametrize("order", ["source", "any"])
def test_threads_load_all_but_the_bad_records(file, threads, tmp_path, order):
    path = file(900, bad={3, 250, 777}, text='two\nlines, and a quote: ""')
    log, rejected = tmp_path / "log.jsonl", tmp_path / "bad.csv"
    got = load(
        Transaction, path, executor=threads, order=order, chunk_rows=50, on_error="reject",
        reject_log=log, reject_file=rejected,
    )  # fmt: skip
    assert references() == numbers(3, 250, 777, count=900)
    assert [reject.record for reject in got.rejects] == [3, 250, 777]
    assert [json.loads(line)["record"] for line in log.read_text().splitlines()] == [3, 250, 777]
    assert rejected.read_text().count("two\nlines") == 3
    assert got.load.rejects.count() == 3
    assert (got.read, got.rows, got.rejected) == (900, 897, 3)
    chunks = got.load.chunks.order_by("ordinal")
    want = [(number, 50 * number - 49, 50 * number) for number in range(1, 19)]
    assert list(chunks.values_list("ordinal", "first_record", "last_record")) == want
    assert not PendingRejects.objects.exists()
    assert undo(got.load.pk).deleted == 897
    assert not Transaction.objects.exists()


def test_processes_of_the_callers(file, settings):
    """Its processes have Django's settings of their own: those of the environment."""
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    before = dict(os.environ)
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "settings.development"}
    try:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            got = load(Transaction, file(300), executor=pool, chunk_rows=20)
    finally:
        os.environ.clear()
        os.environ |= before
    assert (got.rows, references()) == (300, numbers(count=300))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_that_are_forked(file):
    """They have inherited Django's connection, and must not use this one's socket."""
    Transaction.objects.count()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        before = cursor.fetchall()
        with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
            got = load(Transaction, file(300), executor=pool, chunk_rows=20)
            Transaction.objects.all().delete()
            again = load(Transaction, file(301), executor=pool, chunk_rows=20, order="any")
    assert (got.rows, again.rows, Transaction.objects.count()) == (300, 301, 301)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchall() == before


@pytest.mark.parametrize("order", ["source", "any"])
def test_a_chunk_that_runs_twice_is_in_once(file, order):
    executor = Calls(times=2)
    got = load(Transaction, file(100), executor=executor, order=order, chunk_rows=10)
    assert (got.rows, references(), got.load.loaded) == (100, numbers(count=100), 100)
    function, (number, text) = executor.asked[0]
    assert (function, number, type(text)) == (load_chunk, got.load.pk, str)


def test_a_chunk_that_runs_twice_at_once_is_in_once(file):
    class Twice(ThreadPoolExecutor):
        def submit(self, function, /, *arguments):
            super().submit(function, *arguments)
            return super().submit(function, *arguments)

    with Twice(4) as pool:
        got = load(Transaction, file(400), executor=pool, order="any", chunk_rows=20)
    assert (got.rows, references(), got.load.chunks.count()) == (400, numbers(count=400), 20)


def test_nothing_is_loaded_after_the_end(file):
    executor = Calls()
    with pytest.raises(RecordsRefused):
        load(Transaction, file(100, bad={35}), executor=executor, order="source", chunk_rows=10)
    assert references() == list(range(1, 31))
    function, arguments = executor.asked[-1]
    assert json.loads(function(*arguments))["state"] == "not wanted"
    Load.objects.update(status="undone")
    assert references() == list(range(1, 31))


@pytest.mark.parametrize("order", ["source", "any"])
def test_an_interrupted_load_goes_on_with_what_is_not_in(file, threads, tmp_path, order):
    bad = {5, 111, 290}
    rejected = tmp_path / "bad.csv"

    def stop(progress):
        if progress.rows >= 100:
            raise KeyboardInterrupt

    path = file(300, bad=bad)
    with pytest.raises(KeyboardInterrupt):
        load(
            Transaction, path, executor=threads, order=order, chunk_rows=10, on_error="reject",
            progress=stop, reject_file=rejected,
        )  # fmt: skip
    found = Load.objects.get()
    time.sleep(0.2)
    assert (found.status, found.loaded) == ("interrupted", Transaction.objects.count())
    got = resume(found.pk, executor=threads)
    assert references() == numbers(*bad, count=300)
    assert (got.read, got.rejected, got.load.rejects.count()) == (300, 3, 3)
    assert [line.split(",")[4] for line in rejected.read_text().splitlines()[1:]] == [
        *("R5", "R111", "R290")
    ]


@pytest.mark.parametrize("rest", [{}, {"workers": 1}])
def test_one_process_resumes_chunks_of_the_usual_size(file, monkeypatch, rest):
    """Also if the setting has changed since."""

    def stop(progress):
        if progress.rows >= 20:
            raise KeyboardInterrupt

    monkeypatch.setattr("ingest.conf.chunk_rows", lambda: 10)
    with pytest.raises(KeyboardInterrupt):
        load(Transaction, file(60), progress=stop, executor=Calls())
    monkeypatch.setattr("ingest.conf.chunk_rows", lambda: 20)
    got = resume(Load.objects.get().pk, **rest)
    assert (got.rows, references(), got.load.chunks.count()) == (60, numbers(count=60), 6)


def test_a_worker_that_outlived_its_coordinator_is_ended(file):
    def stop(progress):
        if progress.rows >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Transaction, file(60), executor=Calls(), chunk_rows=10, progress=stop)
    found = Load.objects.get()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, 3)", [chunk_class(found)])
            assert resume(found.pk, workers=1).rows == 60
            with pytest.raises(OperationalError):
                cursor.execute("SELECT 1")
    finally:
        other.close()
    assert references() == numbers(count=60)


@pytest.mark.parametrize("order", ["source", "any"])
@pytest.mark.parametrize("is_in", [False, True])
def test_interrupted_while_rejects_are_written(file, threads, tmp_path, monkeypatch, order, is_in):
    """Before or after the transaction is committed in which they cease to be pending."""
    log, rejected = tmp_path / "log.jsonl", tmp_path / "bad.csv"
    end_pending, write_pending = LedgerEntry.end_pending, LoadAttempt.write_pending
    written, interrupted = [], []

    def interrupt(*arguments):
        end_pending(*arguments)
        written.append(1)
        if len(written) == 2 and not is_in:
            raise KeyboardInterrupt

    def interrupt_afterwards(*arguments):
        write_pending(*arguments)
        if is_in and len(written) >= 2 and not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(LedgerEntry, "end_pending", interrupt)
    monkeypatch.setattr(LoadAttempt, "write_pending", interrupt_afterwards)
    bad = {3, 25, 47, 55, 88}
    with pytest.raises(KeyboardInterrupt):
        load(
            Transaction, file(100, bad=bad), executor=threads, order=order, chunk_rows=10,
            on_error="reject", reject_log=log, reject_file=rejected,
        )  # fmt: skip
    got = resume(Load.objects.get().pk, executor=threads)
    assert (got.rows, got.rejected) == (95, 5)
    assert [json.loads(line)["record"] for line in log.read_text().splitlines()] == sorted(bad)
    assert rejected.read_text().count("\n") == 6


@pytest.mark.parametrize("order", ["source", "any"])
def test_a_load_that_is_cancelled_in_the_admin(file, threads, order, monkeypatch):
    monkeypatch.setattr("ingest.loading.progress.SECONDS_BETWEEN_NOTES", 0)

    def cancel(progress):
        if progress.rows >= 50:
            Load.objects.update(is_cancel_asked=True)

    path = file(900)
    with pytest.raises(LoadCancelled):
        load(Transaction, path, executor=threads, order=order, chunk_rows=10, progress=cancel)
    found = Load.objects.get()
    assert found.status == "interrupted"
    assert 50 <= found.loaded == Transaction.objects.count() < 900
    assert resume(found.pk, executor=threads).rows == 900
    assert references() == numbers(count=900)


def test_gaps_are_filled_by_one_process(file, threads):
    """What is in may be any chunks; who goes on need not be who began."""
    path = file(100)
    got = load(Transaction, path, executor=threads, order="any", chunk_rows=10)
    Chunk.objects.filter(load=got.load, ordinal__in=[2, 7]).delete()
    gone = [f"R{number}" for number in (*range(11, 21), *range(61, 71))]
    Transaction.objects.filter(reference__in=gone).delete()
    Load.objects.update(status="interrupted")
    again = resume(got.load.pk, workers=1)
    assert (again.rows, references()) == (100, numbers(count=100))
    assert again.load.chunks.count() == 10


def test_an_unfinished_load_in_any_order_is_not_gone_on_with_in_order(file, threads):
    path = file(100)
    load(Transaction, path, executor=threads, order="any", chunk_rows=10)
    Load.objects.update(status="interrupted")
    with pytest.raises(IngestError, match="another order: continue with `bulk_load --res"):
        load(Transaction, path, workers=2, chunk_rows=10)


@pytest.mark.parametrize("order", ["source", "any"])
def test_files_that_cannot_be_cut_are_shared_out(lines, threads, tmp_path, order):
    paths = []
    for number in range(12):
        text = lines(100 * number + 1, 100 * number + 100, bad={7, 555}, text="y" * 9_000)
        path = tmp_path / f"{number:02}.csv.gz"
        # Not smaller than files that are put together.
        path.write_bytes(gzip.compress(text.encode(), 0))
        paths.append(path)
    plain = tmp_path / "20.csv"
    plain.write_text(lines(1201, 1300))
    small = tmp_path / "21.csv.gz"
    small.write_bytes(gzip.compress(lines(1301, 1310).encode()))
    got = load(
        Transaction, [*paths, plain, small], executor=threads, order=order, chunk_rows=60,
        on_error="reject",
    )  # fmt: skip
    assert references() == numbers(7, 555, count=1310)
    assert [(reject.source, reject.record) for reject in got.rejects] == [
        *((str(paths[0]), 7), (str(paths[5]), 55))
    ]
    chunks = got.load.chunks.order_by("ordinal")
    ends = list(chunks.values_list("first_record", "last_record"))
    assert ends == [(n * 100 + 1, n * 100 + 100) for n in range(12)] + [
        *((1201, 1260), (1261, 1300), (1301, 1310))
    ]


KINDS = ("csv", "escaped", "jsonl", "parquet", "csv.gz", "xlsx", "mixed")


def write_kind(folder, kind, table, number=0):
    """Write a table as a file of this kind, cells with line ends, quotes and escapes in it."""
    path = folder / f"{number}.{'csv' if kind == 'escaped' else kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=70)
    elif kind == "jsonl":
        path.write_text("".join(f"{json.dumps(row, default=str)}\n" for row in table.to_pylist()))
    elif kind == "xlsx":
        book = xlsxwriter.Workbook(path)
        sheet = book.add_worksheet()
        for place, row in enumerate([table.column_names, *map(dict.values, table.to_pylist())]):
            sheet.write_row(place, 0, list(row))
        book.close()
    else:
        out = io.StringIO()
        escaped = {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "lineterminator": "\n"}
        writer = csv.DictWriter(out, table.column_names, **(escaped if kind == "escaped" else {}))
        writer.writeheader()
        writer.writerows(table.to_pylist())
        text = out.getvalue().encode()
        path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_rows_of_one_process(account, threads, tmp_path, kind):
    texts = ["plain", "two\nlines", 'a "quote"', "a, comma", "a \\ backslash"]
    count = 400
    table = pa.table(
        {
            "user": [account.user_id] * count,
            "account": [account.pk if n % 97 else 0 for n in range(count)],
            "amount": [n + 1 for n in range(count)],
            "tx_date": ["2025-01-01"] * count,
            "reference": [f"R{n}" for n in range(count)],
            "description": [texts[n % len(texts)] for n in range(count)],
        }
    )
    kinds = [it for it in KINDS if it not in {"mixed", "escaped"}]
    if kind == "mixed":
        given = [write_kind(tmp_path, it, table.slice(80 * n, 80), n) for n, it in enumerate(kinds)]
    elif kind in {"csv.gz", "xlsx"}:  # one file of these cannot be shared
        given = [write_kind(tmp_path, kind, table.slice(200 * n, 200), n) for n in range(2)]
    else:
        given = write_kind(tmp_path, kind, table)
    options = {"chunk_rows": 30, "on_error": "reject"}
    if kind == "escaped":
        options |= {"escape": "\\", "quote": ""}

    def found(**more):
        got = load(Transaction, given, **options, **more)
        rows = Transaction.objects.order_by("amount").values_list("reference", "description")
        told = sorted((reject.source, reject.record, reject.kind) for reject in got.rejects)
        result = (list(rows), told, got.read, got.rows, got.rejected)
        Transaction.objects.all().delete()
        return result

    one = found()
    assert (one[2], one[4]) == (count, 5)
    assert found(executor=threads, order="source") == one
    assert found(executor=threads, order="any") == one


def test_parquet_is_cut_at_its_row_groups(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"n": range(250)})
    with pq.ParquetWriter(path, table.schema) as writer:
        for first, last in ((0, 30), (30, 60), (60, 65), (65, 190), (190, 200), (200, 250)):
            writer.write_table(table.slice(first, last - first))
    with open_source(path) as source:
        ends = [end.record for end in source.find_parts(Position(), 50)]
        rest = [end.record for end in source.find_parts(Position(record=100), 50)]
    assert ends == [30, 65, 115, 165, 200, 250]
    assert rest == [150, 200, 250]


def test_small_files_are_put_together(lines, threads, tmp_path):
    for number in range(50):
        (tmp_path / f"{number:02}.csv").write_text(lines(10 * number + 1, 10 * number + 10))
    got = load(Transaction, str(tmp_path / "*.csv"), executor=threads, chunk_rows=100)
    assert (references(), got.load.chunks.count()) == (numbers(count=500), 5)


def test_a_reject_limit(file, threads):
    options = {"chunk_rows": 10, "on_error": "reject", "reject_limit": 4}
    path = file(200, bad={11, 12, 31, 32, 51, 52, 71, 72})
    with pytest.raises(TooManyRejects, match=r"[56] refused"):
        load(Transaction, path, executor=threads, **options)
    # As with one process: no chunk is in that has a fifth.
    assert references() == numbers(11, 12, 31, 32, count=50)


def test_a_reject_limit_in_any_order(file):
    options = {"chunk_rows": 10, "on_error": "reject", "reject_limit": 1, "order": "any"}
    with pytest.raises(TooManyRejects, match=r"^20 records were read, and 2 refused: the limit"):
        load(Transaction, file(60, bad={11, 12}), executor=Calls(), **options)


def test_the_first_bad_record_ends_it_in_any_order(file, threads):
    with pytest.raises(RecordsRefused, match="record 95 ") as caught:
        load(Transaction, file(300, bad={95}), executor=threads, order="any", chunk_rows=10)
    found = Load.objects.get()
    assert found.loaded == Transaction.objects.count()
    assert not set(references()) & set(range(91, 101))
    assert f"{found.loaded:,} rows of earlier chunks are committed" in str(caught.value)


def test_of_two_records_with_one_key_one_is_in(account, threads, tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{account.user_id},N{number % 30},x" for number in range(60)]
    path.write_text("\n".join(["user,number,name", *rows, ""]))
    got = load(type(account), path, executor=threads, order="any", chunk_rows=6, on_error="reject")
    assert (got.read, got.rows, got.rejected) == (60, 30, 30)


def test_another_file_under_the_same_name_is_refused(file, lines):
    class Elsewhere(Calls):
        def submit(self, function, /, *arguments):
            path.write_text(lines(1, 100, text="z"))
            return super().submit(function, *arguments)

    path = file(100)
    with pytest.raises(IngestError, match=r"csv (was changed while|is not the file)"):
        load(Transaction, path, executor=Elsewhere(), order="any", chunk_rows=10, retries=0)
    assert references() == []


def test_a_worker_that_has_another_file(file, lines):
    class Elsewhere(Calls):
        def submit(self, function, /, *arguments):
            facts = path.stat()
            path.write_text(lines(1, 100).replace("R", "Q"))
            try:
                return super().submit(function, *arguments)
            finally:
                path.write_text(lines(1, 100))
                os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    path = file(100)
    with pytest.raises(IngestError, match="is not the file here that it is where the load was"):
        load(Transaction, path, executor=Elsewhere(), order="any", chunk_rows=10, retries=0)
    assert references() == []


def test_a_worker_with_another_database(file):
    """There may be a load of the same number, but none that this coordinator has begun."""

    class Elsewhere(Calls):
        def submit(self, function, load, chunk):
            return super().submit(function, load, json.dumps({**json.loads(chunk), "run": 1}))

    with pytest.raises(ConfigurationError, match="Give the workers the same DATABASES"):
        load(Transaction, file(100), executor=Elsewhere(), chunk_rows=10)
    assert references() == []


def test_an_executor_that_breaks(file):
    class Broken(Executor):
        def submit(self, *_):
            raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(IngestError) as caught:
        load(Transaction, file(100), executor=Broken(), chunk_rows=10)
    assert str(caught.value) == (
        "The executor, a Broken, failed: cannot schedule new futures after shutdown. Give a new "
        "executor. Nothing was loaded."
    )
    assert Load.objects.get().status == "failed"


def test_a_worker_without_the_code(file):
    class Bare(Executor):
        def submit(self, *_):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'shop'"))
            return future

    with pytest.raises(IngestError) as caught:
        load(Transaction, file(100), executor=Bare(), chunk_rows=10)
    assert str(caught.value) == (
        "The executor, a Bare, could not run a chunk: No module named 'shop'. Its workers must "
        "have the code and the settings of this project. Nothing was loaded."
    )


def test_a_worker_that_cannot_begin(file):
    """Its error must not be taken for one of the process that loads."""

    class Elsewhere(Calls):
        def submit(self, function, load, chunk):
            chunk = json.dumps({**json.loads(chunk), "alias": "elsewhere"})
            return super().submit(function, load, chunk)

    with pytest.raises(IngestError, match="A worker could not begin: "):
        load(Transaction, file(100), executor=Elsewhere(), chunk_rows=10)


def backends():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return {pid for [pid] in cursor.fetchall()}


def wait_for_lock():
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )
    wait_until(lambda: run(waits), "The chunk did not wait for the lock.")


def assert_all_closed(before):
    connection.close()  # and with it what is kept for the next load of this thread
    wait_until(lambda: not backends() - before, "connections are left")
    assert threading.active_count() < 20


def test_connections_are_closed_at_the_end(file, threads):
    before = backends()
    load(Transaction, file(100), executor=threads, chunk_rows=10)
    assert_all_closed(before)


def test_connections_of_chunks_that_outlive_their_load_are_closed(file, threads):
    """A worker that still loads when the load has failed closes its connections afterwards."""
    other = connection.copy()

    class Failing(Executor):
        """Fails at its second chunk, while the first waits for a lock."""

        def submit(self, function, load, chunk):
            if other.connection is not None:
                wait_for_lock()
                raise RuntimeError("cannot schedule new futures after shutdown")
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE finance_transaction IN SHARE MODE")
            return threads.submit(function, load, chunk)

    before = backends()
    try:
        with pytest.raises(IngestError, match="The executor, a Failing, failed"):
            load(Transaction, file(100), executor=Failing(), chunk_rows=10)
    finally:
        other.close()
    assert_all_closed(before)
    assert references() == []


def test_workers_that_are_told_to_leave_while_they_open_close_their_connections(
    file, threads, monkeypatch
):
    def leave_and_open(*arguments):
        worker.forget_all()
        return open_session(*arguments)

    monkeypatch.setattr(worker, "open_session", leave_and_open)
    before = backends()
    load(Transaction, file(100), executor=threads, chunk_rows=10)
    assert_all_closed(before)
    assert references() == numbers(count=100)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"executor": 3}, "executor is a int: give a concurrent.futures.Executor"),
        ({"executor": Calls(), "workers": 2}, r"workers \(--workers\) has no effect with executor"),
        ({"scheduler": "tcp://h:1", "workers": 2}, "has no effect with scheduler"),
        ({"scheduler": ""}, r"scheduler \(--scheduler\) is empty: give its address"),
        ({"executor": Calls(), "scheduler": "tcp://h:1"}, "has no effect with executor"),
        ({"order": "any"}, r"order \(--order\) has no effect on one process"),
        ({"order": "source"}, r"order \(--order\) has no effect on one process"),
        ({"order": "rows", "workers": 2}, "order is 'rows': use 'source' or 'any'"),
        (
            {"executor": Calls(), "on_conflict": "upsert", "duplicates": "last"},
            "executor cannot go with on_conflict='upsert'",
        ),
        (
            {"order": "any", "workers": 2, "on_conflict": "ignore"},
            r"order \(--order\) cannot go with on_conflict='ignore'",
        ),
    ],
)
def test_options_that_do_not_go_together(file, options, want):
    with pytest.raises(ConfigurationError, match=want):
        load(Transaction, file(2), **options)
    assert not Load.objects.exists()


def test_what_cannot_be_shared_is_refused(account):
    rows = [{"user": account.user_id, "number": "N", "name": "x"}]
    with pytest.raises(ConfigurationError, match="must be done by one process, because list must"):
        load(type(account), rows, executor=Calls())


def test_workers_in_any_order(file):
    got = load(Transaction, file(300), workers=2, order="any", chunk_rows=20)
    assert (got.rows, references()) == (300, numbers(count=300))
