"""A real Dask cluster on this machine, each of its parts a process, that loads chunks."""

from __future__ import annotations

import gzip
import logging
import threading
from logging.handlers import BufferingHandler

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from finance.models import Transaction
from ingest import ConfigurationError, IngestError, load, resume
from ingest.loading.workers import executors
from ingest.models import Load
from tests.loading.dask_cluster import Cluster
from tests.loading.stored import references

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(tmp_path):
    facts = connection.settings_dict
    place = f"host={facts['HOST']}&port={facts['PORT']}"
    cluster = Cluster(tmp_path, f"postgres://{facts['USER']}@/{facts['NAME']}?{place}")
    yield cluster
    cluster.end()


def test_by_the_command_and_in_order(cluster, file, lines, tmp_path):
    bad, rejected = {7, 555}, tmp_path / "bad.csv"
    path = file(1_000, bad=bad)
    with pytest.raises(SystemExit):  # some were rejected
        call_command(
            *("bulk_load", "finance.Transaction", path, "--scheduler", cluster.address),
            *("--chunk-rows", "50", "--on-error", "reject", "--reject-file", rejected),
        )
    want = [number for number in range(1, 1_001) if number not in bad]
    assert references() == want
    found = Load.objects.get()
    assert (found.status, found.loaded, found.rejected, found.options["how"]["order"]) == (
        *("loaded", 998, 2, "any"),
    )
    assert [line.split(",")[4] for line in rejected.read_text().splitlines()[1:]] == ["R7", "R555"]
    Transaction.objects.all().delete()
    for number in range(6):
        text = lines(200 * number + 1, 200 * number + 200)
        (tmp_path / f"{number}.csv.gz").write_bytes(gzip.compress(text.encode()))
    got = load(
        Transaction, str(tmp_path / "*.csv.gz"), scheduler=cluster.address, order="source",
        chunk_rows=50,
    )  # fmt: skip
    assert (got.rows, references()) == (1_200, list(range(1, 1_201)))


def test_a_worker_that_dies(cluster, file):
    killed = []

    def kill(progress):
        if progress.rows > 2_000 and not killed:
            killed.append(cluster.processes()[0])
            killed[0].kill()

    got = load(Transaction, file(20_000), scheduler=cluster.address, chunk_rows=500, progress=kill)
    assert (len(killed), got.rows, references()) == (1, 20_000, list(range(1, 20_001)))


@pytest.fixture
def logged():
    """What Dask logs in this process."""
    handler = BufferingHandler(1_000)
    logging.getLogger("distributed").addHandler(handler)
    yield handler.buffer
    logging.getLogger("distributed").removeHandler(handler)


def test_a_scheduler_that_goes_away(cluster, file, logged):
    killed = []

    def kill(progress):
        if progress.rows > 2_000 and not killed:
            killed.append(cluster.kill_scheduler())

    with pytest.raises(IngestError, match=r"^The Dask scheduler at tcp://[0-9.:]+ went away\. "):
        load(Transaction, file(20_000), scheduler=cluster.address, chunk_rows=500, progress=kill)
    assert not [record.getMessage() for record in logged if record.exc_info]
    found = Load.objects.get()
    assert (found.status, found.loaded) == ("failed", Transaction.objects.count())
    with pytest.raises(ConfigurationError, match=r"cannot be reached: .* with workers"):
        resume(found.pk)
    got = resume(found.pk, workers=2)
    assert (got.rows, references()) == (20_000, list(range(1, 20_001)))


def test_a_scheduler_that_has_no_workers_any_more(cluster, file, monkeypatch):
    monkeypatch.setattr(executors, "WORKERLESS_SECONDS", 0.5)
    killed = []

    def kill(progress):
        if progress.rows > 2_000 and not killed:
            killed.append(cluster.kill_workers())

    with pytest.raises(IngestError, match=r"at tcp://.* has no workers any more\.") as raised:
        load(Transaction, file(20_000), scheduler=cluster.address, chunk_rows=500, progress=kill)
    found = Load.objects.get()
    assert (found.status, found.loaded) == ("failed", Transaction.objects.count())
    assert f"--resume {found.pk}" in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"has no workers: start one with `dask worker`"):
        resume(found.pk)
    monkeypatch.setattr(executors, "WORKERLESS_SECONDS", 120.0)
    starting = threading.Thread(target=cluster.start)  # waits for workers, as the load does
    starting.start()
    got = resume(found.pk)
    starting.join()
    assert (got.rows, references()) == (20_000, list(range(1, 20_001)))


def test_a_scheduler_that_is_not_there(file):
    with pytest.raises(CommandError, match=r"tcp://127.0.0.1:9 cannot be reached"):
        call_command(
            "bulk_load", "finance.Transaction", file(3), "--scheduler", "tcp://127.0.0.1:9"
        )
    assert Transaction.objects.count() == 0
