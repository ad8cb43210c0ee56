"""Whose row is it: every way in which a row with a load's key is not the load's any more."""

import threading

import pytest
from django.db import connection, connections, transaction

from finance.models import Transaction
from ingest import LedgerError, load
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Chunk, KeyList, Load
from ingest.sources import records
from ingest.writing import direct
from tests.end_to_end.contract.models.inheritance import Partitioned
from tests.end_to_end.contract.models.keys import CompositeKey, NaturalKey
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = "finance_transaction"


@pytest.fixture
def account():
    return AccountFactory()


@pytest.fixture
def make(account):
    """Load so many transactions, or give them to be loaded otherwise."""

    def rows(count, **more):
        for number in range(1, count + 1):
            yield {
                "user_id": account.user_id,
                "account_id": account.pk,
                "amount": number,
                "tx_date": "2025-01-01",
                "reference": f"R{number}",
            } | more

    def make(count=4, **options):
        return load(Transaction, rows(count), **options).load

    make.rows = rows
    return make


def amounts():
    return sorted(map(int, Transaction.objects.values_list("amount", flat=True)))


def refused(found, **options):
    """Undo a load that is refused, and see that nothing was deleted."""
    before = sorted(Transaction.objects.values_list("pk", flat=True))
    with pytest.raises(LedgerError) as caught:
        undo(found.pk, **options)
    assert sorted(Transaction.objects.values_list("pk", flat=True)) == before
    assert Load.objects.get(pk=found.pk).status == Load.Status.LOADED
    return str(caught.value)


def changed(found, count, keys):
    if count == 1:
        return (
            f"Load {found.pk} is not undone: 1 row with its keys is not as it inserted it (with "
            f"the key {keys}): it was changed since, or is another row with the same key. Nothing "
            "was deleted: --keep-changed keeps it and undoes the others."
        )
    return (
        f"Load {found.pk} is not undone: {count} rows with its keys are not as it inserted them "
        f"(with the keys {keys}): they were changed since, or are other rows with the same keys. "
        "Nothing was deleted: --keep-changed keeps them and undoes the others."
    )


def test_keys_that_are_given_again_after_a_truncate(make):
    run(f"TRUNCATE {TABLE} RESTART IDENTITY")  # another test may have drawn from it
    first = make(2)
    run(f"TRUNCATE {TABLE} RESTART IDENTITY")
    second = make(4)
    assert sorted(second.rows().values_list("pk", flat=True)) == [1, 2, 3, 4]
    assert not first.rows().exists()
    assert refused(first) == changed(first, 2, "1, 2")
    got = undo(first.pk, keep_changed=True)
    want = "0 rows deleted, 2 changed since were kept (with the keys 1, 2)."
    assert str(got) == f"Load {first.pk} is undone: {want}"
    assert amounts() == [1, 2, 3, 4]
    assert undo(second.pk).deleted == 4


def test_a_sequence_that_was_set_back(make):
    first = make(3)
    keys = sorted(first.rows().values_list("pk", flat=True))
    Transaction.objects.filter(pk__in=keys[1:]).delete()
    run("SELECT setval(%s::regclass, %s)", f"{TABLE}_id_seq", keys[0])
    second = load(Transaction, make.rows(2, reference="")).load
    assert sorted(second.rows().values_list("pk", flat=True)) == keys[1:]
    assert [row.pk for row in first.rows()] == keys[:1]
    assert refused(first) == changed(first, 2, f"{keys[1]}, {keys[2]}")
    assert undo(first.pk, keep_changed=True).deleted == 1
    assert undo(second.pk).deleted == 2


def test_natural_keys_that_were_deleted_and_made_again():
    found = load(NaturalKey, [{"code": code} for code in "abc"]).load
    NaturalKey.objects.filter(code="b").delete()
    NaturalKey.objects.create(code="b", name="a stranger's")
    plan = plan_undo(found.pk)
    assert (plan.rows, plan.deletable, plan.changed, plan.gone) == (3, 2, 1, 0)
    assert plan.changed_keys == ("b",)
    with pytest.raises(LedgerError):
        undo(found.pk)
    assert NaturalKey.objects.count() == 3
    assert undo(found.pk, keep_changed=True).kept == 1
    assert [row.name for row in NaturalKey.objects.all()] == ["a stranger's"]
    assert not KeyList.objects.exists()


def test_rows_that_were_updated_are_named_and_kept(make):
    found = make(4)
    row = found.rows().get(amount=2)
    row.save()
    plan = plan_undo(found.pk)
    assert plan.refusal == refused(found) == changed(found, 1, row.pk)
    assert str(plan).splitlines() == [
        f"Load {found.pk}",
        "  model          finance.Transaction",
        f"  file           {found.source}",
        f"  day            {found.started_at:%Y-%m-%d}",
        "  rows           4",
        "  to delete      3",
        f"  changed since  1 (with the key {row.pk})",
        "  gone           0",
    ]
    assert undo(found.pk, keep_changed=True).deleted == 3
    assert amounts() == [2]


