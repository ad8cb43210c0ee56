"""Loads that change or delete rows, with their old values kept, and their undo."""

import io
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from finance.models import Transaction
from ingest import ConfigurationError, LedgerError, RecordsRefused, load, resume
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Load, OldRows
from tests.end_to_end.contract.models.inheritance import Partitioned
from tests.end_to_end.contract.models.keys import CompositeKey, NaturalKey, UniversalKey
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = "finance_transaction"


def texts(table=TABLE):
    return run(f"SELECT t.*::text FROM {table} t ORDER BY 1")


@pytest.fixture(autouse=True)
def emptied():
    """The contract's tables cannot be flushed."""
    yield
    for model in (NaturalKey, UniversalKey, Partitioned):
        model.objects.all().delete()


@pytest.fixture
def account():
    return AccountFactory()


@pytest.fixture
def make(account):
    """Make records with these references, and an amount."""

    def make(*numbers, amount="1.50"):
        return [
            {
                "user": account.user_id,
                "account": account.pk,
                "amount": amount,
                "tx_date": "2025-01-01",
                "reference": f"R{number}",
            }
            for number in numbers
        ]

    return make


@pytest.fixture
def write(make, tmp_path):
    """Write such records into a file."""

    def write(name, *numbers, **more):
        records = make(*numbers, **more)
        lines = [",".join(records[0]), *(",".join(map(str, each.values())) for each in records)]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def upsert(source, model=Transaction, **options):
    options = {"on_conflict": "upsert", "keep_old": True, "analyze": False, **options}
    return load(model, source, **options)


def counted(result):
    return {name: count for name, count in vars(result.load).items() if name in COUNTS and count}


COUNTS = ("inserted", "updated", "unchanged", "ignored", "rejected", "skipped", "deleted")


def test_an_upsert_is_taken_back(make):
    load(Transaction, make(1, 2, 3))
    before = texts()
    got = upsert([*make(1), *make(2, 3, 4, 5, amount="2")])
    assert counted(got) == {"inserted": 2, "updated": 2, "unchanged": 1}
    assert got.load.rows().count() == 2
    plan = plan_undo(got.number)
    assert (plan.deletable, plan.restorable, plan.changed, plan.gone) == (2, 2, 0, 0)
    done = undo(got.number)
    assert str(done) == f"Load {got.number} is undone: 2 rows deleted, 2 restored."
    assert texts() == before
    assert not OldRows.objects.exists()


@pytest.mark.parametrize("model", [NaturalKey, UniversalKey])
@pytest.mark.parametrize("mode", ["upsert", "update", "ignore"])
def test_a_row_that_was_there_before_is_never_deleted(model, mode):
    """The ledger has the keys of inserted rows only, whatever the keys are."""
    keys = ["a", "b%s", "c'"] if model is NaturalKey else [uuid.UUID(int=n) for n in (1, 2, 3)]
    name = "code" if model is NaturalKey else "id"
    load(model, [{name: key, "name": "old"} for key in keys[:2]])
    before = texts(model._meta.db_table)
    records = [{name: key, "name": "new"} for key in keys]
    kept = {} if mode == "ignore" else {"keep_old": True}
    for options in ({}, kept):
        got = load(model, records, on_conflict=mode, on_error="reject", **options)
        was_there = {str(key) for key in keys[:2]}
        assert not was_there & {str(row.pk) for row in got.load.rows()}
        if got.updated and not options:
            with pytest.raises(LedgerError) as caught:
                undo(got.number, keep_changed=True)
            assert str(caught.value) == (
                f"Load {got.number} cannot be undone, because it updated 2 rows and did not keep "
                "what they were: only a load with --keep-old (keep_old=True) does. Nothing was "
                "changed."
            )
            model.objects.filter(name="new").update(name="old")
            model.objects.filter(pk=keys[2]).delete()
        else:
            undo(got.number)
        assert texts(model._meta.db_table) == before


