"""What the error of a load says of a row that PostgreSQL refused, and deferred references."""

from __future__ import annotations

import contextlib
import io

import pytest
from django.db import transaction
from django.db.utils import IntegrityError

from finance.models import Account, Transaction
from ingest import ConfigurationError, ConstraintRefused, RecordsRefused, load
from ingest.sources import records
from tests.factories import AccountFactory, UserFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)
SEE_ALL = (
    'Nothing was loaded. To see every refused record, load with on_error="reject", dry_run=True, '
    "or in the command with --on-error reject --dry-run."
)
COLUMNS = ("user_id", "account_id", "amount", "tx_date", "reference")
LAST_PARENT = 987654


@pytest.fixture(params=["small", "direct", "copy", "kept indexes"])
def options(request):
    if request.param in {"direct", "kept indexes"}:
        request.getfixturevalue("few_rows_too")
    return {
        "method": "copy" if request.param == "copy" else "direct",
        "indexes": "keep" if request.param == "kept indexes" else "auto",
    }


@pytest.fixture
def account():
    return AccountFactory()


@pytest.fixture
def write(tmp_path, account):
    """Write a file of transactions with these cells of the columns that are named."""

    def write(column, *cells):
        path = tmp_path / "bank.csv"
        usual = {"user": account.user_id, "account": account.pk, "amount": 1, "reference": ""}
        header = ["user", "account", "amount", "tx_date", "reference"]
        lines = [
            ",".join(str({**usual, "tx_date": "2026-01-02", column: cell}[name]) for name in header)
            for cell in cells
        ]
        path.write_text("\n".join([",".join(header), *lines, ""]))
        return path

    return write


def refused(model, source, **options):
    with pytest.raises(ConstraintRefused) as caught:
        load(model, source, **options)
    said = str(caught.value)
    assert said.endswith(SEE_ALL)
    assert model.objects.count() == options.get("there", 0)
    return said.removesuffix(SEE_ALL).rstrip()


def test_a_foreign_key(write, options):
    path = write("account", "", LAST_PARENT)
    path.write_text(path.read_text().replace(",,1", f",{AccountFactory().pk},1"))
    said = refused(Transaction, path, **options)
    assert f"{path}, record 2 (line 3), column 'account': '{LAST_PARENT}': " in said
    assert f"Key (account_id)=({LAST_PARENT}) is not present in table" in said
    assert said.endswith("Load the referenced rows first, or fix the value.")


def test_a_unique_key(tmp_path, options):
    path = tmp_path / "accounts.csv"
    user = UserFactory().pk
    path.write_text(f"user,number,name\n{user},A1,x\n{user},A2,x\n{user},A1,x\n")
    said = refused(Account, path, **options)
    assert said.startswith(
        f"PostgreSQL refused {path}, record 3 (line 4), column 'number': 'A1': duplicate key value "
    )
    assert "Key (number)=(A1)" in said


def test_a_unique_index_of_two_columns(write, account, options):
    said = refused(Transaction, write("reference", "R1", "R2", "R1"), **options)
    assert (
        f"record 3 (line 4), column 'account': '{account.pk}', column 'reference': 'R1': " in said
    )


@pytest.mark.parametrize(
    ("constraint", "bad", "column"),
    [
        ("CHECK (amount < 1000)", "1234", "amount"),
        ("EXCLUDE USING btree (amount WITH =)", "1", "amount"),
        ("UNIQUE (amount) DEFERRABLE INITIALLY DEFERRED", "1", "amount"),
    ],
)
def test_any_constraint(write, options, constraint, bad, column):
    run(f"ALTER TABLE finance_transaction ADD CONSTRAINT trap {constraint}")
    try:
        path = write(column, 1, 2, bad, 4)
        said = refused(Transaction, path, **options)
        assert f"{path}, record 3 (line 4), column {column!r}: {bad!r}: " in said
    finally:
        run("ALTER TABLE finance_transaction DROP CONSTRAINT trap")


