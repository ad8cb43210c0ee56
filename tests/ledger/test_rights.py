"""An error about a missing right names the GRANT that gives it."""

import os
from contextlib import contextmanager, nullcontext

import pytest
from django.db import connection, transaction

from finance.models import Transaction
from ingest import LedgerError, ServerFailed, load, verify
from ingest.ledger.rows import DjangoConnection
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Load
from ingest.postgres.rights import tell_missing
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

ROLE = f"lacks_rights_{os.getpid()}"
TABLE = "public.finance_transaction"
BOTH = pytest.mark.parametrize("around", [nullcontext, transaction.atomic])


@pytest.fixture
def role():
    """Create a role that may use the ledger only."""
    run(f"CREATE ROLE {ROLE}")
    tables = ", ".join(name for name in connection.introspection.table_names() if "ingest_" in name)
    run(f"GRANT ALL ON {tables} TO {ROLE}")
    run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")
    try:
        yield ROLE
    finally:
        run("RESET ROLE")
        run(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@contextmanager
def acting():
    run(f"SET ROLE {ROLE}")
    try:
        yield
    finally:
        run("RESET ROLE")


def rows(**values):
    account = AccountFactory()
    values = {"amount": "1.00", "tx_date": "2026-01-01", "description": "", **values}
    return [{"user_id": account.user_id, "account_id": account.pk, "reference": "R1", **values}]


def lacking(grants, table=TABLE):
    return f"The role lacks a right: GRANT {grants} ON {table} TO {ROLE}."


@BOTH
@pytest.mark.parametrize(
    ("has", "options", "want"),
    [
        ("", {}, "INSERT"),
        ("SELECT", {"on_conflict": "upsert"}, "INSERT, UPDATE"),
        ("INSERT", {"on_conflict": "ignore"}, "SELECT"),
        ("SELECT, INSERT", {"on_conflict": "update"}, "UPDATE"),
        ("SELECT, INSERT", {"method": "copy", "on_conflict": "upsert"}, "UPDATE"),
    ],
)
def test_a_load(role, around, has, options, want):
    given = rows()
    if "on_conflict" in options:
        options = {**options, "key": ["account", "reference"]}
    load(Transaction, given)
    if has:
        run(f"GRANT {has} ON {TABLE} TO {ROLE}")
    with acting(), pytest.raises(ServerFailed) as caught, around():
        load(Transaction, [{**given[0], "amount": "2.00"}], **options)
    assert str(caught.value) == (
        "PostgreSQL could not continue: permission denied for table finance_transaction. "
        f"{lacking(want)} Nothing was loaded."
    )
    run(f"GRANT {want} ON {TABLE} TO {ROLE}")
    given = [{**given[0], "amount": "2.00", "reference": "R1" if "on_conflict" in options else ""}]
    with acting(), around():
        assert load(Transaction, given, **options).rejected == 0


def test_a_load_by_several_workers(role, tmp_path):
    given = [{**rows()[0], "reference": f"R{number}"} for number in range(40)]
    path = tmp_path / "rows.csv"
    lines = [",".join(given[0]), *(",".join(map(str, row.values())) for row in given)]
    path.write_text("\n".join(lines) + "\n")
    options = {"workers": 2, "chunk_rows": 10, "retries": 0}
    with acting(), pytest.raises(ServerFailed) as caught:
        load(Transaction, path, **options)
    assert caught.value.sqlstate == "42501"
    assert str(caught.value) == (
        "PostgreSQL could not continue: permission denied for table finance_transaction. "
        f"{lacking('INSERT')} Nothing was loaded."
    )
    run(f"GRANT INSERT ON {TABLE} TO {ROLE}")
    with acting():
        assert load(Transaction, path, **options).rows == 40


def test_the_ledger(role):
    given = rows()
    run(f"GRANT INSERT ON {TABLE} TO {ROLE}; REVOKE INSERT, DELETE ON ingest_chunk FROM {ROLE}")
    with acting(), pytest.raises(ServerFailed) as caught:
        load(Transaction, given)
    assert lacking("DELETE, INSERT", "public.ingest_chunk") in str(caught.value)
    assert not Transaction.objects.exists()


@BOTH
def test_a_table_in_which_parents_are_looked_up_is_no_parent_that_is_missing(role, around):
    [row] = rows()
    run(f"GRANT INSERT ON {TABLE} TO {ROLE}")
    given = [{**row, "account__number": "N1"}]
    del given[0]["account_id"]
    with acting(), pytest.raises(ServerFailed) as caught, around():
        load(Transaction, given, on_error="reject")
    assert lacking("SELECT", "public.finance_account") in str(caught.value)
    assert "there is no" not in str(caught.value).lower()


def test_a_verification(role):
    run(f"GRANT SELECT ON {TABLE} TO {ROLE}")
    with acting():
        audit = verify(Transaction)
    problems = {finding.name: finding.problem for finding in audit.findings if finding.problem}
    assert [name for name in problems if "account_id" in name or "user_id" in name] == [*problems]
    assert {
        f"could not be checked: permission denied for table {table}. "
        f"{lacking('SELECT', f'public.{table}')}"
        for table in ("auth_user", "finance_account")
    } == set(problems.values())


def test_an_undo(role):
    run(f"GRANT INSERT ON {TABLE} TO {ROLE}")
    given = rows()
    with acting():
        found = load(Transaction, given).load
    for granted, want in (("", "DELETE, SELECT"), ("SELECT", "DELETE")):
        if granted:
            run(f"GRANT {granted} ON {TABLE} TO {ROLE}")
        with pytest.raises(LedgerError) as caught:
            (undo if granted else plan_undo)(found.pk)
        assert str(caught.value) == (
            f"Load {found.pk} cannot be undone: permission denied for table finance_transaction. "
            f"{lacking(want)} Nothing was deleted."
        )
    assert Load.objects.get(pk=found.pk).status == Load.Status.LOADED
    run(f"GRANT DELETE ON {TABLE} TO {ROLE}")
    assert undo(found.pk).deleted == 1


def test_schemas_and_sequences(role):
    run('CREATE SCHEMA "odd name"')
    run('CREATE TABLE "odd name"."a.b" (id serial, n int DEFAULT 1)')
    try:
        tell = [
            tell_missing(DjangoConnection("default"), said, {'"odd name"."a.b"': "INSERT"}, ROLE)
            for said in (
                "permission denied for schema odd name",
                "permission denied for sequence a.b_id_seq",
                "keine Berechtigung für Tabelle a.b",
                'new row violates row-level security policy for table "b"',
            )
        ]
    finally:
        run('DROP SCHEMA "odd name" CASCADE')
    assert tell == [
        f'The role lacks a right: GRANT USAGE ON SCHEMA "odd name" TO {ROLE}.',
        f'The role lacks a right: GRANT USAGE ON SEQUENCE "odd name"."a.b_id_seq" TO {ROLE}.',
        f'The role lacks a right: GRANT INSERT ON "odd name"."a.b" TO {ROLE}.',
        "",
    ]


def test_the_rights_of_a_policy_are_no_grants(role):
    run(f"GRANT ALL ON {TABLE} TO {ROLE}")
    run("ALTER TABLE finance_transaction ENABLE ROW LEVEL SECURITY")
    given = rows()
    try:
        with acting(), pytest.raises(Exception, match="row-level security") as caught:
            load(Transaction, given)
    finally:
        run("ALTER TABLE finance_transaction DISABLE ROW LEVEL SECURITY")
    assert "GRANT" not in str(caught.value)
