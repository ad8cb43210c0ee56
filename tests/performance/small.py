"""Loads of few rows: round trips and time over a slow link, and 1,000 rows against ``bulk_create``.

    python -m tests.performance.small [--delay MILLISECONDS] [--samples N]

The proxy of ``round_trips`` stands between the load and the server. It counts the messages that the
server answers, and holds each of them back, as a link of 20 ms would. The second part goes to the
server directly, in turns.
"""

import argparse
import os
import statistics
import time

import django


def over_the_link(delay, samples):
    """Print the round trips and the time of ten dicts."""
    from django.db import connections, transaction

    from finance.models import Transaction
    from ingest import load
    from tests.performance import rows as made
    from tests.performance.round_trips import counting_proxy

    every = iter(list(made.records(10 * (2 * samples + 3))))

    def timed(name, proxy):
        rows = [next(every) for _ in range(10)]
        proxy.reset()
        started = time.perf_counter()
        load(Transaction, rows)
        seconds = time.perf_counter() - started
        print(f"{name}: {proxy.round_trips} round trips, {seconds:.2f} s")

    connection = connections["default"]
    with counting_proxy(connection, delay=delay / 1_000) as proxy:
        connection.ensure_connection()
        timed("10 dicts, first", proxy)
        for _ in range(samples):
            timed("10 dicts, kept", proxy)
        with transaction.atomic():
            connection.ensure_connection()
            connection.cursor().execute("SELECT 1")
            for _ in range(samples):
                timed("10 dicts, in atomic()", proxy)


def on_loopback(samples):
    """Print how long 1,000 dicts take by ``load`` and by ``bulk_create``."""
    from django.db import connections

    from finance.models import Transaction
    from ingest import load
    from tests.performance import rows as made

    rows = list(made.records(1_000))

    def create():
        Transaction.objects.bulk_create(
            Transaction(
                **{
                    f"{name}_id" if name in {"user", "account"} else name: value
                    for name, value in row.items()
                }
            )
            for row in rows
        )

    times = {"load": [], "bulk_create": []}
    for _ in range(samples + 1):
        for name, run in (("load", lambda: load(Transaction, rows)), ("bulk_create", create)):
            with connections["default"].cursor() as cursor:
                cursor.execute("DELETE FROM finance_transaction")
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    for name, found in times.items():  # the first of each makes connections
        print(f"1,000 dicts by {name}: {statistics.median(found[1:]) * 1_000:.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=20.0, metavar="MILLISECONDS")
    parser.add_argument("--samples", type=int, default=5, metavar="N")
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.testing")
    django.setup()
    from tests.performance.harness import scratch_database

    with scratch_database():
        over_the_link(asked.delay, asked.samples)
        on_loopback(asked.samples)


if __name__ == "__main__":
    main()