def test_rows_that_were_changed_since_are_kept(make):
    load(Transaction, make(1, 2))
    got = upsert(make(1, 2, 3, 4, amount="2"))
    Transaction.objects.filter(reference__in=["R2", "R4"]).update(amount=9)
    with pytest.raises(LedgerError) as caught:
        undo(got.number)
    two, four = Transaction.objects.filter(amount=9).order_by("pk").values_list("pk", flat=True)
    assert f"2 rows with its keys are not as it left them (with the keys {four}, {two})" in str(
        caught.value
    )
    assert "--keep-changed keeps them and undoes the others" in str(caught.value)
    undo(got.number, keep_changed=True)
    left = {it.reference: str(it.amount) for it in Transaction.objects.all()}
    assert left == {"R1": "1.50", "R2": "9.00", "R4": "9.00"}


@pytest.mark.parametrize("duplicates", ["first", "last"])
def test_chunks_and_records_of_one_key(make, write, duplicates):
    load(Transaction, make(1, 2))
    before = texts()
    path = write("a.csv", 1, 2, 3, 1, 3, 2, amount="7.00")
    text = path.read_text().splitlines()
    text[4] = text[4].replace("7.00", "8.00")
    text[5] = text[5].replace("7.00", "9.00")
    path.write_text("\n".join(text) + "\n")
    got = upsert(path, chunk_rows=2, duplicates=duplicates)
    assert (got.inserted, got.updated, got.skipped) == (1, 2, 3)
    assert got.load.chunks.count() == 3
    assert {str(it.amount) for it in Transaction.objects.filter(reference="R3")} == {
        "7.00" if duplicates == "first" else "9.00"
    }
    done = undo(got.number)
    assert (done.deleted, done.restored, done.kept) == (1, 2, 0)
    assert texts() == before


def test_what_is_in_of_a_load_that_was_stopped_and_resumed(make, write):
    load(Transaction, make(1, 2, 3, 4))
    before = texts()
    path = write("a.csv", *range(1, 9), amount="2")

    def stop(progress):
        if progress.rows > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upsert(path, chunk_rows=2, resumable=True, progress=stop)
    stopped = Load.objects.latest("pk")
    assert (stopped.status, stopped.chunks.count()) == ("interrupted", 2)
    with transaction.atomic():
        assert undo(stopped.pk).restored == 4
        assert texts() == before
        transaction.set_rollback(True)
    got = resume(stopped.pk)
    assert (got.inserted, got.updated) == (4, 4)
    done = undo(got.number)
    assert (done.deleted, done.restored) == (4, 4)
    assert texts() == before


def test_a_connection_that_is_lost_between_keeping_and_committing(make, write):
    load(Transaction, make(1, 2, 3, 4))
    before = texts()
    killed = []

    def kill(progress):
        if progress.rows == 4 and not killed:
            killed.append(True)
            run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    path = write("a.csv", *range(1, 9), amount="2")
    got = upsert(path, chunk_rows=2, resumable=True, progress=kill)
    assert killed
    assert any(each.startswith("Tried again") for each in got.decisions)
    assert (got.inserted, got.updated) == (4, 4)
    assert sum(len(it.keys) for it in OldRows.objects.all()) == 4
    done = undo(got.number)
    assert (done.deleted, done.restored) == (4, 4)
    assert texts() == before


def test_workers_keep_old_values_too(make, write):
    load(Transaction, make(*range(40)))
    before = texts()
    got = upsert(write("a.csv", *range(60), amount="2"), workers=2, chunk_rows=20)
    assert (got.inserted, got.updated) == (20, 40)
    undo(got.number)
    assert texts() == before


def test_a_partitioned_table():
    load(Partitioned, [{"year": 1999, "name": "a"}, {"year": 2025, "name": "b"}])
    before = texts("contract_partitioned")
    got = upsert([{"year": year, "name": "new"} for year in (1998, 1999, 2025, 2026)], Partitioned)
    assert (got.inserted, got.updated) == (2, 2)
    undo(got.number)
    assert texts("contract_partitioned") == before