def test_rows_that_were_locked_or_rewritten_in_place_are_still_the_loads(make):
    found = make(4)
    with transaction.atomic():
        list(Transaction.objects.select_for_update())
    run(f"VACUUM (FULL, FREEZE, ANALYZE) {TABLE}")
    run(f"CLUSTER {TABLE} USING {TABLE}_pkey")
    run(f"ALTER TABLE {TABLE} SET WITHOUT CLUSTER")  # else the index stays marked for other tests
    assert found.rows().count() == 4
    assert undo(found.pk).deleted == 4


def test_a_table_that_alter_table_wrote_anew(make):
    found = make(2)
    run(f"ALTER TABLE {TABLE} ADD COLUMN noise float8 DEFAULT random()")
    try:
        assert "2 rows with its keys are not as it inserted them" in refused(found)
    finally:
        run(f"ALTER TABLE {TABLE} DROP COLUMN noise")


def test_rows_that_were_put_in_again_from_a_copy(make):
    found = make(3)
    run(f"CREATE TABLE copied AS TABLE {TABLE}")
    run(f"TRUNCATE {TABLE}")
    run(f"INSERT INTO {TABLE} OVERRIDING SYSTEM VALUE TABLE copied")
    run("DROP TABLE copied")
    assert "3 rows with its keys" in refused(found)
    assert not found.rows().exists()


def test_a_table_that_is_another_one():
    found = load(NaturalKey, [{"code": "a"}]).load
    run("ALTER TABLE contract_naturalkey RENAME TO old")
    run("CREATE TABLE contract_naturalkey (LIKE old INCLUDING ALL)")
    run("INSERT INTO contract_naturalkey TABLE old")
    try:
        with pytest.raises(LedgerError, match="its table is not the one that was loaded"):
            undo(found.pk, keep_changed=True)
        assert NaturalKey.objects.count() == 1
        assert not found.rows().exists()
    finally:
        run("DROP TABLE contract_naturalkey")
        run("ALTER TABLE old RENAME TO contract_naturalkey")
    assert undo(found.pk).deleted == 1


EPOCH = 2**32


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"transactions": []}, "it was recorded before ingest noted which transactions"),
        ({"table_identity": "1/2/3"}, "its table is not the one that was loaded"),
        ({"transactions": -EPOCH}, "so many transactions came after it"),
        ({"transactions": EPOCH}, "so many transactions came after it"),
    ],
)
def test_what_proves_nothing(make, change, want):
    found = make(2)
    chunk = found.chunks.get()
    if isinstance(change.get("transactions"), int):
        moved = change["transactions"]
        change = {"transactions": [[a + moved, b + moved] for a, b in chunk.transactions]}
    Chunk.objects.filter(pk=chunk.pk).update(**change)
    assert not found.rows().exists()
    for options in ({}, {"keep_changed": True}):
        got = refused(found, **options)
        assert got.startswith(f"Load {found.pk} cannot be undone, because {want}")
        assert got.endswith("Nothing was deleted: delete them by hand.")


def test_a_load_whose_keys_are_not_known():
    rows = [{"tenant": 1, "number": "00000000-0000-0000-0000-00000000000a"}]
    got = load(CompositeKey, rows)
    assert any("this load cannot be undone" in decision for decision in got.decisions)
    with pytest.raises(LedgerError, match="cannot be undone, because its key has several columns"):
        undo(got.load.pk)
    assert CompositeKey.objects.count() == 1
    assert not got.load.rows().exists()


def test_a_key_that_the_caller_gives_again_in_the_same_transaction(make):
    with transaction.atomic():
        Transaction.objects.count()
        found = make(3)
        first = found.rows().order_by("pk")[0]
        Transaction.objects.filter(pk=first.pk).delete()
        first.amount = 99
        first.save(force_insert=True)
        assert found.rows().count() == 2
    assert refused(found) == changed(found, 1, first.pk)
    assert undo(found.pk, keep_changed=True).deleted == 2
    assert amounts() == [99]


def test_loads_and_undo_inside_one_transaction(make):
    with transaction.atomic():
        first = make(2, on_error="reject")
        second = load(Transaction, make.rows(2, reference=""), on_error="reject").load
        assert (first.rows().count(), second.rows().count()) == (2, 2)
        assert undo(first.pk).deleted == 2
    assert second.rows().count() == Transaction.objects.count() == 2


@pytest.mark.parametrize("chunk_rows", [None, 60])
@pytest.mark.parametrize("few", [0, 10_000])
def test_rows_that_were_tried_one_by_one(make, monkeypatch, chunk_rows, few):
    monkeypatch.setattr(direct, "SMALL_ROWS", few)
    monkeypatch.setattr(records, "BATCH_ROWS", 40)
    rows = [*make.rows(100), *make.rows(90), *make.rows(120)]
    got = load(Transaction, rows, on_error="reject", chunk_rows=chunk_rows)
    assert got.rejected == 190
    assert got.load.rows().count() == 120
    assert undo(got.load.pk).deleted == 120


