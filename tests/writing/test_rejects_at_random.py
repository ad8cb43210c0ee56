"""Random rows, tables and batches: what goes in, and what is refused, is that of one at a time."""

import os
import random

import pytest
from django.db import connection

from finance.models import Transaction
from ingest import load
from ingest.sources import records
from ingest.writing import suspects
from tests.factories import AccountFactory
from tests.writing.test_rejects import COLUMNS, contents, one_at_a_time

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = range(int(os.environ.get("REJECT_SEEDS", "15")))
TRAPS = {
    "small": "ADD CONSTRAINT small CHECK (amount < 1000)",
    "apart": "ADD CONSTRAINT apart EXCLUDE (amount WITH =)",
}
KEYS = ["lower(description)", "description", "user_id, amount", "reference, amount"]
CHANCES = [0, 0.01, 0.1]
MISSING = 10**9


@pytest.fixture
def chance(request):
    return random.Random(request.param)


@pytest.fixture
def traps(chance):
    """Whatever may refuse a row: a check, an exclusion, one more unique index, each or none."""
    statements = [sql for sql in TRAPS.values() if chance.random() < 0.4]
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(f"ALTER TABLE finance_transaction {sql}")
        if chance.random() < 0.4:
            columns = chance.choice(KEYS)
            cursor.execute(f"CREATE UNIQUE INDEX trap ON finance_transaction ({columns})")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS trap")
        for name in TRAPS:
            cursor.execute(f"ALTER TABLE finance_transaction DROP CONSTRAINT IF EXISTS {name}")


def random_rows(chance, accounts, count, spread):
    """Yield rows whose references repeat one shortly before, or any other."""
    is_near = chance.random() < 0.5
    too_much, missing, nothing = (chance.choice(CHANCES) for _ in range(3))
    for place in range(count):
        key = place if is_near else chance.randrange(spread)
        if is_near and chance.random() < 0.1:
            key = max(0, place - chance.randrange(1, 60))
        yield (
            accounts[0].user_id,
            MISSING if chance.random() < missing else chance.choice(accounts).pk,
            5_000 if chance.random() < too_much else chance.randrange(999),
            f"Text {chance.randrange(spread * 3)}",
            "2025-01-01",
            "" if chance.random() < nothing else f"R{key}",
        )


@pytest.mark.parametrize("chance", SEEDS, indirect=True, ids=str)
def test_what_is_refused_at_random(chance, traps, few_rows_too, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", chance.choice([7, 20, 50, 150]))
    monkeypatch.setattr(suspects, "TAIL_ROWS", chance.choice([1, 5, 1_000]))
    accounts = [AccountFactory(), AccountFactory()]
    count = chance.choice([60, 300, 500])
    spread = chance.choice([count // 4, count, count * 8])
    if chance.random() < 0.5:  # else the table is empty
        for key in range(0, spread, max(spread // 9, 1)):
            Transaction.objects.create(
                user=accounts[0].user,
                account=accounts[0],
                amount=key % 1_000,
                description=f"old {key}",
                tx_date="2025-01-01",
                reference=f"R{key}",
            )
    rows = list(random_rows(chance, accounts, count, spread))
    refused, stored = one_at_a_time(rows)
    got = load(
        Transaction,
        rows,
        columns=COLUMNS,
        method=chance.choice(["copy", "direct", "direct"]),
        on_error="reject",
    )
    assert {reject.record for reject in got.rejects} == set(refused)
    for reject in got.rejects:
        # A missing parent is found before anything else of the row is tried.
        assert reject.constraint == refused[reject.record] or reject.kind == "reference"
    assert contents() == stored
    assert (got.read, got.rows, got.rejected) == (count, count - len(refused), len(refused))
