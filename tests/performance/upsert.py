"""The second file: most of its records have a row in the table already.

The unique index is a whole one here, because `bulk_create(update_conflicts=True)` cannot name a
partial one.
"""

import csv
import datetime as dt
import tempfile
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from django.db import connection, transaction

from finance.models import Transaction
from ingest import load
from ingest.benchmark.psql import Psql, find_psql
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import COLUMNS, facts, user_of

SHARE = 5
"""The table has so many times the rows of the file."""
FEW = 1_000
UPDATED = ["user", "amount", "description", "tx_date"]
CHANGED_CENTS = 7


def cells(place, *, changed):
    account, cents, text, day, reference = facts(place)
    cents += CHANGED_CENTS if changed else 0
    amount = Decimal(cents).scaleb(-2)
    return (user_of(account), account, amount, text, day.isoformat(), reference)


def write(path, places, *, changed):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(cells(place, changed=changed) for place in places)


def write_files(folder, rows):
    there = SHARE * rows
    write(folder / "there.csv", range(there), changed=False)
    old = range(0, there, SHARE)
    step = 2 * SHARE
    half = [*range(0, there, step), *range(there, there + rows // 2)]
    # In no order: the records of half of the accounts' rows, as they come.
    half.sort(key=lambda place: place * 7_919 % 1_000_003)
    write(folder / "half.csv", half, changed=True)
    write(folder / "changed.csv", old, changed=True)
    write(folder / "unchanged.csv", old, changed=False)
    known = list(old)[: rows - rows // 100]
    write(folder / "known.csv", [*known, *range(there, there + rows // 100)], changed=False)
    write(folder / "few.csv", half[:FEW], changed=True)


def fill(trial):
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS transaction_account_reference")
        cursor.execute("DROP INDEX IF EXISTS transaction_natural_key")
    load(Transaction, trial.path("there.csv"))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNIQUE INDEX transaction_natural_key "
            "ON finance_transaction (account_id, reference)"
        )
        cursor.execute("VACUUM ANALYZE finance_transaction")
        cursor.execute("CHECKPOINT")
    trial_wal["before"] = wal()


trial_wal = {}


def wal():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        [(position,)] = cursor.fetchall()
    return int(position)


def told(rows):
    megabytes = (wal() - trial_wal["before"]) / 1e6
    return SimpleNamespace(rows=rows, rejected=0, said=f"{megabytes:.1f} MB of WAL")


def settle(name, **options):
    def work(trial):
        result = load(Transaction, trial.path(name), analyze=False, **options)
        return told(result.rows)

    return work


def bulk_create(name, **options):
    def work(trial):
        with (
            Path(trial.path(name)).open(encoding="utf-8", newline="") as file,
            transaction.atomic(),
        ):
            reader = csv.reader(file)
            next(reader)
            made = [
                Transaction(
                    user_id=int(user),
                    account_id=int(account),
                    amount=Decimal(amount),
                    description=description,
                    tx_date=dt.date.fromisoformat(day),
                    reference=reference,
                )
                for user, account, amount, description, day, reference in reader
            ]
            Transaction.objects.bulk_create(made, batch_size=5_000, **options)
        return told(len(made))

    return work


UPDATE_CONFLICTS = {
    "update_conflicts": True,
    "unique_fields": ["account", "reference"],
    "update_fields": UPDATED,
}
BY_PSQL = """
CREATE TEMP TABLE stage (user_id int, account_id bigint, amount numeric(12,2), description text,
  tx_date date, reference text);
\\copy stage FROM '{path}' WITH (FORMAT csv, HEADER)
INSERT INTO finance_transaction
  (user_id, account_id, amount, description, tx_date, reference, created_at)
SELECT *, now() FROM stage
ON CONFLICT (account_id, reference) DO UPDATE SET user_id = EXCLUDED.user_id,
  amount = EXCLUDED.amount, description = EXCLUDED.description, tx_date = EXCLUDED.tx_date;
"""
# What no way to load can do without: the rows are sent, each is looked up by its key, and those
# that are there are updated, the others inserted, each in the order that the indexes like best.
# Nothing is checked: no reference, no key that is repeated, no row that others change meanwhile.
LEAST = """
SET session_replication_role = replica;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
CREATE TEMP TABLE stage (user_id int, account_id bigint, amount numeric(12,2), description text,
  tx_date date, reference text);
\\copy stage FROM '{path}' WITH (FORMAT csv, HEADER)
CREATE TEMP TABLE met AS SELECT s.*, t.ctid AS tid
FROM (SELECT * FROM stage ORDER BY account_id, reference) s
LEFT JOIN finance_transaction t USING (account_id, reference);
UPDATE finance_transaction t SET user_id = m.user_id, amount = m.amount,
  description = m.description, tx_date = m.tx_date FROM met m WHERE t.ctid = m.tid;
INSERT INTO finance_transaction
  (user_id, account_id, amount, description, tx_date, reference, created_at)
SELECT user_id, account_id, amount, description, tx_date, reference, now()
FROM met WHERE tid IS NULL;
"""


def by_psql(name, statements=BY_PSQL):
    def work(trial):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "upsert.sql")
            script.write_text(statements.format(path=trial.path(name)), encoding="utf-8")
            psql = Psql(find_psql("default", None), "default")
            psql._run(["--no-psqlrc", "--single-transaction", f"--file={script}"], None)
        return told(0)

    return work


VARIANTS = {
    "half": settle("half.csv", on_conflict="upsert"),
    "half, bulk_create": bulk_create("half.csv", **UPDATE_CONFLICTS),
    "half, psql": by_psql("half.csv"),
    "half, the least": by_psql("half.csv", LEAST),
    "changed": settle("changed.csv", on_conflict="upsert"),
    "unchanged": settle("unchanged.csv", on_conflict="upsert"),
    "known": settle("known.csv", on_conflict="ignore"),
    "known, bulk_create": bulk_create("known.csv", ignore_conflicts=True),
    "few": settle("few.csv", on_conflict="upsert"),
    "few, bulk_create": bulk_create("few.csv", **UPDATE_CONFLICTS),
}
FIGURE = Figure(
    about=f"The second file, for a table that has {SHARE} times as many rows.",
    rows=200_000,
    repeat=5,
    files=write_files,
    prepare=dict.fromkeys(VARIANTS, fill),
    variants=VARIANTS,
    ratios=[
        Ratio(of="half", to="half, bulk_create", goal=1 / 5),
        Ratio(of="half", to="half, psql", goal=1 / 1.5),
        Ratio(of="half, the least", to="half, psql"),
        Ratio(of="unchanged", to="changed", goal=1 / 3),
        Ratio(of="known", to="known, bulk_create", goal=1 / 8),
        Ratio(of="few", to="few, bulk_create", goal=1),
    ],
    note=(
        "half: half of the records are new, half change their row. known: 99 of 100 have a row, "
        f"and on_conflict is ignore. few: {FEW:,} records of half. "
        "the least: only COPY, look-up, UPDATE and INSERT, by psql, without any check."
    ),
)