def test_a_source_that_uses_savepoints_of_its_own(make, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", 2)

    def rows():
        every = list(make.rows(9))
        yield from every[:3]
        with transaction.atomic():
            yield from every[3:6]
        yield from every[6:]

    with transaction.atomic():
        found = load(Transaction, rows()).load
    assert found.rows().count() == 9
    assert undo(found.pk).deleted == 9


def test_a_trigger_that_changes_the_row_in_a_savepoint(make):
    run(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN BEGIN "
        f"UPDATE {TABLE} SET description = 'noted' WHERE id = new.id; "
        "EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN NULL; END $$; "
        f"CREATE TRIGGER note AFTER INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION note()"
    )
    try:
        found = make(3)
        listed = load(Transaction, [row | {"id": 10**6, "reference": ""} for row in make.rows(1)])
        assert found.rows().filter(description="noted").count() == 3
        assert undo(found.pk).deleted == 3
        assert undo(listed.load.pk).deleted == 1
    finally:
        run(f"DROP TRIGGER note ON {TABLE}; DROP FUNCTION note()")


def test_a_trigger_that_keeps_rows(make):
    found = make(3)
    run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN CASE WHEN old.amount = 2 THEN NULL ELSE old END; END $$; "
        f"CREATE TRIGGER keep BEFORE DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    try:
        assert refused(found) == (
            f"Load {found.pk} cannot be undone: 1 of its rows is still there after the DELETE, "
            "because a trigger, a rule or a policy of the table keeps them. Nothing was deleted."
        )
    finally:
        run(f"DROP TRIGGER keep ON {TABLE}; DROP FUNCTION keep()")


def test_a_partitioned_table():
    found = load(Partitioned, [{"year": 2024, "name": "a"}, {"year": 2025, "name": "b"}]).load
    assert found.rows().count() == 2
    Partitioned.objects.filter(year=2025).update(name="c")
    assert [row.year for row in found.rows()] == [2024]
    assert undo(found.pk, keep_changed=True).deleted == 1
    assert [row.name for row in Partitioned.objects.all()] == ["c"]
    Partitioned.objects.all().delete()


def test_a_row_of_a_table_that_inherits():
    found = load(NaturalKey, [{"code": "a"}]).load
    run("CREATE TABLE heir () INHERITS (contract_naturalkey)")
    try:
        with transaction.atomic():  # even of one transaction
            second = load(NaturalKey, [{"code": "b"}]).load
            run("INSERT INTO heir VALUES ('b', '')")
        assert [row.code for row in found.rows()] == ["a"]
        assert second.rows().count() == 1
        assert undo(found.pk).deleted == 1
        with pytest.raises(LedgerError, match="1 row with its keys"):
            undo(second.pk)
    finally:
        run("DROP TABLE heir")


def test_a_row_that_is_changed_while_it_is_deleted(make):
    found = make(3)
    key = found.rows().order_by("pk")[1].pk
    other = connections["default"].copy()
    outcome = []

    def take_away():
        try:
            undo(found.pk)
        except LedgerError as error:
            outcome.append(str(error))
        finally:
            connection.close()

    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"UPDATE {TABLE} SET amount = 77 WHERE id = {key}")
        worker = threading.Thread(target=take_away)
        worker.start()
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'DELETE'"
        )
        while not run(waiting):
            assert worker.is_alive()
        other.commit()
        worker.join()
    finally:
        other.close()
    assert outcome == [changed(found, 1, key)]
    assert amounts() == [1, 3, 77]


def test_a_key_with_an_operator_of_its_own_in_front_of_the_path(make):
    found = make(2)
    Transaction.objects.filter(amount=1).update(amount=5)
    run(
        "CREATE SCHEMA front; "
        "CREATE FUNCTION front.yes(int8, int8) RETURNS bool LANGUAGE sql AS 'SELECT true'; "
        "CREATE OPERATOR front.>= (FUNCTION = front.yes, LEFTARG = int8, RIGHTARG = int8); "
        "CREATE OPERATOR front.<= (FUNCTION = front.yes, LEFTARG = int8, RIGHTARG = int8); "
        "CREATE FUNCTION front.yes(int8, int8multirange) RETURNS bool LANGUAGE sql "
        "AS 'SELECT true'; "
        "CREATE OPERATOR front.<@ (FUNCTION = front.yes, LEFTARG = int8, "
        "RIGHTARG = int8multirange); "
        "SET search_path = front, pg_catalog, public"
    )
    try:
        plan = plan_undo(found.pk)
        assert (plan.deletable, plan.changed) == (1, 1)
        assert undo(found.pk, keep_changed=True).deleted == 1
    finally:
        run("RESET search_path; DROP SCHEMA front CASCADE")