def test_triggers_that_change_rows_in_savepoints(make):
    load(Transaction, make(1, 2))
    before = texts()
    run(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN BEGIN "
        f"UPDATE {TABLE} SET description = pg_catalog.current_setting('DateStyle') "
        "WHERE id = new.id AND description = ''; "
        "EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN NULL; END $$; "
        f"CREATE TRIGGER note AFTER INSERT OR UPDATE ON {TABLE} FOR EACH ROW "
        "EXECUTE FUNCTION note()"
    )
    try:
        with transaction.atomic():
            run("SET LOCAL IntervalStyle = 'sql_standard'")
            got = upsert([record | {"description": ""} for record in make(1, 2, 3, amount="2")])
        plan = plan_undo(got.number)
        assert (plan.deletable, plan.restorable, plan.changed) == (1, 2, 0)
        assert undo(got.number).restored == 2
        styles = {it.description for it in Transaction.objects.all()}
    finally:
        run(f"DROP TRIGGER note ON {TABLE}; DROP FUNCTION note()")
    assert styles == {run("SHOW DateStyle")[0][0]}  # the trigger has fired for the undo
    Transaction.objects.update(description="")
    assert texts() == before


@pytest.mark.parametrize("chunk_rows", [None, 3])
def test_unique_values_that_moved_from_row_to_row(make, chunk_rows):
    """Each record takes the value that the one before it has just left."""
    load(Transaction, [{**it, "description": it["reference"]} for it in make(*range(8))])
    run(f"CREATE UNIQUE INDEX one_description ON {TABLE} (description)")
    try:
        before = texts()
        records = make(*range(8))
        for number, record in enumerate(records):
            record["description"] = f"R{number - 1}"
        result = upsert(records, key=["account", "reference"], chunk_rows=chunk_rows)
        assert result.updated == 8
        assert undo(result.load.pk).restored == 8
        assert texts() == before
    finally:
        run("DROP INDEX one_description")


def test_inside_a_transaction_of_the_caller(make):
    load(Transaction, make(1, 2))
    before = texts()
    with transaction.atomic():
        Transaction.objects.filter(reference="R1").update(description="by the caller")
        middle = texts()
        got = upsert(make(1, 2, 3, amount="2"))
        undo(got.number)
        assert texts() == middle
        again = upsert(make(1, 2, 3, amount="2"))
    undo(again.number)
    assert texts() == middle
    assert middle != before


def test_refused_records_keep_nothing(make):
    load(Transaction, make(1, 2))
    before = texts()
    records = [*make(1, amount="2"), *make(2, amount="1.555"), *make(3, amount="2")]
    records[2]["account"] = 10**9
    got = upsert(records, on_error="reject")
    assert counted(got) == {"updated": 1, "rejected": 2}
    assert sum(len(it.keys) for it in OldRows.objects.all()) == 1
    undo(got.number)
    assert texts() == before


def test_a_row_that_refers_to_an_inserted_one(account):
    """Changed rows are restored first; where a unique key forbids it, inserted ones go first."""
    table = "swapped"
    run(
        f"CREATE TABLE {table} (code text PRIMARY KEY, name text UNIQUE, parent text REFERENCES "
        f"{table} DEFERRABLE INITIALLY DEFERRED)"
    )
    from django.apps import apps
    from django.db import models

    try:

        class Swapped(models.Model):
            code = models.TextField(primary_key=True)
            name = models.TextField(unique=True)
            parent = models.TextField(null=True, blank=True)  # noqa: DJ001

            class Meta:
                app_label = "contract"
                db_table = table
                managed = False

            def __str__(self):
                return self.code

        load(Swapped, [{"code": "a", "name": "one", "parent": None}])
        before = texts(table)
        for changed, name in ({"parent": "b"}, "two"), ({"name": "two"}, "one"):
            records = [{"code": "a", "name": "one", "parent": None} | changed]
            records.append({"code": "b", "name": name, "parent": None})
            got = upsert(records, Swapped, key=["code"])
            assert (got.inserted, got.updated) == (1, 1)
            undo(got.number)
            assert texts(table) == before
    finally:
        apps.all_models["contract"].pop("swapped", None)
        run(f"DROP TABLE {table}")


def test_a_sync_is_taken_back(make):
    load(Transaction, make(1, 2, 3, 4))
    before = texts()
    got = upsert(make(1, 2, 5, amount="2"), on_conflict="sync", scope="all", max_deletes="100%")
    assert counted(got) == {"inserted": 1, "updated": 2, "deleted": 2}
    plan = plan_undo(got.number)
    assert (plan.deletable, plan.restorable, plan.missing) == (1, 2, 2)
    assert str(undo(got.number)).endswith("1 row deleted, 2 restored, 2 put back.")
    assert texts() == before


