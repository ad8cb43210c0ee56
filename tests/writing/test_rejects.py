"""on_error="reject": the rows that go in are those that would have gone in one at a time."""

from __future__ import annotations

import json
import random

import psycopg
import pytest
from django.db import connection, transaction

from finance.models import Account, Transaction
from ingest import (
    ConfigurationError,
    ConstraintRefused,
    RecordsRefused,
    TooManyRejects,
    UnsupportedModelError,
    load,
)
from ingest.sources import records
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

COLUMNS = ("user_id", "account_id", "amount", "description", "tx_date", "reference")


@pytest.fixture
def traps():
    """A check, a trigger and an exclusion-free table that refuse what no field refuses."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction ADD CONSTRAINT small CHECK (amount < 1000)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction DROP CONSTRAINT small")


@pytest.fixture
def trigger():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.description = 'trap' THEN RAISE EXCEPTION 'a trap' USING ERRCODE = 'ZX001'; "
            "END IF; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER trap BEFORE INSERT ON finance_transaction "
            "FOR EACH ROW EXECUTE FUNCTION trap()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION trap CASCADE")


def random_rows(account, count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        yield (
            account.user_id,
            account.pk if chance.random() > 0.02 else 10**9,
            5000 if chance.random() < 0.02 else chance.randrange(900),
            "trap" if chance.random() < 0.02 else "x",
            "2025-01-01",
            "" if chance.random() < 0.3 else f"R{chance.randrange(count * 8)}",
        )


def one_at_a_time(rows):
    """Insert row by row with psycopg alone; give the refused records, and what stands there."""
    refused = {}
    names = ", ".join((*COLUMNS, "created_at"))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for number, row in enumerate(rows, 1):
            try:
                with transaction.atomic():
                    cursor.execute(
                        f"INSERT INTO finance_transaction ({names}) "
                        "VALUES (%s, %s, %s, %s, %s, %s, now())",
                        row,
                    )
            except Exception as error:  # noqa: BLE001 - Django wraps each of them in its own
                cause = error.__cause__ or error
                assert isinstance(cause, psycopg.Error)
                refused[number] = cause.diag.constraint_name
        stored = contents()
        transaction.set_rollback(True)
    return refused, stored


def contents():
    return sorted(Transaction.objects.values_list("amount", "description", "reference"))


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_loaded_rows_are_those_of_one_at_a_time(
    method, seed, is_empty, traps, monkeypatch, request
):
    if seed == 2:
        request.getfixturevalue("trigger")
    monkeypatch.setattr(records, "BATCH_ROWS", 150)
    account = AccountFactory()
    if not is_empty:
        Transaction.objects.create(
            user=account.user, account=account, amount=1, tx_date="2025-01-01", reference="R7"
        )
    rows = list(random_rows(account, 700, seed))
    refused, stored = one_at_a_time(rows)
    got = load(Transaction, rows, columns=COLUMNS, method=method, on_error="reject")
    assert {reject.record: reject.constraint for reject in got.rejects} == {
        record: name or None for record, name in refused.items()
    }
    assert contents() == stored
    assert (got.read, got.rows, got.rejected) == (700, 700 - len(refused), len(refused))
    numbers = [reject.record for reject in got.rejects]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("is_trapped", [False, True])
def test_rows_that_repeat_those_of_other_batches(method, is_trapped, monkeypatch, request):
    if is_trapped:
        request.getfixturevalue("traps")
    monkeypatch.setattr(records, "BATCH_ROWS", 50)
    account = AccountFactory()
    common = {"user": account.user, "account": account, "amount": 1, "tx_date": "2025-01-01"}
    Transaction.objects.create(**common, reference="R7")
    chance = random.Random(7)
    rows = [
        # In the first batches the later keys are new, and in the last all are known.
        (account.user_id, account.pk, 999 + number % 3, "x", "2025-01-01", f"R{key}")
        for number in range(600)
        for key in [chance.randrange(number + 1) if number % 4 else 1000 + number]
    ]
    refused, stored = one_at_a_time(rows)
    got = load(Transaction, rows, columns=COLUMNS, method=method, on_error="reject")
    assert {reject.record: reject.constraint for reject in got.rejects} == refused
    assert contents() == stored
    duplicates = [reject for reject in got.rejects if reject.kind == "duplicate"]
    in_table = [reject for reject in duplicates if rows[reject.record - 1][-1] == "R7"]
    assert 0 < len(in_table) < len(duplicates)
    for reject in duplicates:
        where = (
            "The table had this key before the load."
            if reject in in_table
            else "The source has this key in an earlier record too."
        )
        assert reject.reason.endswith(where)


KEPT = "transaction_account_reference"


def test_only_the_indexes_that_may_refuse_a_row_are_kept_up(few_rows_too, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", 100)
    account = AccountFactory()
    rows = [
        (account.user_id, account.pk, n, "x", "2025-01-01", f"R{n * 7_919 % 251}")
        for n in range(500)
    ]
    got = load(Transaction, rows, columns=COLUMNS, on_error="reject")
    assert got.decisions[:2] == (
        "Indexes: 4 built after the rows.",
        f"Order: each batch goes in the order of the index {KEPT!r}.",
    )
    assert [reject.record for reject in got.rejects] == list(range(252, 501))
    assert {reject.constraint for reject in got.rejects} == {KEPT}
    keys = list(Transaction.objects.order_by("amount").values_list("pk", flat=True))
    assert keys == sorted(keys)  # drawn in the order of the records, whatever was sent first


def test_a_given_key_is_asked_at_every_row(few_rows_too):
    account = AccountFactory()
    rows = [(n % 3 + 1, account.user_id, account.pk, n, "x", "2025-01-01", "") for n in range(5)]
    got = load(Transaction, rows, columns=("id", *COLUMNS), on_error="reject")
    assert "Indexes: 3 built after the rows." in got.decisions
    refused = [(reject.record, reject.constraint) for reject in got.rejects]
    assert refused == [(4, "finance_transaction_pkey"), (5, "finance_transaction_pkey")]


@pytest.mark.parametrize("bad", [[], [10**9]], ids=["none refused", "one refused"])
@pytest.mark.parametrize("by", ["trigger", "rule"])
def test_a_row_that_a_trigger_or_a_rule_keeps_out(method, by, bad, traps):
    account = AccountFactory()
    amounts = [1, 2, 13, 3, *bad]
    rows = [(account.user_id, account.pk, n, "x", "2025-01-01", f"R{n}") for n in amounts]
    with connection.cursor() as cursor:
        if by == "trigger":
            cursor.execute(
                "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF NEW.amount = 13 THEN RETURN NULL; END IF; RETURN NEW; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER swallow BEFORE INSERT ON finance_transaction "
                "FOR EACH ROW EXECUTE FUNCTION swallow()"
            )
        else:
            cursor.execute(
                "CREATE RULE swallow AS ON INSERT TO finance_transaction "
                "WHERE NEW.amount = 13 DO INSTEAD NOTHING"
            )
    try:
        if by == "rule":  # which COPY does not ask
            with pytest.raises(UnsupportedModelError, match="rule"):
                load(Transaction, rows, columns=COLUMNS, method=method, on_error="reject")
            assert not contents()
        else:
            kept_out = "The row was not written: a trigger on the table kept it out."
            got = load(Transaction, rows, columns=COLUMNS, method=method, on_error="reject")
            rejects = list(got.rejects)
            assert [it.record for it in rejects] == [3, *[5] * len(bad)]
            assert (rejects[0].kind, rejects[0].reason) == ("constraint", kept_out)
            assert len(contents()) == got.rows == 3
            Transaction.objects.all().delete()
            with pytest.raises(ConstraintRefused, match=f"list, record 3: {kept_out}"):
                load(Transaction, rows[:4], columns=COLUMNS, method=method)
            assert not contents()
    finally:
        with connection.cursor() as cursor:
            what = (
                "FUNCTION swallow CASCADE"
                if by == "trigger"
                else "RULE swallow ON finance_transaction"
            )
            cursor.execute(f"DROP {what}")


@pytest.fixture(params=["reference", "amount", "lower(description)", "user_id, (amount * 2)"])
def unique(request):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE UNIQUE INDEX trap ON finance_transaction ({request.param})")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX trap")


@pytest.mark.parametrize("known", [1, 2, 3, 9])
def test_few_and_many_rows_of_a_batch_repeat_those_of_the_table(
    unique, known, few_rows_too, monkeypatch
):
    monkeypatch.setattr(records, "BATCH_ROWS", 40)
    account = AccountFactory()
    given = [(account.user_id, account.pk, n, f"Text {n}", "2025-01-01", f"R{n}") for n in range(9)]
    load(Transaction, given, columns=COLUMNS)
    rows = []
    for batch in range(4):
        new = range(100 * batch + 100, 100 * batch + 140 - known)
        numbers = [*new, *(at for at in range(known))]
        random.Random(batch).shuffle(numbers)
        numbers[7] = numbers[5]  # one more, and of a new key or a known one
        rows += [
            (account.user_id, account.pk, n, f"TEXT {n}", "2025-01-01", f"R{n}") for n in numbers
        ]
    refused, stored = one_at_a_time(rows)
    assert len(refused) >= 4 * known
    got = load(Transaction, rows, columns=COLUMNS, on_error="reject")
    assert {reject.record: reject.constraint for reject in got.rejects} == refused
    assert contents() == stored


def test_duplicates_in_the_source_and_in_the_table_are_told_apart(method):
    user = UserFactory()
    AccountFactory(number="OLD")
    rows = [(user.pk, number, "x") for number in ("A", "OLD", "B", "A")]
    got = load(
        Account, rows, columns=("user_id", "number", "name"), method=method, on_error="reject"
    )
    first, second = got.rejects
    assert (first.record, second.record) == (2, 4)
    assert first.kind == second.kind == "duplicate"
    assert first.constraint == "finance_account_number_key"
    assert "Key (number)=(OLD) already exists." in first.reason
    assert first.reason.endswith("The table had this key before the load.")
    assert second.reason.endswith("The source has this key in an earlier record too.")
    assert Account.objects.count() == 3


def test_every_reason_of_a_record_and_every_kind(method, tmp_path):
    account = AccountFactory()
    path = tmp_path / "rows.csv"
    good = f"{account.user_id},{account.pk},1,x,2025-01-01,A"
    path.write_text(
        ",".join(COLUMNS)
        + f"\n{good}\n{account.user_id},{account.pk},1.239,x,2025-02-30,B\nshort,line\n"
        + f"{account.user_id},987654,1,x,2025-01-01,A"
        + f"\n{good}\n"
    )
    log = tmp_path / "rejects.jsonl"
    got = load(Transaction, path, method=method, on_error="reject", reject_log=log)
    assert [(r.record, r.kind, r.column, r.field) for r in got.rejects] == [
        (2, "value", "amount", "amount"),
        (2, "value", "tx_date", "tx_date"),
        (3, "parse", None, None),
        (4, "reference", "account_id", "account"),
        (5, "duplicate", None, None),
    ]
    assert (got.read, got.rows, got.rejected) == (5, 1, 4)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["record"] for line in lines] == [2, 2, 3, 4, 5]
    assert lines[0]["value"] == "1.239"
    assert lines[0]["source"] == str(path)


@pytest.mark.parametrize(
    ("limit", "passes"), [(2, True), (1, False), ("50%", True), ("49%", False)]
)
def test_the_limit(limit, passes):
    account = AccountFactory()
    rows = [
        (account.user_id, account.pk, amount, "", "2025-01-01", "") for amount in (1, "a", 2, "b")
    ]
    if passes:
        assert (
            load(Transaction, rows, columns=COLUMNS, on_error="reject", reject_limit=limit).rows
            == 2
        )
        return
    with pytest.raises(TooManyRejects, match="4 records were read, and 2 refused: the limit is"):
        load(Transaction, rows, columns=COLUMNS, on_error="reject", reject_limit=limit)
    assert Transaction.objects.count() == 0


@pytest.mark.parametrize("limit", ["many", "-1", "101%", -5])
def test_a_limit_that_is_none(limit):
    with pytest.raises(ConfigurationError, match="neither a number of records nor a percentage"):
        load(Transaction, [], on_error="reject", reject_limit=limit)


def test_a_log_that_cannot_be_written_is_told_before_the_first_row(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot be written: No such file or directory"):
        load(Transaction, [], on_error="reject", reject_log=tmp_path / "nowhere" / "log.jsonl")


def test_the_wrong_file_is_noticed():
    rows = ((1, 1, "bad", "", "2025-01-01", "") for _ in range(40_000))
    with pytest.raises(TooManyRejects, match="the file or its layout is probably the wrong one"):
        load(Transaction, rows, columns=COLUMNS, on_error="reject")


def test_abort_counts_equal_reasons_and_shows_the_first():
    rows = ((1, 1, "bad", "", "2025-01-01", "") for _ in range(30))
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, rows, columns=COLUMNS)
    assert str(caught.value).startswith(
        "30 × amount: “bad” value must be a decimal number.\n"  # noqa: RUF001 - as shown
        "    The first of them: generator, record 1, column 'amount': 'bad':"
    )


@pytest.mark.parametrize("is_inside", [True, False])
def test_a_dry_run_leaves_nothing(is_inside, method):
    account = AccountFactory()
    rows = [(account.user_id, account.pk, amount, "", "2025-01-01", "") for amount in (1, "a", 2)]
    options = {"columns": COLUMNS, "method": method, "on_error": "reject", "dry_run": True}
    if is_inside:
        with transaction.atomic():
            got = load(Transaction, rows, **options)
            assert Transaction.objects.count() == 0
    else:
        got = load(Transaction, rows, **options)
    assert got.is_dry_run
    assert (got.read, got.rows, got.rejected) == (3, 2, 1)
    assert Transaction.objects.count() == 0


def test_an_error_of_the_servers_own_is_not_a_reject(method):
    account = AccountFactory()
    rows = [(account.user_id, account.pk, 1, "", "2025-01-01", "A")] * 2
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON finance_transaction "
            "FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    try:
        with pytest.raises(Exception, match="no space") as caught:
            load(Transaction, rows, columns=COLUMNS, method=method, on_error="reject")
        assert not isinstance(caught.value, ConstraintRefused)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION full_disk CASCADE")
    assert Transaction.objects.count() == 0


def test_deferred_constraints_are_deferred_again_for_the_caller(method):
    account = AccountFactory()
    rows = [(account.user_id, account.pk, 1, "", "2025-01-01", "")]
    with transaction.atomic():
        load(Transaction, [*rows, (1, 2, "bad", "", "", "")], columns=COLUMNS, method=method,
             on_error="reject")  # fmt: skip
        # The account of this row comes after it, which Django's deferred foreign keys allow.
        early = Transaction.objects.create(
            user=account.user, account_id=10**6, amount=1, tx_date="2025-01-01"
        )
        AccountFactory(pk=10**6)
    assert Transaction.objects.filter(pk=early.pk).exists()
    assert Transaction.objects.count() == 2


def test_a_key_of_the_callers_own_transaction_is_not_the_sources(method):
    user = UserFactory()
    with transaction.atomic():
        AccountFactory(number="A")
        rows = [(user.pk, number, "x") for number in ("A", "B", "B")]
        got = load(
            Account, rows, columns=("user_id", "number", "name"), method=method, on_error="reject"
        )
        first, second = got.rejects
    assert first.reason.endswith("The table had this key before the load.")
    assert second.reason.endswith("The source has this key in an earlier record too.")
