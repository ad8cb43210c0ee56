"""Loads into tables that the catalog says are of Citus. Their rows are here all the same."""

import pytest
from django.db import transaction

from finance.models import Account, Transaction
from ingest import ConstraintRefused, UnsupportedModelError, load
from ingest.exceptions import ConfigurationError, LedgerError
from ingest.ledger.undo import plan_undo, undo
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

PARENT = '"public"."finance_account"'
TABLE = '"public"."finance_transaction"'
KEY = ["account", "reference"]
LOOKED_UP = (
    "References: looked up for each batch before it is sent, because the shards check them only "
    "when the transaction ends."
)
NO_UNDO = "Citus keeps its rows in shards, which do not say which load inserted them"
REFUSES_AS_A_SHARD = """
CREATE FUNCTION refuse_as_a_shard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM finance_transaction t
             WHERE t.account_id = NEW.account_id AND t.reference = NEW.reference) THEN
    RAISE 'duplicate key value violates unique constraint "transaction_account_reference_102021"'
    USING ERRCODE = 'XX000', DETAIL = format(
      'Key (account_id, reference)=(%s, %s) already exists.', NEW.account_id, NEW.reference);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse_as_a_shard BEFORE INSERT ON finance_transaction
FOR EACH ROW EXECUTE FUNCTION refuse_as_a_shard();
"""
"""What ReportCopyError of Citus raises: no SQLSTATE of a constraint, and no constraint's name."""


@pytest.fixture
def account():
    return AccountFactory(number="A1")


@pytest.fixture
def distributed(distribute):
    distribute("finance_transaction", "account_id")


@pytest.fixture
def shard(distributed):
    run(REFUSES_AS_A_SHARD)
    yield
    run("DROP FUNCTION refuse_as_a_shard() CASCADE")


def record(owner, number, **changed):
    return {
        "user": owner.user_id,
        "account": owner.pk,
        "amount": "1.00",
        "description": "",
        "tx_date": "2025-01-01",
        "reference": f"R{number}",
        **changed,
    }


def rejected(result):
    return {reject.record: (reject.kind, reject.constraint) for reject in result.rejects}


@pytest.mark.parametrize(
    ("kind", "said", "briefly"),
    [
        (
            "distributed",
            "is a distributed table, with shards by 'account_id'.",
            "is a distributed table of Citus",
        ),
        (
            "single shard",
            "is a distributed table with one shard.",
            "is a single-shard table of Citus",
        ),
        (
            "reference",
            "is a reference table, with a copy on every node.",
            "is a reference table of Citus",
        ),
        ("local", "is a local table that Citus manages.", "is a local table of Citus"),
    ],
)
def test_kinds_of_tables(distribute, account, few_rows_too, kind, said, briefly):
    distribute("finance_transaction", "account_id" if kind == "distributed" else None, kind)
    got = load(Transaction, [record(account, 1), record(account, 2)])
    because = (
        f"because {TABLE} {briefly}: its shards have the triggers and indexes, on other "
        "connections."
    )
    assert got.decisions == (
        f"Citus: {TABLE} {said}",
        f"Indexes: maintained row by row, {because}",
        f"References: checked row by row by PostgreSQL, {because}",
        LOOKED_UP,
        f"Rows: this load cannot be undone, because {NO_UNDO}.",
    )
    assert Transaction.objects.count() == 2


def test_another_table_of_the_database(distribute, account):
    distribute("finance_account", kind="reference")
    got = load(Transaction, [record(account, 1)])
    assert not any("Citus" in sentence for sentence in got.decisions)
    assert undo(got.load.pk).deleted == 1


def test_a_shard_refuses_a_record(shard, account):
    load(Transaction, [record(account, 1)])
    records = [record(account, number) for number in range(40)]
    records[7] = record(account, 3)
    got = load(Transaction, records, on_error="reject")
    key = ("duplicate", "transaction_account_reference")
    assert rejected(got) == {2: key, 8: key}
    [first, _] = got.rejects
    assert first.reason == (
        'duplicate key value violates unique constraint "transaction_account_reference". '
        f"Key (account_id, reference)=({account.pk}, R1) already exists."
    )
    assert Transaction.objects.count() == 39
    with pytest.raises(
        ConstraintRefused,
        match=r"PostgreSQL refused list, record 1, column 'account': \d+, "
        r"column 'reference': 'R1': duplicate key value violates unique constraint "
        r'"transaction_account_reference"\. Key',
    ):
        load(Transaction, [record(account, 1)])


