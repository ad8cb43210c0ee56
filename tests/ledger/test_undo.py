"""Undo: exactly a load's rows, or none and the reason."""

import io

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction

from finance.models import Account, Transaction
from ingest import load as load_rows
from ingest.exceptions import IngestError
from ingest.ledger.locks import LOCK_CLASS
from ingest.ledger.undo import undo
from ingest.models import KeyList, Load
from tests.end_to_end.contract.models.inheritance import Place, PlaceProxy
from tests.end_to_end.contract.models.keys import NaturalKey, UniversalKey
from tests.factories import AccountFactory, TransactionFactory
from tests.ledger.recorded_loads import record_load

pytestmark = pytest.mark.django_db(transaction=True)
in_transaction = pytest.mark.django_db  # the contract's tables cannot be flushed


def refused(load):
    with pytest.raises(IngestError) as caught:
        undo(load.pk)
    return str(caught.value)


def test_exactly_the_loads_rows_are_deleted():
    account = AccountFactory()
    TransactionFactory(account=account, description="before")
    load = record_load(Transaction, TransactionFactory.create_batch(5, account=account))
    TransactionFactory(account=account, description="after")
    got = undo(load.pk)
    assert str(got) == f"Load {load.pk} is undone: 5 rows deleted."
    left = Transaction.objects.order_by("pk").values_list("description", flat=True)
    assert list(left) == ["before", "after"]
    load.refresh_from_db()
    assert load.status == Load.Status.UNDONE
    assert load.ended_at is not None
    assert load.rows().count() == 0


def test_rows_that_were_gone_are_told():
    rows = TransactionFactory.create_batch(5)
    load = record_load(Transaction, rows)
    rows[2].delete()
    want = f"Load {load.pk} is undone: 4 rows deleted, 1 was gone already."
    assert str(undo(load.pk)) == want


@in_transaction
@pytest.mark.parametrize("model", [NaturalKey, UniversalKey])
def test_keys_that_no_sequence_gave(model):
    keys = ["a", "b", "%s"] if model is NaturalKey else [None] * 4
    rows = [model.objects.create(**({"pk": key} if key else {})) for key in keys]
    load = record_load(model, rows[:-1], as_list=True)
    undo(load.pk)
    assert [row.pk for row in model.objects.all()] == [rows[-1].pk]
    assert not KeyList.objects.exists()


def test_rows_that_refer_to_them_are_named_and_nothing_is_deleted():
    accounts = AccountFactory.create_batch(2)
    load = record_load(Account, accounts)
    first, _ = TransactionFactory.create_batch(2, account=accounts[1])
    assert refused(load) == (
        f"Load {load.pk} cannot be undone, because other rows refer to its rows: 2 of "
        f"finance.Transaction by account (one is finance.Transaction {first.pk}). "
        "Nothing was deleted: delete these first."
    )
    assert Account.objects.count() == 2
    load.refresh_from_db()
    assert load.status == Load.Status.LOADED


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE"])
def test_tables_that_django_does_not_know_are_named_too(action):
    load = record_load(Transaction, TransactionFactory.create_batch(2))
    with connection.cursor() as cursor:
        cursor.execute(
            'CREATE TABLE "odd name" (note text, entry bigint CONSTRAINT note_entry '
            f"REFERENCES finance_transaction ON DELETE {action})"
        )
        cursor.execute("INSERT INTO \"odd name\" SELECT 'x', max(id) FROM finance_transaction")
    try:
        last = Transaction.objects.latest("pk").pk
        assert refused(load) == (
            f"Load {load.pk} cannot be undone, because other rows refer to its rows: 1 of "
            f'"odd name" by note_entry (it is that of entry {last}). '
            "Nothing was deleted: delete these first."
        )
        assert Transaction.objects.count() == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute('DROP TABLE "odd name"')


def test_a_running_load_is_refused():
    load = record_load(Transaction, [TransactionFactory()], status=Load.Status.RUNNING)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, load.pk % 2**31])
        assert refused(load) == f"Load {load.pk} is running: cancel it first."
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")  # its process is gone
    finally:
        other.close()
    assert undo(load.pk).deleted == 1


def test_what_cannot_be_undone_says_why():
    load = record_load(Transaction, [TransactionFactory()])
    undo(load.pk)
    assert refused(load) == f"Load {load.pk} is undone already."
    load.pk = 10**9
    assert refused(load) == "There is no load 1000000000 in the ledger of 'default'."
    lost = record_load(Transaction, [TransactionFactory()])
    Load.objects.filter(pk=lost.pk).update(model="finance.Cheque")
    assert refused(lost) == (
        f"Load {lost.pk} cannot be undone: there is no model finance.Cheque any more."
    )


@in_transaction
@pytest.mark.parametrize(
    "sql",
    ["", "CREATE VIEW {0} AS SELECT 1 AS id", "CREATE MATERIALIZED VIEW {0} AS SELECT 1 AS id"],
)
def test_a_failed_load_whose_table_takes_no_delete(sql):
    name = "undo_of_nothing"
    model = type(
        "OfNothing",
        (models.Model,),
        {
            "__module__": __name__,
            "Meta": type("Meta", (), {"app_label": "finance", "db_table": name, "managed": False}),
        },
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.format(name) or "SELECT 1")
        load = record_load(Transaction, status=Load.Status.FAILED)
        Load.objects.filter(pk=load.pk).update(model=model._meta.label)
        assert str(undo(load.pk)) == f"Load {load.pk} is undone: 0 rows deleted."
    finally:
        del apps.all_models["finance"]["ofnothing"]
        apps.clear_cache()