def test_a_sync_whose_deleted_rows_came_back_meanwhile(make):
    load(Transaction, make(1, 2, 3))
    one, two, three = Transaction.objects.order_by("pk")
    options = {"on_conflict": "sync", "scope": "all", "max_deletes": "100%"}
    got = upsert(make(1), **options)
    two.amount = 9
    two.save(force_insert=True)
    with pytest.raises(LedgerError) as caught:
        undo(got.number)
    assert f"(with the key {two.pk})" in str(caught.value)
    done = undo(got.number, keep_changed=True)
    assert (done.put_back, done.kept) == (1, 1)
    amounts = {it.pk: str(it.amount) for it in Transaction.objects.all()}
    assert amounts == {one.pk: "1.50", two.pk: "9.00", three.pk: "1.50"}
    # What came back is nobody's: the sequence was not moved, and goes on behind it.
    assert load(Transaction, make(4)).load.rows().get().pk > three.pk


def test_a_sync_without_old_values_is_not_undone(make):
    load(Transaction, make(1, 2))
    options = {"on_conflict": "sync", "scope": "all", "max_deletes": "100%", "keep_old": False}
    got = upsert(make(1), **options)
    with pytest.raises(LedgerError, match="because it deleted 1 row and did not keep what it"):
        undo(got.number)


def test_the_command_says_what_an_undo_does(make, write):
    load(Transaction, make(1, 2))
    before = texts()
    path = str(write("a.csv", 1, 2, 3, amount="2"))
    out = io.StringIO()
    how = ["--on-conflict", "upsert", "--keep-old"]
    call_command("bulk_load", "finance.Transaction", path, *how, stdout=out, stderr=out)
    number = Load.objects.latest("pk").pk
    out = io.StringIO()
    call_command("bulk_load", "--undo", str(number), "--no-input", stdout=out)
    assert "  to restore     2 of 2 that it updated\n" in out.getvalue()
    assert texts() == before


def test_where_old_values_cannot_be_kept(make):
    for options in ({}, {"on_conflict": "ignore"}):
        with pytest.raises(ConfigurationError) as caught:
            load(Transaction, make(1), keep_old=True, **options)
        assert "keep_old (--keep-old) has no effect" in str(caught.value)
    record = {"tenant": 1, "number": uuid.UUID(int=1), "name": "a"}
    with pytest.raises(ConfigurationError) as caught:
        upsert([record], CompositeKey)
    assert "its key has several columns" in str(caught.value)
    with pytest.raises(CommandError, match="--keep-old"):
        call_command("bulk_load", "finance.Transaction", "a.csv", "--keep-old")


@pytest.mark.parametrize("keep_old", [True, False])
def test_an_undo_is_advised_only_where_there_can_be_one(make, tmp_path, keep_old, capsys):
    load(Transaction, make(1, amount="1"))
    path = tmp_path / "rows.csv"

    def write(*records):
        lines = [",".join(map(str, record.values())) for record in records]
        path.write_text("\n".join([",".join(make(1)[0]), *lines]), encoding="utf-8")
        return str(path)

    options = {"on_conflict": "upsert", "keep_old": keep_old}
    good = make(1, 2)
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, write(*good, {**good[0], "amount": "x"}), chunk_rows=1, **options)
    number = Load.objects.latest("pk").pk
    said = f"continue with `bulk_load --resume {number}`"
    undo_it = f", or undo it with `bulk_load --undo {number}`" if keep_old else ""
    assert f"2 rows of earlier chunks are committed: {said}{undo_it}." in str(caught.value)

    load(Transaction, write(*make(1, 2, amount="7")), **options)
    with pytest.raises(LedgerError, match="Nothing was loaded, as asked: ") as caught:
        load(Transaction, str(path), on_repeat="refuse", **options)
    assert ("bulk_load --undo" in str(caught.value)) == keep_old

    write(*make(3), {**good[0], "amount": "x"})
    command = ("bulk_load", "finance.Transaction", str(path), "--on-conflict", "upsert")
    with pytest.raises(SystemExit):
        call_command(*command, "--on-error", "reject")
    assert "To have all of them in a file, load again with --reject" in capsys.readouterr().err
