"""Old values that a load keeps, and their way back."""

from decimal import Decimal

import pytest
from django.apps import apps
from django.db import models

from finance.models import Transaction
from ingest.exceptions import LedgerError
from ingest.ledger.entries import LedgerEntry
from ingest.ledger.inserters import Inserters
from ingest.ledger.place import describe_place
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Load, OldRows
from ingest.postgres.catalog import quote_name, read_settled_table
from ingest.postgres.session import open_session
from ingest.writing.conflicts.old_values import OldValues, exactly
from tests.end_to_end.contract.models.keys import NaturalKey, UniversalKey
from tests.factories import AccountFactory, TransactionFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)
in_transaction = pytest.mark.django_db  # the contract's tables cannot be flushed


def texts(model):
    return run(f"SELECT t.*::text FROM {model._meta.db_table} t ORDER BY 1")


class Steps:
    """A load that does what it is told in one transaction, as a writer would."""

    def __init__(self, model, columns, *, keeps=True, settings=""):
        self._model, self._columns, self._keeps, self._settings = model, columns, keeps, settings
        self.table = quote_name(model._meta.db_table)
        self._key = quote_name(model._meta.pk.column)

    def __enter__(self):
        self._open = open_session("default")
        self._session = session = self._open.__enter__()
        self._transaction = session.transaction()
        self._transaction.__enter__()
        self.entry = LedgerEntry.begin(
            session,
            "default",
            model=self._model._meta.label,
            **describe_place(session, self._model),
            source="rows.csv",
            method="copy",
            driver=session.driver,
        )
        if self._settings:
            session.execute(self._settings)
        self._begin(1)
        return self

    def _begin(self, ordinal):
        self._table = read_settled_table(self._session, self._model)
        self._chunk = self.entry.begin_chunk(self._session, ordinal, 1, self._table)
        self._old = None
        self._counts = {"inserted": 0, "updated": 0, "deleted": 0}
        if self._keeps:
            self._old = OldValues(
                self._session,
                self._table,
                key=self._model._meta.pk.column,
                columns=self._columns,
            )

    def update(self, where, **values):
        if self._old is not None:
            kept = self._old.keep_updated("t", f"{self.table} t WHERE {where}")
            self._session.execute(exactly(kept))
        pairs = ", ".join(f"{quote_name(name)} = {value}" for name, value in values.items())
        self._count("updated", f"UPDATE {self.table} t SET {pairs} WHERE {where}")

    def delete(self, where):
        if self._old is not None:
            kept = self._old.keep_deleted("t", f"{self.table} t WHERE {where}")
            self._session.execute(exactly(kept))
        self._count("deleted", f"DELETE FROM {self.table} t WHERE {where}")

    def insert(self, query):
        rows = self._session.fetch(f"INSERT INTO {self.table} {query} RETURNING {self._key}::text")
        self.entry.keep_keys(self._session, self._chunk, [key for (key,) in rows])
        self._counts["inserted"] += len(rows)

    def _count(self, name, sql):
        self._counts[name] += len(self._session.fetch(f"{sql} RETURNING 1"))

    def next_chunk(self):
        self._end()
        self._begin(2)

    def _end(self):
        self.entry.end_chunk(
            self._session,
            self._chunk,
            ranges=[],
            rejects=[],
            inserters=Inserters(
                table=self._table,
                key=self._model._meta.pk.column,
                old_values=None if self._old is None else self._old.name,
                asks_rows=bool(self._table.triggers),
            ),
            old_values=self._old,
            **self._counts,
        )

    def __exit__(self, *error):
        if error[0] is None:
            self._end()
            self.entry.tell(self._session, status="loaded")
        self._transaction.__exit__(*error)
        self._open.__exit__(*error)
        self.number = self.entry.load.pk


def refused(number, **options):
    before = texts(Transaction)
    with pytest.raises(LedgerError) as caught:
        undo(number, **options)
    assert texts(Transaction) == before
    return str(caught.value)


COLUMNS = ["amount", "description", "booked_at"]
COPY = (
    "(user_id, account_id, amount, tx_date, description, reference, created_at) "
    "SELECT user_id, account_id, amount, tx_date, 'new', 'new', created_at "
    "FROM finance_transaction"
)


@pytest.fixture
def rows():
    account = AccountFactory()
    return [
        TransactionFactory(account=account, description=f"row {number}", amount=Decimal("1.50"))
        for number in range(6)
    ]


@pytest.fixture
def columns():
    names = {field.column for field in Transaction._meta.concrete_fields}
    return [name for name in COLUMNS if name in names]