def test_a_row_given_a_key_of_the_load_by_hand_is_not_deleted():
    account = AccountFactory()
    first, second, third = TransactionFactory.create_batch(3, account=account)
    load = record_load(Transaction, [first, third])  # as a range
    assert refused(load) == (
        f"Load {load.pk} is not undone: 1 row with its keys is not as it inserted it (with the "
        f"key {second.pk}): it was changed since, or is another row with the same key. Nothing was "
        "deleted: --keep-changed keeps it and undoes the others."
    )
    assert Transaction.objects.count() == 3
    assert list(load.rows().order_by("pk")) == [first, third]


def test_a_key_that_a_later_load_put_in_again_is_not_deleted():
    first = load_rows(NaturalKey, [{"code": "a"}]).load
    NaturalKey.objects.all().delete()
    second = load_rows(NaturalKey, [{"code": "a"}]).load
    assert "1 row with its keys is not as it inserted it (with the key a)" in refused(first)
    undo(second.pk)
    assert undo(first.pk).gone == 1


@in_transaction
def test_the_rows_of_a_proxy_are_the_loads_own():
    Place.objects.create(name="before")
    load = load_rows(PlaceProxy, [{"name": "a"}, {"name": "b"}]).load
    assert sorted(row.name for row in load.rows()) == ["a", "b"]
    assert undo(load.pk).deleted == 2
    assert Place.objects.get().name == "before"


def test_an_undo_in_a_transaction_rolls_back_with_it():
    load = record_load(Transaction, [TransactionFactory()])
    with transaction.atomic():
        undo(load.pk)
        transaction.set_rollback(True)
    assert Transaction.objects.count() == 1


def command(*arguments):
    out = io.StringIO()
    call_command("bulk_load", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("answer", "want", "left"), [("y", "1 row deleted", 0), ("", "Nothing was deleted.", 1)]
)
def test_the_command_asks_first(monkeypatch, answer, want, left):
    load = record_load(Transaction, [TransactionFactory()])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    assert want in command("--undo", str(load.pk))
    assert Transaction.objects.count() == left


@pytest.mark.parametrize("given", [io.StringIO(), None], ids=["empty", "closed"])
def test_the_command_does_not_ask_where_nobody_is(monkeypatch, given):
    load = record_load(Transaction, [TransactionFactory()])
    monkeypatch.setattr("sys.stdin", given)
    with pytest.raises(CommandError) as caught:
        command("--undo", str(load.pk))
    assert (caught.value.returncode, str(caught.value)) == (
        2,
        (
            "There is no terminal to ask for confirmation: to undo the load without it, give "
            "--no-input."
        ),
    )
    assert "1 row deleted" in command("--undo", str(load.pk), "--no-input")


def test_the_command_shows_the_plan_before_it_asks(monkeypatch):
    rows = TransactionFactory.create_batch(4)
    load = record_load(Transaction, rows)
    rows[0].delete()
    rows[1].save()
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    got = command("--undo", str(load.pk), "--keep-changed")
    for line in (
        "  model          finance.Transaction",
        "  file           statement.csv",
        f"  day            {load.started_at:%Y-%m-%d}",
        "  rows           4",
        "  to delete      2",
        f"  changed since  1 (with the key {rows[1].pk})",
        "  gone           1",
        "Nothing was deleted.",
    ):
        assert line in got.splitlines()
    with pytest.raises(CommandError, match="is not undone") as caught:
        command("--undo", str(load.pk), "--no-input")
    assert caught.value.returncode == 1
    assert "2 rows deleted" in command("--undo", str(load.pk), "--keep-changed", "--no-input")


@pytest.mark.parametrize("beside", [["finance.Transaction"], ["finance.Transaction", "a.csv"]])
def test_undo_takes_no_model_and_no_file(beside):
    load = record_load(Transaction, [TransactionFactory()])
    with pytest.raises(CommandError) as caught:
        command(*beside, "--undo", str(load.pk), "--no-input")
    assert (caught.value.returncode, str(caught.value)) == (
        2,
        f"--undo takes the model and the rows from the ledger: leave out {' '.join(beside)}.",
    )
    assert Transaction.objects.count() == 1


def test_keep_changed_belongs_to_undo():
    with pytest.raises(CommandError) as caught:
        command("finance.Transaction", "a.csv", "--keep-changed")
    assert caught.value.returncode == 2


def test_the_command_names_a_load_that_is_not_there():
    with pytest.raises(CommandError) as caught:
        command("--undo", "7", "--no-input")
    assert (caught.value.returncode, str(caught.value)) == (
        1,
        "There is no load 7 in the ledger of 'default'.",
    )


def test_load_rows_is_a_queryset():
    load = record_load(Transaction, [TransactionFactory()])
    assert isinstance(load.rows(), models.QuerySet)
