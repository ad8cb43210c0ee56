"""Loads into tables whose policies hold for the role."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext

import pytest
from django.db import connection, transaction

from finance.models import Transaction
from ingest import (
    ConstraintRefused,
    LedgerError,
    ServerFailed,
    UnsupportedModelError,
    load,
)
from ingest.exceptions import SEE_ALL
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Load
from ingest.sources import records
from tests.factories import AccountFactory, TransactionFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

ROLE = f"rls_teller_{os.getpid()}"
TABLE = '"public"."finance_transaction"'
DECISION = "Rows: inserted from a temporary table, because COPY is not possible under row security."
REFUSED = 'new row violates row-level security policy for table "finance_transaction"'
COLUMNS = ("user_id", "account_id", "amount", "description", "tx_date", "reference")
IS_OF_TENANT = "user_id = current_setting('app.tenant')::bigint"
BOTH = pytest.mark.parametrize("around", [nullcontext, transaction.atomic])


def in_table(columns="user_id, reference"):
    """Return the rows of all tenants, as a superuser sees them."""
    run("RESET ROLE")
    return run(f"SELECT {columns} FROM finance_transaction ORDER BY id")


@pytest.fixture
def accounts():
    return [AccountFactory(), AccountFactory()]


@pytest.fixture
def tenant(accounts):
    """Let each user see and insert their own transactions, and become the role of the first."""
    run(f"CREATE ROLE {ROLE}")
    run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
    run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")
    run("ALTER TABLE finance_transaction ENABLE ROW LEVEL SECURITY")
    run(
        f"CREATE POLICY tenants ON finance_transaction USING ({IS_OF_TENANT}) "
        f"WITH CHECK ({IS_OF_TENANT})"
    )
    run("SELECT set_config('app.tenant', %s, false)", str(accounts[0].user_id))
    run(f"SET ROLE {ROLE}")
    yield accounts[0].user_id
    connection.close()  # whatever was set in the session
    for (name,) in run(
        "SELECT policyname FROM pg_policies WHERE tablename = 'finance_transaction'"
    ):
        run(f"DROP POLICY {name} ON finance_transaction")
    run("ALTER TABLE finance_transaction DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
    run(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def rows_of(account, count, prefix="R"):
    return [
        (account.user_id, account.pk, number, "", "2025-01-01", f"{prefix}{number}")
        for number in range(1, count + 1)
    ]


def mixed(accounts):
    """Return ten records; the fourth and the ninth are of another tenant."""
    own, other = accounts
    rows = rows_of(own, 10)
    for place in (3, 8):
        rows[place] = (other.user_id, other.pk, 1, "", "2025-01-01", f"X{place + 1}")
    return rows


@BOTH
@pytest.mark.parametrize("on_error", ["abort", "reject"])
@pytest.mark.parametrize("method", ["copy", "direct"])
def test_rows_go_in_as_the_tenant_s(tenant, accounts, around, on_error, method):
    with around():
        got = load(
            Transaction, rows_of(accounts[0], 30), columns=COLUMNS, on_error=on_error, method=method
        )
    assert (got.read, got.rows, got.rejected) == (30, 30, 0)
    assert got.decisions.count(DECISION) == 1
    assert not any(decision.startswith("Plain COPY") for decision in got.decisions)
    assert in_table() == [(tenant, f"R{number}") for number in range(1, 31)]


@BOTH
def test_a_row_of_another_tenant_ends_the_load_and_is_named(tenant, accounts, around):
    with pytest.raises(ConstraintRefused) as caught, around():
        load(Transaction, mixed(accounts), columns=COLUMNS)
    assert str(caught.value) == (
        f"PostgreSQL refused list, record 4: {REFUSED}. Nothing was loaded. {SEE_ALL}"
    )
    assert in_table() == []


def test_the_first_refused_record_of_many_is_named(tenant, accounts, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", 9_000)
    rows = rows_of(accounts[0], 20_000)
    for record in (17_777, 17_790, 19_000):
        rows[record - 1] = (accounts[1].user_id, *rows[record - 1][1:])
    with pytest.raises(ConstraintRefused, match="record 17,777: new row violates"):
        load(Transaction, rows, columns=COLUMNS)
    assert in_table() == []


@BOTH
@pytest.mark.parametrize("batch_rows", [3, 1000])
def test_a_row_of_another_tenant_is_rejected_alone(
    tenant, accounts, around, batch_rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(records, "BATCH_ROWS", batch_rows)
    log = tmp_path / "rejects.jsonl"
    with around():
        got = load(Transaction, mixed(accounts), columns=COLUMNS, on_error="reject", reject_log=log)
    assert (got.read, got.rows, got.rejected) == (10, 8, 2)
    rejects = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(item["record"], item["kind"], item["reason"]) for item in rejects[:2]] == [
        (4, "constraint", f"{REFUSED}."),
        (9, "constraint", f"{REFUSED}."),
    ]
    assert in_table() == [(tenant, f"R{number}") for number in (1, 2, 3, 5, 6, 7, 8, 10)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_chunks_and_workers(tenant, accounts, tmp_path, workers, on_error):
    path = tmp_path / "rows.csv"
    lines = [",".join(map(str, row)) for row in rows_of(accounts[0], 30)]
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    got = load(Transaction, path, chunk_rows=10, workers=workers, on_error=on_error)
    assert (got.read, got.rows) == (30, 30)
    assert DECISION in got.decisions
    assert sorted(in_table("reference")) == sorted((f"R{number}",) for number in range(1, 31))


def test_a_chunk_that_is_refused_leaves_those_before(tenant, accounts):
    with pytest.raises(ConstraintRefused, match="record 8: new row violates"):
        load(
            Transaction,
            [row for row in mixed(accounts) if row[5] != "X4"] + mixed(accounts)[3:4],
            columns=COLUMNS,
            chunk_rows=7,
        )
    assert [reference for _, reference in in_table()] == ["R1", "R2", "R3", "R5", "R6", "R7", "R8"]


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_a_dry_run_leaves_nothing(tenant, accounts, on_error):
    got = load(
        Transaction, rows_of(accounts[0], 5), columns=COLUMNS, dry_run=True, on_error=on_error
    )
    assert (got.read, got.rows) == (5, 5)
    assert in_table() == []


def test_a_dry_run_names_the_refused_record(tenant, accounts):
    with pytest.raises(ConstraintRefused, match=f"record 4: {REFUSED}"):
        load(Transaction, mixed(accounts), columns=COLUMNS, dry_run=True)


@BOTH
def test_a_duplicate_of_a_hidden_row_is_refused(tenant, accounts, around):
    run("RESET ROLE")
    hidden = TransactionFactory(account=accounts[1], reference="R3")
    run("UPDATE finance_transaction SET account_id = %s WHERE id = %s", accounts[0].pk, hidden.pk)
    run(f"SET ROLE {ROLE}")
    assert not Transaction.objects.exists()
    with around():
        got = load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS, on_error="reject")
    assert (got.rows, got.rejected) == (4, 1)
    [reject] = got.rejects
    assert (reject.record, reject.kind) == (3, "duplicate")


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_a_missing_right_ends_the_load(tenant, accounts, on_error):
    run("RESET ROLE")
    run(f"REVOKE INSERT ON finance_transaction FROM {ROLE}")
    run(f"SET ROLE {ROLE}")
    with pytest.raises(ServerFailed, match="permission denied for table finance_transaction"):
        load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS, on_error=on_error)
    assert in_table() == []


@BOTH
def test_row_security_that_is_off_is_refused_before_the_first_row(tenant, accounts, around):
    run("SET row_security = off")
    with pytest.raises(UnsupportedModelError) as caught, around():
        load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS)
    assert str(caught.value) == (
        f"The policies of {TABLE} hold for the role, and the setting row_security is off: "
        "PostgreSQL refuses every row. SET row_security = on, or load as a role that they do not "
        "hold for. Nothing was loaded."
    )
    assert in_table() == []


def test_an_owner_is_subject_where_it_is_forced(tenant, accounts):
    run("RESET ROLE")
    [(owner,)] = run(
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'finance_transaction'::regclass"
    )
    try:
        run(f"GRANT USAGE, CREATE ON SCHEMA public TO {ROLE}")
        run(f"ALTER TABLE finance_transaction OWNER TO {ROLE}")
        run(f"SET ROLE {ROLE}")
        got = load(Transaction, mixed(accounts), columns=COLUMNS)
        assert (got.rows, DECISION in got.decisions) == (10, False)
        undo(got.load.pk)
        run("ALTER TABLE finance_transaction FORCE ROW LEVEL SECURITY")
        got = load(Transaction, mixed(accounts), columns=COLUMNS, on_error="reject")
        assert (got.rows, got.rejected, DECISION in got.decisions) == (8, 2, True)
    finally:
        run("RESET ROLE")
        run(f"ALTER TABLE finance_transaction OWNER TO {owner}")


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_role_that_bypasses_row_security_copies(tenant, accounts, setting):
    run("RESET ROLE")
    run(f"ALTER ROLE {ROLE} BYPASSRLS")
    run(f"SET ROLE {ROLE}; SET row_security = {setting}")
    got = load(Transaction, mixed(accounts), columns=COLUMNS)
    assert (got.rows, DECISION in got.decisions) == (10, False)


def test_deferred_constraints_wait_for_the_caller(tenant, accounts):
    run("RESET ROLE")
    account = accounts[0]
    with transaction.atomic():
        run(f"SET LOCAL ROLE {ROLE}")
        rows = [(tenant, 10**6, 1, "", "2025-01-01", "R1")]
        assert load(Transaction, rows, columns=COLUMNS, references="defer").rows == 1
        run("RESET ROLE")
        AccountFactory(pk=10**6, user=account.user)
    assert in_table("account_id") == [(10**6,)]


def test_rows_that_a_trigger_keeps_out_are_noticed(tenant, accounts):
    run("RESET ROLE")
    run(
        "CREATE FUNCTION rls_keep_out() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN CASE WHEN NEW.amount > 3 THEN NULL ELSE NEW END; END $$"
    )
    run(
        "CREATE TRIGGER keep BEFORE INSERT ON finance_transaction FOR EACH ROW "
        "EXECUTE FUNCTION rls_keep_out()"
    )
    run(f"SET ROLE {ROLE}")
    try:
        with pytest.raises(ConstraintRefused, match=r"record 4: .* a trigger .* kept it out"):
            load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS)
        assert in_table() == []
    finally:
        run("RESET ROLE")
        run("DROP FUNCTION rls_keep_out CASCADE")


@BOTH
@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_an_undo_deletes_the_load_s_rows_alone(tenant, accounts, around, on_error):
    run("RESET ROLE")
    kept = [TransactionFactory(account=account, reference="before") for account in accounts]
    run(f"SET ROLE {ROLE}")
    with around():
        got = load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS, on_error=on_error)
    assert got.load.rows().count() == 5
    done = undo(got.load.pk)
    assert (done.deleted, done.gone, done.kept) == (5, 0, 0)
    assert in_table("id") == [(item.pk,) for item in kept]


def test_an_undo_does_not_take_hidden_rows_for_gone(tenant, accounts):
    got = load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS)
    run("RESET ROLE")
    run("CREATE POLICY narrow ON finance_transaction AS RESTRICTIVE FOR SELECT USING (amount > 2)")
    run(f"SET ROLE {ROLE}")
    assert got.load.rows().count() == 3
    plan = plan_undo(got.load.pk)
    assert ("gone or hidden", "2") in plan.facts
    with pytest.raises(LedgerError) as caught:
        undo(got.load.pk)
    assert str(caught.value) == (
        f"Load {got.load.pk} is not undone: 2 of its rows are gone, or row security hides them "
        "from the role of the load. Nothing was deleted: --keep-changed deletes the rows that are "
        "seen."
    )
    assert len(in_table()) == 5
    assert Load.objects.get(pk=got.load.pk).status == "loaded"
    run(f"SET ROLE {ROLE}")
    assert undo(got.load.pk, keep_changed=True).deleted == 3
    assert in_table("amount") == [(1,), (2,)]


def test_an_undo_does_not_delete_hidden_rows_by_a_cascade(tenant, accounts):
    got = load(Transaction, rows_of(accounts[0], 5), columns=COLUMNS)
    [(key,), *_] = in_table("id")
    try:
        run(
            "CREATE TABLE rls_note (transaction_id bigint CONSTRAINT note_of "
            "REFERENCES finance_transaction ON DELETE CASCADE)"
        )
        run("INSERT INTO rls_note VALUES (%s)", key)
        run(f"ALTER TABLE rls_note ENABLE ROW LEVEL SECURITY; GRANT ALL ON rls_note TO {ROLE}")
        run(f"SET ROLE {ROLE}")
        with pytest.raises(LedgerError, match="row security may hide rows of rls_note"):
            undo(got.load.pk)
        assert len(in_table()) == 5
        assert run("SELECT count(*) FROM rls_note") == [(1,)]
    finally:
        run("RESET ROLE; DROP TABLE rls_note")
