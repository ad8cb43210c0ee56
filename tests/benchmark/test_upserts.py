"""``--overlap``: rows of which some have keys of rows that the table holds."""

import uuid

import pytest
from django.apps.registry import Apps
from django.db import connection, models

from finance.models import Account, Transaction
from ingest.benchmark import BenchmarkOptions, run_benchmark, upserts
from ingest.benchmark.data.keys import give_keys
from ingest.exceptions import BenchmarkError
from tests.benchmark.marks import committing
from tests.factories import AccountFactory

pytestmark = committing


def benchmark(model, **options):
    defaults = {"rows": (20, 40), "repeat": 1, "existing": 50, "overlap": 0.5}
    return run_benchmark(BenchmarkOptions(model=model, **(defaults | options)))


@pytest.mark.parametrize(("model", "overlap"), [(Account, 1.0), (Transaction, 0.5)])
def test_each_way_is_verified_and_no_real_row_is_touched(model, overlap):
    AccountFactory()
    before = list(Account.objects.values())
    result = benchmark(model, overlap=overlap, baselines=("psql",))
    got = [(each.method, each.rows, each.verified, each.note) for each in result.results]
    ways = ("bulk_create", "pgbulk", "upsert", "psql")
    assert got == [(way, rows, True, "") for rows in (20, 40) for way in ways]
    assert result.table["overlap"] == overlap
    assert list(Account.objects.values()) == before


def test_a_way_that_inserts_and_does_not_update_is_wrong(monkeypatch):
    def ignore(self, rows, instances, key, others):
        rows.bulk_create(instances, ignore_conflicts=True)

    monkeypatch.setattr(upserts._BulkCreate, "upsert", ignore)
    result = benchmark(Account, rows=(20,))
    verified = {each.method: each.verified for each in result.results}
    assert verified == {"bulk_create": False, "pgbulk": True, "upsert": True}


def test_a_way_that_changes_other_rows_is_wrong(monkeypatch):
    upsert = upserts._BulkCreate.upsert

    def change(self, rows, instances, key, others):
        upsert(self, rows, instances, key, others)
        with connection.cursor() as cursor:
            table = self.target.table.qualified_name
            cursor.execute(
                f"UPDATE {table} SET name = 'x' WHERE id = (SELECT max(id) FROM {table}"
                " WHERE id <= 50 AND name <> 'x' AND id <> ALL (%s))",
                [[each.pk for each in instances]],
            )

    monkeypatch.setattr(upserts._BulkCreate, "upsert", change)
    result = benchmark(Account, rows=(20,))
    assert {each.method: each.verified for each in result.results}["bulk_create"] is False


def test_keys_are_given_evenly_and_once():
    fields, rows = give_keys(
        Account, (Account._meta.get_field("name"),), [(str(n),) for n in range(30)], 10, 0.3, 1
    )
    assert [field.name for field in fields] == ["id", "name"]
    keys = [key for key, _ in rows]
    assert sorted(keys[10:]) == list(range(1, 21))
    assert len(set(keys[:10])) == 10
    assert len(set(keys[:10]) & set(keys[10:])) == 3
    assert [name for _, name in rows] == [str(n) for n in range(30)]


class Ticket(models.Model):
    id = models.UUIDField(primary_key=True)
    note = models.TextField()

    class Meta:
        app_label = "tickets"
        apps = Apps()
        managed = False

    def __str__(self):
        return self.note


def test_keys_that_the_rows_have_are_taken():
    fields = tuple(Ticket._meta.concrete_fields)
    given = [(uuid.UUID(int=n), str(n)) for n in range(30)]
    _, rows = give_keys(Ticket, fields, given, 10, 1.0, 1)
    assert {key for key, _ in rows[:10]} <= {key for key, _ in rows[10:]}
    assert rows[10:] == given[10:]


def test_more_overlap_than_there_are_rows():
    with pytest.raises(BenchmarkError, match="but it holds 5: use a larger --existing"):
        benchmark(Account, existing=5)