def test_rows_are_deleted_restored_and_put_back(rows, columns):
    before = texts(Transaction)
    first, second, third = (row.pk for row in rows[:3])
    with Steps(Transaction, columns) as load:
        load.update(f"id IN ({first}, {second})", amount="amount * 2", description="'changed'")
        load.insert(f"{COPY} WHERE id = {third}")
        load.delete(f"id = {third}")
    assert Transaction.objects.filter(description="changed").count() == 2
    plan = plan_undo(load.number)
    assert (plan.deletable, plan.restorable, plan.missing, plan.changed) == (1, 2, 1, 0)
    facts = dict(plan.facts)
    assert facts["to restore"] == "2 of 2 that it updated"
    assert facts["to put back"] == "1 of 1 that it deleted"
    got = undo(load.number)
    assert str(got) == f"Load {load.number} is undone: 1 row deleted, 2 restored, 1 put back."
    assert texts(Transaction) == before
    assert Load.objects.get(pk=load.number).status == "undone"
    assert not OldRows.objects.exists()


def test_a_load_that_kept_no_old_values_is_not_undone(rows, columns):
    with Steps(Transaction, columns, keeps=False) as load:
        load.update(f"id = {rows[0].pk}", amount="0")
    want = (
        f"Load {load.number} cannot be undone, because it updated 1 row and did not keep what it "
        "was: only a load with --keep-old (keep_old=True) does. Nothing was changed."
    )
    assert refused(load.number) == refused(load.number, keep_changed=True) == want
    with Steps(Transaction, columns, keeps=False) as load:
        load.delete(f"id = {rows[0].pk}")
    assert "because it deleted 1 row and did not keep what it was" in refused(load.number)


def test_rows_that_were_changed_since_are_named_and_kept(rows, columns):
    one, two, three, four, five, six = (row.pk for row in rows)
    with Steps(Transaction, columns) as load:
        load.update(f"id IN ({one}, {two}, {three})", amount="7")
        load.delete(f"id IN ({four}, {five})")
    Transaction.objects.filter(pk=two).update(description="by somebody")
    Transaction.objects.filter(pk=three).delete()
    rows[3].save(force_insert=True)
    said = refused(load.number)
    assert said == (
        f"Load {load.number} is not undone: 2 rows with its keys are not as it left them (with "
        f"the keys {two}, {four}): they were changed since, or are other rows with the same keys. "
        "Nothing was deleted: --keep-changed keeps them and undoes the others."
    )
    got = undo(load.number, keep_changed=True)
    assert str(got) == (
        f"Load {load.number} is undone: 0 rows deleted, 1 restored, 1 put back, 1 was gone "
        f"already, 2 changed since were kept (with the keys {two}, {four})."
    )
    left = dict(Transaction.objects.values_list("pk", "amount"))
    assert left == {
        one: Decimal("1.50"),
        two: Decimal(7),
        four: Decimal("1.50"),
        five: Decimal("1.50"),
        six: Decimal("1.50"),
    }


def test_the_first_values_are_those_of_before_the_load(rows, columns):
    before = texts(Transaction)
    first = rows[0].pk
    with Steps(Transaction, columns) as load:
        load.update(f"id = {first}", amount="2")
        load.update(f"id = {first}", amount="3")
        load.insert(f"{COPY} WHERE id = {first}")
        load.next_chunk()
        load.update(f"id = {first}", amount="4")
        load.update("reference = 'new'", amount="5")
    assert plan_undo(load.number).deletable == 1
    undo(load.number)
    assert texts(Transaction) == before


def test_a_row_that_a_later_load_changed_is_not_restored(rows, columns):
    with Steps(Transaction, columns) as first:
        first.update(f"id = {rows[0].pk}", amount="2")
    middle = texts(Transaction)
    with Steps(Transaction, columns) as second:
        second.update(f"id = {rows[0].pk}", amount="3")
    assert "1 row with its keys is not as it left it" in refused(first.number)
    undo(second.number)
    assert texts(Transaction) == middle


def test_a_trigger_sees_the_updates_and_may_refuse_them(rows, columns):
    with Steps(Transaction, columns) as load:
        load.update("true", amount="2")
    run(
        "CREATE FUNCTION keep_them() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.description = 'row 3' THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    run(
        "CREATE TRIGGER keeps BEFORE UPDATE ON finance_transaction FOR EACH ROW "
        "EXECUTE FUNCTION keep_them()"
    )
    try:
        assert refused(load.number) == (
            f"Load {load.number} cannot be undone: 1 of its rows is not what it was after the "
            "UPDATE, because a trigger, a rule or a policy of the table keeps them. Nothing was "
            "deleted."
        )
    finally:
        run("DROP FUNCTION keep_them CASCADE")
    undo(load.number)
    assert {row.amount for row in Transaction.objects.all()} == {Decimal("1.50")}