def test_a_type(write, options):
    run("CREATE DOMAIN refused_short AS text CHECK (length(value) < 4)")
    run("ALTER TABLE finance_transaction ALTER description TYPE refused_short")
    try:
        path = write("reference", "R1", "R2", "R3")
        path.write_text(
            path.read_text().replace("reference", "description").replace(",R3", ",R2345")
        )
        said = refused(Transaction, path, **options)
        assert f"{path}, record 3 (line 4), column 'description': 'R2345': value for dom" in said
    finally:
        run("ALTER TABLE finance_transaction ALTER description TYPE text")
        run("DROP DOMAIN refused_short")


def test_a_column_that_may_not_be_empty(write, options):
    run("ALTER TABLE finance_account ALTER opened_on SET NOT NULL")
    try:
        user = UserFactory().pk
        path = write("reference", "")
        Account.objects.all().delete()
        path.write_text(f"user,number,name,opened_on\n{user},1,x,2020-01-01\n{user},2,x,\n")
        said = refused(Account, path, **options)
        assert f"{path}, record 2 (line 3), column 'opened_on': ''" in said
    finally:
        run("ALTER TABLE finance_account ALTER opened_on DROP NOT NULL")


@pytest.fixture
def trap():
    """Make a trigger that refuses the amount 13, once its time is known."""
    run(
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.amount = 13 THEN RAISE 'unlucky'; END IF; RETURN NEW; END $$"
    )
    yield lambda kind, when="": run(
        f"CREATE {kind} INSERT ON finance_transaction {when} FOR EACH ROW EXECUTE FUNCTION trap()"
    )
    run("DROP FUNCTION trap() CASCADE")


@pytest.mark.parametrize("at", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_trigger(write, trap, options, at, is_atomic):
    trap(f"TRIGGER trap {at}")
    path = write("amount", 1, 2, 13, 4, 13)
    with transaction.atomic() if is_atomic else contextlib.nullcontext():
        said = refused(Transaction, path, **options)
    assert said == f"PostgreSQL refused {path}, record 3 (line 4): unlucky."


def test_a_deferred_trigger_refuses_records_alone(write, trap, options):
    trap("CONSTRAINT TRIGGER trap AFTER", "DEFERRABLE INITIALLY DEFERRED")
    path = write("amount", 1, 2, 13, 4, 13)
    refused(Transaction, path, **options)
    for context in (contextlib.nullcontext(), transaction.atomic()):
        with context:
            result = load(Transaction, path, on_error="reject", **options)
        assert result.rows == 3
        assert [(it.record, it.reason) for it in result.rejects] == [
            (3, "unlucky."),
            (5, "unlucky."),
        ]


@pytest.mark.parametrize("on_conflict", [{}, {"on_conflict": "upsert"}])
def test_a_dry_run_fires_deferred_triggers(write, trap, options, on_conflict):
    trap("CONSTRAINT TRIGGER trap AFTER", "DEFERRABLE INITIALLY DEFERRED")
    path = write("amount", 1, 2, 13)
    if on_conflict:
        options = {"key": ["account", "reference"], **on_conflict}
    said = refused(Transaction, path, dry_run=True, **options)
    assert said == refused(Transaction, path, **options)


def test_an_iterable_has_no_line(account, options):
    rows = [(account.user_id, account.pk, n, "2026-01-02", f"R{n % 2}") for n in range(5)]
    said = refused(Transaction, rows, columns=COLUMNS, **options)
    assert ", record 3, column 'account_id' (field 'account'): " in said
    assert ", column 'reference': 'R0': duplicate key value" in said


def test_records_that_break_two_foreign_keys_are_counted_once(account, few_rows_too):
    rows = [(LAST_PARENT, LAST_PARENT, 1, "2026-01-02", "")] * 60
    said = refused(Transaction, rows, columns=COLUMNS)
    assert "record 1, column " in said
    assert " 59 more rows of the same batch. " in said
    said = refused(Transaction, rows[:2], columns=COLUMNS)
    assert " 1 more row of the same batch. " in said


def test_fields_name_the_way_to_see_all_too(write):
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, write("amount", "x"))
    assert str(caught.value).endswith(SEE_ALL.replace(". To", ".\nTo"))


def orphans(account, *parents):
    return [(account.user_id, parent, 1, "2026-01-02", "") for parent in parents]


