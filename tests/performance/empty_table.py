"""An empty table: one connection that builds the indexes, or several and the indexes afterwards."""

import time

from django.db import connection

from finance.models import Transaction
from ingest import load
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain
from tests.performance.workers import Watch, Watched

INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), k.conname::text,
       pg_get_constraintdef(k.oid)
FROM pg_index i LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid
  AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
WHERE i.indrelid = 'finance_transaction'::regclass ORDER BY i.indisunique, 1
"""


def by_one(trial):
    with Watch() as watch:
        result = load(Transaction, trial.path("plain.csv"))
    return Watched(rows=result.rows, rejected=0, said=watch.describe())


def by_several(workers):
    """Take the indexes away, load in committed chunks, and build them: nothing protects this."""

    def several(trial):
        with Watch() as watch:
            with connection.cursor() as cursor:
                cursor.execute(INDEXES)
                found = cursor.fetchall()
                for name, _, constraint, _ in found:
                    if constraint is None:
                        cursor.execute(f"DROP INDEX {name}")
                    else:
                        cursor.execute(f"ALTER TABLE finance_transaction DROP CONSTRAINT {name}")
            result = load(
                Transaction,
                trial.path("plain.csv"),
                resumable=True,
                workers=workers,
                chunk_rows=trial.rows // 8,
            )
            built = time.perf_counter()
            with connection.cursor() as cursor:
                cursor.execute("SET maintenance_work_mem = '256MB'")
                for _, definition, constraint, text in found:
                    if constraint is None:
                        cursor.execute(definition)
                    else:
                        cursor.execute(
                            f"ALTER TABLE finance_transaction ADD CONSTRAINT {constraint} {text}"
                        )
            built = time.perf_counter() - built
        said = f"{built:.1f} s of it building the indexes; {watch.describe()}"
        return Watched(rows=result.rows, rejected=0, said=said)

    return several


FIGURE = Figure(
    about="Into an empty table.",
    rows=1_000_000,
    files=lambda folder, rows: write_plain(folder / "plain.csv", rows),
    variants={
        "one connection": by_one,
        "1 worker, then indexes": by_several(1),
        "2 workers, then indexes": by_several(2),
    },
    ratios=[
        Ratio(of="1 worker, then indexes", to="one connection"),
        Ratio(of="2 workers, then indexes", to="one connection"),
    ],
    note="`one connection` is `direct` in one transaction, all or nothing.",
)