@pytest.mark.parametrize("on_conflict", ["error", "upsert"])
def test_parents_are_looked_up(distributed, account, on_conflict):
    options = {} if on_conflict == "error" else {"on_conflict": on_conflict, "key": KEY}
    records = [
        record(account, 1),
        record(account, 2, account=account.pk + 1),
        record(account, 3, user=0),
        record(account, 4),
    ]
    got = load(Transaction, records, on_error="reject", **options)
    assert {number: kind for number, (kind, _) in rejected(got).items()} == {
        2: "reference",
        3: "reference",
    }
    assert [reject.value for reject in got.rejects] == [
        str(account.pk + 1),
        "0",
    ]
    assert Transaction.objects.count() == 2
    with pytest.raises(
        ConstraintRefused,
        match=rf"PostgreSQL would refuse list, record 2, column 'account': {account.pk + 1}: Key",
    ):
        load(Transaction, records, **options)


def test_a_parent_may_come_in_the_callers_transaction(distributed, account):
    def records():
        yield record(account, 1, account=account.pk + 1)
        AccountFactory(pk=account.pk + 1, user=account.user)

    with transaction.atomic():
        assert load(Transaction, records()).rows == 1
    with pytest.raises(ConstraintRefused, match="Key"), transaction.atomic():
        load(Transaction, [record(account, 2, account=0)])


def test_a_key_of_several_columns(distributed, account):
    run("ALTER TABLE finance_account ADD CONSTRAINT whose UNIQUE (id, user_id)")
    run(
        "ALTER TABLE finance_transaction ADD CONSTRAINT of_user FOREIGN KEY (account_id, user_id) "
        "REFERENCES finance_account (id, user_id) DEFERRABLE INITIALLY DEFERRED"
    )
    try:
        other = AccountFactory()
        records = [record(account, 1), record(account, 2, user=other.user_id)]
        got = load(Transaction, records, on_error="reject")
        assert rejected(got) == {2: ("reference", "of_user")}
        [reject] = got.rejects
        key = f"Key (account_id, user_id)=({account.pk}, {other.user_id})"
        assert reject.reason == f"{key} is not present in table {PARENT}."
    finally:
        run("ALTER TABLE finance_account DROP CONSTRAINT whose CASCADE")


def test_a_constraint_that_the_shards_check_late(distributed, account):
    run(
        "ALTER TABLE finance_transaction ADD CONSTRAINT once UNIQUE (account_id, description) "
        "DEFERRABLE INITIALLY DEFERRED"
    )
    try:
        with pytest.raises(
            UnsupportedModelError,
            match=r"cannot be refused alone: the shards check the constraint 'once' only when the "
            r"transaction ends\. Make it NOT DEFERRABLE, or load with on_error='abort'",
        ):
            load(Transaction, [record(account, 1)], on_error="reject")
        assert load(Transaction, [record(account, 1)]).rows == 1
    finally:
        run("ALTER TABLE finance_transaction DROP CONSTRAINT once")


@pytest.mark.parametrize("duplicates", ["first", "last"])
@pytest.mark.parametrize("kind", ["distributed", "reference"])
def test_an_upsert_into_shards_counts_each_record(distribute, account, kind, duplicates):
    distribute("finance_transaction", "account_id" if kind == "distributed" else None, kind)
    load(Transaction, [record(account, number) for number in range(10)])
    records = [record(account, number, amount=number % 2 + 1) for number in range(5, 15)]
    records += [record(account, 9, amount=7)]
    got = load(Transaction, records, on_conflict="upsert", key=KEY, duplicates=duplicates)
    # 5, 7 and 9 change; 6 and 8 do not; 10 to 14 are new.
    assert (got.inserted, got.updated, got.unchanged, got.skipped) == (5, 3, 2, 1)
    assert not got.load.rows()
    amounts = dict(Transaction.objects.values_list("reference", "amount"))
    nine = 2 if duplicates == "first" else 7
    assert amounts == {
        f"R{number}": 1 if number < 5 or not number % 2 else 2 for number in range(15)
    } | {"R9": nine}


