"""What chunks, the record, workers and a resume cost, into a table that holds rows."""

from contextlib import suppress

from django.db import connection

from finance.models import Transaction
from ingest import load, resume
from ingest.models import Load
from tests.performance import rows as made
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain

FILL = """
SET session_replication_role = replica;
INSERT INTO finance_transaction
  (user_id, account_id, amount, description, tx_date, reference, created_at)
SELECT a.user_id, a.id, n % 500, 'was there', date '2020-01-01' + n % 1000, '', now()
FROM generate_series(1, {rows}) n JOIN finance_account a ON a.id = 1 + n % {accounts};
SET session_replication_role = DEFAULT;
VACUUM ANALYZE finance_transaction
"""


def fill(trial):
    with connection.cursor() as cursor:
        for statement in FILL.format(rows=trial.rows, accounts=made.ACCOUNTS).split(";"):
            cursor.execute(statement)


def stop_at_nine_tenths(trial):
    fill(trial)

    def stop(progress):
        if progress.rows > trial.rows * 0.9:
            raise KeyboardInterrupt

    path = trial.path("plain.csv")
    with suppress(KeyboardInterrupt):
        load(Transaction, path, chunk_rows=trial.rows // 10, progress=stop)


def hide_the_ledger(trial):
    fill(trial)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingest_keylist RENAME TO hidden_keylist")


def load_without_the_ledger(trial):
    try:
        return trial.load("plain.csv")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden_keylist RENAME TO ingest_keylist")


FIGURE = Figure(
    about="Into a table of as many rows.",
    rows=1_000_000,
    files=lambda folder, rows: write_plain(folder / "plain.csv", rows),
    variants={
        "plain": load_without_the_ledger,
        "recorded": lambda trial: trial.load("plain.csv"),
        "chunks": lambda trial: trial.load("plain.csv", resumable=True),
        "two workers": lambda trial: trial.load("plain.csv", resumable=True, workers=2),
        "resume": lambda _: resume(Load.objects.latest("pk").pk),
    },
    prepare={
        "plain": hide_the_ledger,
        "recorded": fill,
        "chunks": fill,
        "two workers": fill,
        "resume": stop_at_nine_tenths,
    },
    ratios=[
        Ratio(of="recorded", to="plain"),
        Ratio(of="chunks", to="plain", goal=1.1),
        Ratio(of="two workers", to="chunks", goal=0.8),
        Ratio(of="resume", to="chunks", goal=0.15),
    ],
    note="`plain` is one transaction that no ledger records. `resume` goes on with a load that was "
    "stopped at nine tenths; its count is that of the whole load.",
)