@in_transaction
@pytest.mark.parametrize("model", [NaturalKey, UniversalKey])
def test_keys_that_no_sequence_gave(model):
    keys = ["a", "b", "%s"] if model is NaturalKey else [None] * 3
    rows = [model.objects.create(**({"pk": key} if key else {})) for key in keys]
    field = next(item for item in model._meta.concrete_fields if not item.primary_key)
    before = texts(model)
    key = quote_name(model._meta.pk.column)
    last = str(rows[2].pk)
    with Steps(model, [field.column]) as load:
        load.update(f"{key}::text <> '{last}'", **{field.column: quote_name(field.column)})
        load.delete(f"{key}::text = '{last}'")
    plan = plan_undo(load.number)
    assert (plan.restorable, plan.missing) == (2, 1)
    undo(load.number)
    assert texts(model) == before
    assert not OldRows.objects.exists()


TYPES = {
    "day": ("date", ["2026-01-02", "infinity", "0044-03-15 BC"]),
    "moment": ("timestamptz", ["1900-01-01 00:00:00.123456+00", "-infinity", None]),
    "span": ("interval", ["-1 day +02:03:04.5", "-1 year -2 mons", "1 mon -1 day"]),
    "approximate": ("float8", ["0.1", "NaN", "1e-310"]),
    "small": ("float4", ["0.3", "-0", "Infinity"]),
    "exact": ("numeric", ["1.500", "NaN", None]),
    "raw": ("bytea", ["\\x00ff", "", None]),
    "words": ("text[]", ['{"a,b","",NULL,"x\\\\y"}', "{}", None]),
    "document": ("json", ['{"a" :  1}', "[]", None]),
    "word": ("text", ['a"b,(c)\\', "", " "]),
    "two_words": ("varchar(3)", ["%s", "a\nb", None]),
    "%": ("int4range", ["[1,5)", "empty", None]),
    "kind": ("pg_temp.mood", ["sad", "very ok", None]),
    "limited": ("pg_temp.above", ["1", "2", None]),
}


@in_transaction
@pytest.mark.parametrize("style", ["ISO, MDY", "German", "SQL, DMY"])
def test_every_value_comes_back_exactly(style):
    run("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'very ok')")
    run("CREATE DOMAIN pg_temp.above AS int4 CHECK (VALUE > 0)")
    declared = ", ".join(f"{quote_name(name)} {kind}" for name, (kind, _) in TYPES.items())
    run(
        f"CREATE TABLE typed (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        f"twice int8 GENERATED ALWAYS AS (length(word)) STORED, {declared})"
    )
    names = ", ".join(quote_name(name).replace("%", "%%") for name in TYPES)
    for place in range(3):
        values = [given[place] for _, given in TYPES.values()]
        casts = ", ".join(f"%s::{kind}" for kind, _ in TYPES.values())
        run(f"INSERT INTO typed ({names}) SELECT {casts}", *values)

    class KeptTypes(models.Model):
        id = models.BigAutoField(primary_key=True)

        class Meta:
            app_label = "contract"
            db_table = "typed"
            managed = False

        def __str__(self):
            return str(self.pk)

    try:
        settings = (
            f"SET DateStyle = '{style}'; SET IntervalStyle = 'sql_standard'; "
            "SET extra_float_digits = 0; SET bytea_output = 'escape'"
        )
        before = texts(KeptTypes)
        with Steps(KeptTypes, list(TYPES), settings=settings) as load:
            load.update("id <= 2", **dict.fromkeys(TYPES, "NULL"))
            load.delete("id = 3")
        assert style.partition(",")[0] in str(run("SHOW DateStyle"))
        run("SET DateStyle = 'ISO'")  # Django cannot read the ledger in any other
        undo(load.number)
        assert run("SHOW IntervalStyle") == [("sql_standard",)]
        assert run("SHOW extra_float_digits") == [("0",)]
        run("SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'")
        run("SET extra_float_digits = 1; SET bytea_output = 'hex'")
        after = texts(KeptTypes)
    finally:
        del apps.all_models["contract"]["kepttypes"]
        run("SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'")
        run("SET extra_float_digits = 1; SET bytea_output = 'hex'")
    assert after == before