def test_ignore_and_update(distributed, account):
    load(Transaction, [record(account, 1)])
    records = [record(account, 1, amount=5), record(account, 2, amount=5)]
    got = load(Transaction, records, on_conflict="update", key=KEY, on_error="reject")
    assert (got.updated, got.rejected) == (1, 1)
    got = load(Transaction, records, on_conflict="ignore", key=KEY)
    assert (got.ignored, got.inserted) == (1, 1)
    newer = [record(account, 1, amount=6, tx_date="2024-01-01"), record(account, 2, amount=4)]
    newer[1]["tx_date"] = "2026-01-01"
    got = load(Transaction, newer, on_conflict="upsert", key=KEY, newest="tx_date")
    assert (got.ignored, got.updated) == (1, 1)


def test_an_updated_row_of_a_reference_table_keeps_what_is_not_given(distribute, account):
    distribute("finance_account", kind="reference")
    records = [{"number": "A1", "name": "Savings", "user": account.user_id}]
    got = load(Account, records, on_conflict="upsert", update_fields=["name"])
    assert got.updated == 1
    stored = Account.objects.get()
    assert (stored.pk, stored.name, stored.opened_on) == (account.pk, "Savings", account.opened_on)


@pytest.mark.parametrize("on_conflict", ["error", "upsert"])
def test_many_records_are_refused(shard, account, on_conflict):
    """More than fit into one savepoint of those that hold others."""
    load(Transaction, [record(account, number) for number in range(0, 200, 2)])
    run("ALTER TABLE finance_transaction ADD CONSTRAINT small CHECK (amount < 100)")
    try:
        options = {} if on_conflict == "error" else {"on_conflict": on_conflict, "key": KEY}
        records = [record(account, number, amount=1 + number % 2) for number in range(200)]
        records += [record(account, number, amount=500) for number in range(300, 420)]
        records += [record(account, 500)]
        got = load(Transaction, records, on_error="reject", **options)
        known = 100 if on_conflict == "error" else 0
        assert (got.inserted, got.rejected) == (101, known + 120)
        assert {reject.constraint for reject in [*got.rejects][known:]} == {"small"}
        with pytest.raises(ConstraintRefused, match="record 1, column 'amount': 500: new row"):
            load(Transaction, records[200:210], **options)
    finally:
        run("ALTER TABLE finance_transaction DROP CONSTRAINT small")


def test_conflicts_that_shards_cannot_decide(distribute, account):
    distribute("finance_transaction", "user_id")
    with pytest.raises(
        UnsupportedModelError,
        match=r"on_conflict='upsert' cannot be used here: .* with shards by 'user_id'\. The key "
        r"'transaction_account_reference' does not hold 'user_id': its rows may be in any shard",
    ):
        load(Transaction, [record(account, 1)], on_conflict="upsert", key=KEY)
    distribute("finance_account", kind="reference")
    with pytest.raises(UnsupportedModelError, match="Rows of shards are not deleted"):
        load(
            Account,
            [{"number": "A1", "name": "x", "user": account.user_id}],
            on_conflict="sync",
            scope="all",
        )


def test_rows_of_shards_cannot_be_undone(distribute, account):
    """Their xmin are the numbers of other servers' transactions."""
    before = load(Transaction, [record(account, 1)]).load
    distribute("finance_transaction", "account_id")
    after = load(Transaction, [record(account, 2)]).load
    for found in (before, after):
        with pytest.raises(LedgerError, match=f"cannot be undone, because {NO_UNDO}"):
            undo(found.pk)
    assert plan_undo(before.pk).reason == NO_UNDO
    assert Transaction.objects.count() == 2
    with pytest.raises(ConfigurationError, match=f"cannot be undone, because {NO_UNDO}"):
        load(Transaction, [record(account, 1)], on_conflict="upsert", key=KEY, keep_old=True)
