"""No statement of ingest's calls objects that others have put into the search path."""

from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from finance.models import Account, Transaction
from ingest import load, resume, verify
from ingest.benchmark import BenchmarkOptions, run_benchmark
from ingest.exceptions import IngestError
from ingest.layout import FieldLayout, Layout
from ingest.ledger.undo import plan_undo, undo
from ingest.models import Load
from tests.citus_catalog import citus_catalog
from tests.factories import AccountFactory
from tests.postgres.search_path.shadows import Shadows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def shadows(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        made = Shadows()
        yield made
        made.close()


@pytest.fixture
def account():
    return AccountFactory(number="A1")


FIRST = "shadows, pg_catalog, public"
DJANGO = {"= (name, name)", "read pg_type"}
"""Functions that Django itself calls in each new process: django.contrib.postgres queries types."""


@pytest.fixture
def trap(shadows):
    """Return a context in which no shadow may be called."""

    @contextmanager
    def trapped(but=frozenset()):
        with shadows.cast(FIRST):
            yield
        assert shadows.called().keys() <= but

    return trapped


def rows_of(account, count, **changed):
    return [
        {
            "user": account.user_id,
            "account": account.pk,
            "amount": number,
            "tx_date": "2025-01-01",
            "reference": f"R{number}",
            "description": "x",
            **changed.get(f"r{number}", {}),
        }
        for number in range(1, count + 1)
    ]


BAD = {
    "r3": {"reference": "R2"},
    "r5": {"account": 0},
    "r7": {"amount": "x"},
    "r8": {"reference": "R1"},
}


def write(path, rows):
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_trap_catches(shadows, account):
    with shadows.cast(FIRST), connection.cursor() as cursor:
        cursor.execute("SELECT 1 = 1, lower('x'), 'x'::text, relname FROM pg_class LIMIT 1")
    assert {"= (integer, integer)", "lower", "cast to text", "read pg_class"} <= set(
        shadows.called()
    )


def test_a_load_calls_no_shadow(trap, account, tmp_path):
    path = write(tmp_path / "rows.csv", rows_of(account, 20))
    with trap():
        got = load(Transaction, path)
    assert got.rows == 20


def test_the_direct_path_calls_no_shadow(trap, account, tmp_path, few_rows_too):
    path = write(tmp_path / "rows.csv", rows_of(account, 20))
    with trap():
        assert load(Transaction, path, verify=True).rows == 20
        assert load(Transaction, write(path, rows_of(account, 20)), on_error="reject").rows == 0


def test_the_search_for_refused_rows_calls_no_shadow(trap, account, tmp_path):
    path = write(tmp_path / "rows.csv", rows_of(account, 20, **BAD))
    with trap():
        got = load(Transaction, path, on_error="reject", reject_file=tmp_path / "r.csv")
        again = load(Transaction, path, on_error="reject")
    assert (got.rows, again.rows) == (16, 0)


def test_a_load_into_citus_calls_no_shadow(trap, account):
    rows = rows_of(account, 20, **BAD)
    with citus_catalog() as distribute:
        distribute("finance_transaction", "account_id")
        distribute("finance_account", kind="reference")
        with trap():
            got = load(Transaction, rows, on_error="reject")
            again = load(
                Transaction,
                rows_of(account, 25, r3={"amount": 4}, r9={"account": 0}, r10={"amount": 4}),
                on_conflict="upsert",
                key=["account", "reference"],
                on_error="reject",
            )
            accounts = [{"number": "A1", "name": "x", "user": account.user_id}]
            assert load(Account, accounts, on_conflict="upsert").updated == 1
    assert (got.rows, again.inserted, again.updated) == (16, 9, 1)


def test_a_load_inside_atomic_calls_no_shadow(trap, account):
    rows = rows_of(account, 20, **BAD)
    with trap(), transaction.atomic():
        got = load(Transaction, iter(rows), on_error="reject")
        again = load(Transaction, iter(rows), on_error="reject")
    assert (got.rows, again.rows) == (16, 0)


def test_workers_call_no_shadow(trap, account, tmp_path):
    path = write(tmp_path / "rows.csv", rows_of(account, 60, **BAD))
    with trap(but=DJANGO):
        got = load(Transaction, path, on_error="reject", chunk_rows=10, workers=2)
    assert got.rows == 56


def test_a_resumed_load_calls_no_shadow(trap, account, tmp_path):
    path = write(tmp_path / "rows.csv", rows_of(account, 30, r25={"amount": "x"}))
    with trap():
        with pytest.raises(IngestError):
            load(Transaction, path, chunk_rows=10, resumable=True)
        with pytest.raises(IngestError):
            load(Transaction, path, chunk_rows=10, resumable=True)
    number = Load.objects.get().pk
    with trap(), pytest.raises(IngestError):
        resume(number)
    assert Transaction.objects.count() == 20


def test_look_ups_of_a_layout_call_no_shadow(trap, account, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("number,amount,day\nA1,1,2025-01-01\nA2,2,2025-01-01\n")
    layout = Layout(
        fields={
            "account": FieldLayout(
                column="number",
                lookup=("number",),
                create={
                    "name": "new",
                    "user": {"constant": account.user.username, "lookup": "username"},
                },
            ),
            "user": FieldLayout(copy="account.user"),
            "amount": FieldLayout(column="amount"),
            "tx_date": FieldLayout(column="day"),
        }
    )
    with trap():
        got = load(Transaction, path, layout=layout)
    assert got.rows == 2
    assert Account.objects.count() == 2


def test_verify_calls_no_shadow(trap, account):
    load(Transaction, rows_of(account, 5))
    with trap():
        assert not verify(Transaction).problems


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_an_undo_calls_no_shadow(trap, account, on_error):
    rows = rows_of(account, 20, **(BAD if on_error == "reject" else {}))
    number = load(Transaction, rows, on_error=on_error).load.pk
    stranger = Transaction.objects.create(
        user=account.user, account=account, amount=1, tx_date="2026-01-01"
    )
    with trap():
        assert plan_undo(number).deletable
        undo(number)
    assert list(Transaction.objects.all()) == [stranger]


@pytest.mark.parametrize("mode", ["upsert", "sync"])
def test_changes_of_a_file_that_is_loaded_twice_and_their_undo(trap, account, tmp_path, mode):
    load(Transaction, rows_of(account, 3))
    path = write(tmp_path / "rows.csv", rows_of(account, 5, r1={"amount": 7})[:1])
    more = {"scope": "all", "max_deletes": "100%"} if mode == "sync" else {}
    options = {"on_conflict": mode, "keep_old": True, **more}
    before = set(Transaction.objects.values_list("pk", "amount"))
    with trap():
        first = load(Transaction, path, **options)
        again = load(Transaction, path, **options)
        undo(again.number)
        assert plan_undo(first.number).restorable == 1
        undo(first.number)
    assert (first.updated, again.unchanged, len(again.warnings)) == (1, 1, 1)
    assert set(Transaction.objects.values_list("pk", "amount")) == before


def test_a_dry_run_and_a_preview_call_no_shadow(trap, account, tmp_path):
    path = write(tmp_path / "rows.csv", rows_of(account, 20, **BAD))
    with trap():
        with pytest.raises(SystemExit) as ended:  # some records are rejected
            call_command(
                "bulk_load", "finance.Transaction", str(path), dry_run=True, on_error="reject"
            )
        assert ended.value.code == 3
        call_command("bulk_load", "finance.Transaction", str(path), preview=True)
    assert not Transaction.objects.exists()


def test_the_benchmark_calls_no_shadow(trap, account):
    load(Transaction, rows_of(account, 20))
    with trap():
        run_benchmark(
            BenchmarkOptions(model=Transaction, rows=(3, 10), repeat=1, methods=("copy", "direct"))
        )


def test_a_shadow_whose_arguments_fit_better(shadows, account, tmp_path):
    # PostgreSQL's own functions come first in this path, but have no variant for all arguments.
    path = write(tmp_path / "rows.csv", rows_of(account, 20, **BAD))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE SCHEMA better; "
            "CREATE FUNCTION better.unnest(smallint[]) RETURNS SETOF smallint LANGUAGE plpgsql "
            "AS 'BEGIN RETURN QUERY SELECT * FROM pg_catalog.unnest($1); END'; "
            "CREATE FUNCTION better.same(varchar, varchar) RETURNS bool LANGUAGE plpgsql "
            "AS 'BEGIN RETURN $1::text = $2::text; END'; "
            "CREATE OPERATOR better.= (FUNCTION = better.same, LEFTARG = varchar, "
            "RIGHTARG = varchar)"
        )
    try:
        with shadows.cast("public, better"), connection.cursor() as cursor:
            cursor.execute("SELECT 'a'::varchar = 'b'::varchar, unnest('{1}'::smallint[])")
        assert shadows.called("better").keys() == {"same", "unnest"}
        with shadows.cast("public, better"):
            assert load(Transaction, path, on_error="reject", verify=True).rows == 16
            assert not verify(Transaction).problems
        assert shadows.called("better") == {}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA better CASCADE")