def test_deferred_references_are_checked_before_the_load_returns(account, options):
    rows = orphans(account, account.pk, LAST_PARENT, account.pk)
    with transaction.atomic():
        with pytest.raises(ConstraintRefused, match=rf"record 2, .*: {LAST_PARENT}: "):
            load(Transaction, rows, columns=COLUMNS, **options)
        assert Transaction.objects.count() == 0
        assert load(Transaction, rows[:1], columns=COLUMNS, **options).rows == 1
        # They are deferred as before.
        run(f"UPDATE finance_transaction SET account_id = {LAST_PARENT}")
        run(f"UPDATE finance_transaction SET account_id = {account.pk}")
    assert Transaction.objects.count() == 1


def test_a_parent_may_come_while_the_load_goes_on(account, options, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", 1)

    def rows():
        yield from orphans(account, LAST_PARENT, account.pk)
        AccountFactory(pk=LAST_PARENT, user=account.user)
        yield from orphans(account, account.pk)

    with transaction.atomic():
        assert load(Transaction, rows(), columns=COLUMNS, **options).rows == 3
    assert Transaction.objects.count() == 3


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_deferred_references_can_be_left_to_the_caller(account, options, on_error):
    options = {**options, "references": "defer", "on_error": on_error, "columns": COLUMNS}
    rows = orphans(account, account.pk, LAST_PARENT)
    with transaction.atomic():
        assert load(Transaction, rows, **options).rows == 2
        AccountFactory(pk=LAST_PARENT, user=account.user)
    assert Transaction.objects.count() == 2
    with pytest.raises(IntegrityError), transaction.atomic():
        assert load(Transaction, orphans(account, LAST_PARENT - 1), **options).rows == 1
    with pytest.raises(ConfigurationError, match=r"inside transaction.atomic\(\)"):
        load(Transaction, rows, **options)


def test_a_refused_reference_is_rejected_alone_inside_atomic(account, options):
    rows = orphans(account, account.pk, LAST_PARENT, account.pk)
    with transaction.atomic():
        for _ in range(2):  # two loads with rejects in one transaction
            got = load(Transaction, rows, columns=COLUMNS, on_error="reject", **options)
            assert (got.rows, [reject.record for reject in got.rejects]) == (2, [2])
            assert [reject.kind for reject in got.rejects] == ["reference"]
    assert Transaction.objects.count() == 4


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_rows_of_the_callers_own_may_wait(account, options, on_error):
    options = {**options, "on_error": on_error}
    with transaction.atomic():
        Transaction.objects.create(
            user=account.user, account_id=LAST_PARENT, amount=1, tx_date="2026-01-02"
        )
        got = load(Transaction, orphans(account, account.pk), columns=COLUMNS, **options)
        assert (got.rows, got.rejected) == (1, 0)
        AccountFactory(pk=LAST_PARENT, user=account.user)
    assert Transaction.objects.count() == 2


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_deferred_keys_that_the_caller_set_to_immediate_stay_so(account, options, on_error):
    rows = orphans(account, account.pk, *[LAST_PARENT] * (on_error == "reject"))
    with transaction.atomic():
        run("SET CONSTRAINTS ALL IMMEDIATE")
        load(Transaction, rows, columns=COLUMNS, on_error=on_error, **options)
        with pytest.raises(IntegrityError), transaction.atomic():
            run(f"UPDATE finance_transaction SET account_id = {LAST_PARENT}")


def test_a_source_in_memory_is_named(account):
    line = f"user,account,amount,tx_date\n{account.user_id},987654,1,2025-01-01\n"
    said = refused(Transaction, io.BytesIO(line.encode()))
    assert "record 1 (line 2), column 'account': '987654': " in said


def test_a_late_trigger_names_the_way_to_see_all(account):
    run(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = '23514'; END $$"
    )
    run(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON finance_transaction "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"
    )
    try:
        with pytest.raises(ConstraintRefused, match="too late") as caught:
            load(Transaction, orphans(account, account.pk), columns=COLUMNS)
    finally:
        run("DROP FUNCTION late CASCADE")
    assert "--on-error reject --dry-run" in str(caught.value)
