"""Random schedules of loads, undos and strangers' writes, against a model of whose row is whose.

`UNDO_SCHEDULES=300 python -m pytest tests/ledger/test_undo_at_random.py` runs 300 of them.
"""

import os
import random
from contextlib import nullcontext, suppress

import pytest
from django.db import IntegrityError, connection, transaction

from finance.models import Transaction
from ingest import IngestError, LedgerError, load
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Chunk, KeyList, KeyRange, Load
from ingest.sources import records
from ingest.writing import direct
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

SCHEDULES = range(int(os.environ.get("UNDO_SCHEDULES", "6")))
STEPS = 25
TABLE = "finance_transaction"
STRANGER = "stranger"


class Schedule:
    """A table that loads and strangers write into, and who owns each of its rows."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.account = AccountFactory()
        self.owners = {}
        """By key: the number of the load that inserted the row as it is now, the number below zero
        of the one that changed it so, or `STRANGER`."""
        self.old = {}
        """By the number of a load: what the rows were that it changed, by key."""
        self.keys = {}
        """By the number of a load: the keys that it inserted."""
        self.written = 0
        self.undone = 0
        self.restored = 0
        self.refused = 0

    def step(self):
        steps = {
            self.load: 6,
            self.load_inside: 4,
            self.upsert: 6,
            self.insert: 4,
            self.update: 2,
            self.delete: 2,
            self.lock: 1,
            self.replace: 3,
            self.restore: 1,
            self.truncate: 1,
            self.set_back: 2,
            self.rewrite: 1,
            self.undo: 6,
        }
        [chosen] = self.chance.choices(list(steps), list(steps.values()))
        chosen()
        self.check()
        return chosen.__name__

    def check(self):
        assert sorted(self.owners) == [key for (key,) in run(f"SELECT id FROM {TABLE} ORDER BY 1")]
        for number in self.keys:
            got = Load.objects.get(pk=number).rows().values_list("pk", flat=True)
            assert set(got) == self.own(number), number

    def own(self, number):
        return {key for key, owner in self.owners.items() if owner == number}

    def some(self, count=3):
        keys = sorted(self.owners)
        return self.chance.sample(keys, min(len(keys), self.chance.randint(1, count)))

    def rows(self):
        """Some rows to load, whose references and keys may be there already."""
        self.written += 1
        tag = f"load {self.written}"
        has_keys = self.chance.random() < 0.4
        taken = [reference for (reference,) in run(f"SELECT reference FROM {TABLE}")]
        rows, keys = [], set()
        for place in range(self.chance.choice([0, 1, 4, 9, 30])):
            row = {
                "user_id": self.account.user_id,
                "account_id": self.account.pk,
                "amount": place,
                "tx_date": "2025-01-01",
                "description": tag,
                "reference": f"{tag}/{place}",
            }
            if taken and self.chance.random() < 0.1:
                row["reference"] = self.chance.choice(taken)
            if has_keys:
                row["id"] = self.chance.randint(1, 40) * self.chance.choice([1, 1, 1000])
                if row["id"] in keys:
                    continue
                keys.add(row["id"])
            rows.append(row)
        return tag, rows

    def load(self):
        """Load some rows; all of them, those that are accepted, or chunks until one is refused."""
        tag, rows = self.rows()
        options = {"method": self.chance.choice(["copy", "direct"])}
        if self.chance.random() < 0.5:
            options["on_error"] = "reject"
        if self.chance.random() < 0.4 and not connection.in_atomic_block:
            options["chunk_rows"] = self.chance.choice([1, 3, 10])
        before = {number for (number,) in run("SELECT id FROM ingest_load")}
        source = self.nested(rows) if connection.in_atomic_block else iter(rows)
        with (
            suppress(IngestError),
            transaction.atomic() if connection.in_atomic_block else nullcontext(),
        ):
            load(Transaction, source, **options)
        self.learn(tag, before)

    def upsert(self):
        """Load rows some of whose keys the table has, and keep what these were."""
        self.written += 1
        tag = f"upsert {self.written}"
        keys = self.some(5) + [self.chance.randint(1, 60) for _ in range(self.chance.randint(0, 4))]
        rows = [
            {
                "id": key,
                "user_id": self.account.user_id,
                "account_id": self.account.pk,
                "amount": place,
                "tx_date": "2025-01-01",
                "description": tag,
                "reference": f"{tag}/{place}",
            }
            for place, key in enumerate(keys)
        ]
        options = {"on_conflict": "upsert", "key": ["id"], "keep_old": True}
        options["duplicates"] = self.chance.choice(["reject", "first", "last"])
        options["on_error"] = self.chance.choice(["abort", "reject"])
        if self.chance.random() < 0.4 and not connection.in_atomic_block:
            options["chunk_rows"] = self.chance.choice([1, 3])
        before = {number for (number,) in run("SELECT id FROM ingest_load")}
        there = self.contents()
        with (
            suppress(IngestError),
            transaction.atomic() if connection.in_atomic_block else nullcontext(),
        ):
            load(Transaction, rows, **options)
        self.learn(tag, before, there)

    def contents(self):
        found = run(f"SELECT id, amount, description, reference FROM {TABLE}")
        return {key: tuple(values) for key, *values in found}

    def nested(self, rows):
        """Yield rows, some of them inside savepoints of the caller's."""
        parts = [rows[:3], rows[3:]]
        for part in parts:
            with transaction.atomic() if self.chance.random() < 0.3 else nullcontext():
                yield from part

    def learn(self, tag, before, there=()):
        """Take the rows that have the tag for the new load's; ``there`` are those of before it."""
        new = {number for (number,) in run("SELECT id FROM ingest_load")} - before
        found = [key for (key,) in run(f"SELECT id FROM {TABLE} WHERE description = %s", tag)]
        assert len(new) == 1 or not found
        for number in new:
            self.keys[number] = set(found) - set(there)
            self.old[number] = {key: there[key] for key in found if key in there}
            self.owners |= dict.fromkeys(self.keys[number], number)
            self.owners |= dict.fromkeys(self.old[number], -number)

    def load_inside(self):
        """Load in a transaction of the caller's, who writes before and after, or rolls back."""
        before = dict(self.owners), dict(self.keys), dict(self.old)
        with transaction.atomic():
            for _ in range(self.chance.randint(1, 5)):
                step = self.chance.choice(
                    [
                        *(self.load, self.load, self.insert, self.update, self.delete),
                        *(self.replace, self.upsert),
                    ]
                )
                with transaction.atomic() if self.chance.random() < 0.5 else nullcontext():
                    step()
            if self.chance.random() < 0.2:
                transaction.set_rollback(True)
                self.owners, self.keys, self.old = before

    def insert(self):
        """Insert a row by hand, with a key of its own or with one that a row had once."""
        free = sorted(set(range(1, 45)) - set(self.owners))
        self.write(self.chance.choice(free) if free and self.chance.random() < 0.6 else None)

    def write(self, key=None):
        self.written += 1
        row = Transaction(
            pk=key,
            user_id=self.account.user_id,
            account=self.account,
            amount=1,
            tx_date="2025-01-01",
            description=STRANGER,
            reference=f"{STRANGER} {self.written}",
        )
        with suppress(IntegrityError), transaction.atomic():
            row.save(force_insert=True)
            self.owners[row.pk] = STRANGER

    def update(self):
        for key in self.some():
            Transaction.objects.filter(pk=key).update(amount=self.chance.randint(0, 1))
            self.owners[key] = STRANGER

    def delete(self):
        for key in self.some():
            Transaction.objects.filter(pk=key).delete()
            del self.owners[key]

    def replace(self):
        """Free keys and give them again, in one transaction."""
        with transaction.atomic():
            for key in self.some():
                Transaction.objects.filter(pk=key).delete()
                del self.owners[key]
                self.write(key)

    def lock(self):
        with transaction.atomic():
            list(Transaction.objects.select_for_update().filter(pk__in=self.some()))

    def restore(self):
        """Put all rows in again from a copy."""
        run(f"CREATE TABLE copied AS TABLE {TABLE}")
        run(f"DELETE FROM {TABLE}")
        run(f"INSERT INTO {TABLE} OVERRIDING SYSTEM VALUE TABLE copied")
        run("DROP TABLE copied")
        self.owners = dict.fromkeys(self.owners, STRANGER)

    def truncate(self):
        run(f"TRUNCATE {TABLE} RESTART IDENTITY")
        self.owners = {}

    def set_back(self):
        run("SELECT setval(%s::regclass, %s)", f"{TABLE}_id_seq", self.chance.randint(1, 40))

    def rewrite(self):
        """Write the table's files anew; its rows stay who they are."""
        run(self.chance.choice([f"VACUUM (FULL, FREEZE) {TABLE}", f"VACUUM (FREEZE) {TABLE}"]))
        run(f"CLUSTER {TABLE} USING {TABLE}_pkey")
        run(f"ALTER TABLE {TABLE} SET WITHOUT CLUSTER")  # else the index stays marked

    def undo(self):
        """Undo a load: exactly what is proved to be its, or nothing."""
        if not self.keys:
            return
        number = self.chance.choice(sorted(self.keys))
        own = self.own(number)
        changed = {key for key in self.old[number] if self.owners.get(key) == -number}
        others = ((self.keys[number] | set(self.old[number])) & set(self.owners)) - own - changed
        count = len(self.keys[number]) + len(self.old[number])
        gone = count - len(own) - len(changed) - len(others)
        keep_changed = self.chance.random() < 0.4
        plan = plan_undo(number)
        want = len(self.keys[number]), len(own), len(changed), len(others), gone
        got = plan.rows, plan.deletable, plan.restorable, plan.changed, plan.gone
        assert got == want
        if others and not keep_changed:
            with pytest.raises(LedgerError, match="is not undone: "):
                undo(number)
            self.refused += 1
            return
        got = undo(number, keep_changed=keep_changed)
        assert (got.deleted, got.kept, got.gone) == (len(own), len(others), gone)
        assert got.restored == len(changed)
        now = self.contents()
        for key in changed:
            assert now[key] == self.old[number][key]
            self.owners[key] = STRANGER
        self.restored += got.restored
        self.undone += got.deleted
        for key in own:
            del self.owners[key]
        del self.keys[number], self.old[number]


@pytest.mark.parametrize("seed", SCHEDULES)
def test_no_strangers_row_is_deleted(seed, monkeypatch):
    schedule = Schedule(seed)
    monkeypatch.setattr(direct, "SMALL_ROWS", schedule.chance.choice([0, 5_000]))
    monkeypatch.setattr(records, "BATCH_ROWS", schedule.chance.choice([2, 7, 50]))
    done = [schedule.step() for _ in range(STEPS)]
    for _ in sorted(schedule.keys):  # whatever is left
        schedule.undo()
        schedule.check()
    assert {"load", "load_inside", "undo"} & set(done)


def test_the_schedules_delete_and_refuse():
    schedule = Schedule("d")  # nine steps have them all
    while not (schedule.undone and schedule.refused and schedule.restored):
        schedule.step()
    assert Chunk.objects.exists()
    assert KeyRange.objects.exists() or KeyList.objects.exists()
