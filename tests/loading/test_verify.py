"""verify: by the command, by itself and after a load, and from Python."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from finance.models import Account, Transaction
from ingest import ConfigurationError, load, verify
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)
SOUND = '"public"."finance_transaction": 18 of 18 constraints and indexes hold.\n'
ORPHAN = (
    "foreign key 'finance_transaction_account_id_fb4d3f0f_fk_finance_account_id': "
    '1 row has no row in "public"."finance_account".'
)


@pytest.fixture
def rows():
    account = AccountFactory()
    return [
        {"user": account.user_id, "account": account.pk, "amount": "1.50", "tx_date": "2026-01-02"}
    ] * 3


@pytest.fixture
def file(rows, tmp_path):
    path = tmp_path / "rows.csv"
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def orphan(rows):
    """Leave a transaction whose account is gone, as triggers that were off leave one."""
    load(Transaction, rows[:1])
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica; DELETE FROM finance_account; "
                       "RESET session_replication_role")  # fmt: skip
    yield
    Transaction.objects.all().delete()


def run(*arguments):
    """Return the exit code and what was printed."""
    out, code = io.StringIO(), 0
    try:
        call_command("bulk_load", *arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def test_an_audit_alone(rows):
    load(Transaction, rows)
    code, said = run("finance.Transaction", "--verify")
    assert (code, said.splitlines(keepends=True)[0]) == (0, SOUND)
    assert said.count("holds.") == 12
    assert Transaction.objects.count() == 3


def test_an_audit_alone_that_finds_something(orphan):
    code, said = run("finance.Transaction", "--verify")
    assert code == 1
    assert said.startswith('"public"."finance_transaction": 17 of 18 constraints and indexes hold.')
    assert f"  {ORPHAN}\n" in said


def test_after_a_load(file):
    code, said = run("finance.Transaction", file, "--verify")
    assert code == 0
    assert "\nLoaded 3 rows" in said
    assert SOUND in said


def test_after_a_load_that_others_have_left_an_orphan_before(orphan, rows):
    rows = [{**row, "account": AccountFactory().pk} for row in rows]
    got = load(Transaction, rows, verify=True)
    assert [str(item) for item in got.audit.problems] == [ORPHAN]
    assert Transaction.objects.count() == 4


def test_the_command_after_such_a_load(orphan, tmp_path):
    account = AccountFactory()
    path = tmp_path / "one.csv"
    path.write_text(f"user,account,amount,tx_date\n{account.user_id},{account.pk},1,2026-01-02\n")
    code, said = run("finance.Transaction", str(path), "--verify")
    assert code == 1
    assert "\nLoaded 1 rows" in said
    assert ORPHAN in said


def test_nothing_is_asked_unless_it_is_said(rows):
    assert load(Transaction, rows).audit is None


def test_inside_a_callers_transaction(rows):
    with transaction.atomic():
        got = load(Transaction, rows, verify=True)
        assert not got.audit.problems
        assert not verify(Account).problems
        with connection.cursor() as cursor:
            cursor.execute("SHOW row_security")
            assert cursor.fetchone() == ("on",)


def test_a_dry_run_has_no_table_to_look_at(rows, file):
    want = (
        "verify looks at the table after the commit, and a dry run has none: "
        "leave out verify or dry_run."
    )
    with pytest.raises(ConfigurationError) as caught:
        load(Transaction, rows, verify=True, dry_run=True)
    assert str(caught.value) == want
    with pytest.raises(CommandError) as caught:
        call_command("bulk_load", "finance.Transaction", file, "--verify", "--dry-run")
    assert (caught.value.returncode, str(caught.value)) == (2, want)


def test_a_table_that_is_not_there(rows):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction RENAME TO elsewhere")
    try:
        with pytest.raises(CommandError, match="finance_transaction") as caught:
            call_command("bulk_load", "finance.Transaction", "--verify")
        assert caught.value.returncode == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO finance_transaction")
