"""What N workers make of a load into a table that holds rows, and where the limit is then."""

import dataclasses
import os
import resource
import threading
import time
from collections import Counter

import psutil
import psycopg
from django.db import connection

from finance.models import Transaction
from ingest import load
from tests.performance.customer import fill_segments, write_files
from tests.performance.customers.models import Customer
from tests.performance.harness import Figure, Ratio
from tests.performance.ledger import fill
from tests.performance.rows import write_plain

CHUNKS = 8
CUSTOMERS = 4
"""One record of customers for so many transactions: they take about as long."""
SAMPLE_SECONDS = 0.02
OTHERS = """
UPDATE customers_customer SET number = 'D' || substr(number, 2), email = 'd' || email;
VACUUM FULL ANALYZE customers_customer
"""
WAITING = """
SELECT coalesce(wait_event_type || ':' || wait_event, 'running') FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watched:
    """A load and what it took."""

    rows: int
    rejected: int
    said: str


class Watch:
    """Counts CPU, WAL and what the sessions wait for, from its start to its end."""

    def __enter__(self):
        parameters = connection.get_connection_params()
        names = ("dbname", "host", "port", "user", "password")
        given = {name: parameters[name] for name in names if parameters.get(name)}
        self._session = psycopg.connect(**given, autocommit=True)
        self._ended, self.waits = threading.Event(), Counter()
        self._sampler = threading.Thread(target=self._sample)
        self._before = self._now()
        self._sampler.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._sampler.join()
        used = [after - before for before, after in zip(self._before, self._now(), strict=True)]
        self._session.close()
        self.seconds, self.client, self.machine, self.wal = used

    def _now(self):
        [(wal,)] = self._session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchall()
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        client = sum(usage.ru_utime + usage.ru_stime for usage in own)
        times = psutil.cpu_times()
        machine = sum(times) - times.idle - times.iowait
        return time.perf_counter(), client, machine, float(wal)

    def _sample(self):
        while not self._ended.wait(SAMPLE_SECONDS):
            self.waits.update(what for (what,) in self._session.execute(WAITING))

    def describe(self):
        """Return the shares of the machine, and what the server's sessions did."""
        capacity = self.seconds * os.cpu_count()
        server = max(self.machine - self.client, 0)
        total = self.waits.total() or 1
        waits = ", ".join(
            f"{what} {100 * count / total:.0f} %" for what, count in self.waits.most_common(5)
        )
        return (
            f"CPU of the client {100 * self.client / capacity:.0f} %, of the rest of the machine "
            f"{100 * server / capacity:.0f} %; WAL {self.wal / 1e6:.0f} MB; sessions: {waits}"
        )


def watched(model, path, rows, workers):
    with Watch() as watch:
        result = load(model, path, resumable=True, workers=workers, chunk_rows=rows // CHUNKS)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_table_size(t), pg_indexes_size(t) FROM (SELECT %s::regclass) given (t)",
            [model._meta.db_table],
        )
        table, indexes = (size / 2 / result.rows for size in cursor.fetchone())
    sizes = f"{table:.0f} bytes a row in the table, {indexes:.0f} in the indexes"
    return Watched(rows=result.rows, rejected=result.rejected, said=f"{watch.describe()}; {sizes}")


def finance(workers):
    return lambda trial: watched(Transaction, trial.path("plain.csv"), trial.rows, workers)


def customers(workers):
    return lambda trial: watched(
        Customer, trial.path("customers.csv"), trial.rows // CUSTOMERS, workers
    )


def fill_customers(trial):
    load(Customer, trial.path("customers.csv"))
    with connection.cursor() as cursor:
        for statement in OTHERS.split(";"):
            cursor.execute(statement)


def files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_files(folder, rows // CUSTOMERS)


NUMBERS = (1, 2, 4)
FIGURE = Figure(
    about="Into a table of as many rows, in chunks.",
    rows=400_000,
    files=files,
    fill=fill_segments,
    tables="finance_transaction, customers_customer",
    variants={
        **{f"finance, {number}": finance(number) for number in NUMBERS},
        **{f"customers, {number}": customers(number) for number in NUMBERS},
    },
    prepare={
        **{f"finance, {number}": fill for number in NUMBERS},
        **{f"customers, {number}": fill_customers for number in NUMBERS},
    },
    ratios=[
        *(Ratio(of="finance, 1", to=f"finance, {number}") for number in NUMBERS[1:]),
        Ratio(of="customers, 1", to="customers, 2"),
        Ratio(of="customers, 1", to="customers, 4"),
    ],
    note="A quarter as many customers as transactions. CPU is that of all cores.",
)
