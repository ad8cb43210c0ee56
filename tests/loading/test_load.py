"""load() on a real PostgreSQL: what is stored and refused, and nothing half-written."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import threading
from decimal import Decimal
from functools import partial

import psycopg
import pyarrow as pa
import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection, transaction

from finance.models import Account, Transaction
from ingest import (
    ConfigurationError,
    ConnectionFailed,
    ConstraintRefused,
    LayoutError,
    RecordsRefused,
    SourceError,
    aload,
    load,
    preview,
    verify,
)
from ingest.exceptions import ServerFailed
from ingest.ledger.models import Load
from ingest.sources import joining
from ingest.writing import refused_rows
from ingest.writing.refused_rows import RecentBatches
from tests.factories import AccountFactory
from tests.patience import PATIENCE_SECONDS

# Only these apps' tables are emptied after each test: loads commit.
pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.date(2025, 1, 1)
HEADER = "user_id,account_id,amount,description,tx_date\n"


def csv(account, *lines, header=HEADER):
    text = header + "".join(f"{account.user_id},{account.pk},{line}\n" for line in lines)
    return io.BytesIO(text.encode())


def stored():
    return list(Transaction.objects.order_by("pk").values_list("amount", "description"))


def test_load_commits_over_asyncpg(account):
    got = load(Transaction, csv(account, "1.50,coffee,2025-01-02", "-2,,2025-02-28"))
    assert (got.rows, got.method, got.driver, got.model) == (
        2,
        "direct",
        "asyncpg",
        "finance.Transaction",
    )
    assert got.rows_per_second == got.rows / got.seconds
    assert stored() == [(Decimal("1.50"), "coffee"), (Decimal("-2.00"), "")]
    first = Transaction.objects.first()
    assert first.tx_date == dt.date(2025, 1, 2)
    assert first.reference == ""
    assert first.created_at is not None


def test_inside_atomic_the_load_sees_the_callers_rows_and_rolls_back_with_them():
    with transaction.atomic():
        account = AccountFactory()  # not committed: only Django's own connection sees it
        got = load(Transaction, csv(account, "1,a,2025-01-01"))
        assert got.driver == "psycopg"
        assert Transaction.objects.count() == 1
        transaction.set_rollback(True)
    assert Transaction.objects.count() == 0


def test_where_autocommit_is_off_the_load_is_part_of_the_callers_transaction(account, tmp_path):
    """Not to wait for ever for what the caller has not committed."""
    path = tmp_path / "rows.csv"
    path.write_bytes(csv(account, "5.00,x,2025-01-01").getvalue())
    row = {
        "user_id": account.user_id,
        "account_id": account.pk,
        "amount": "6.00",
        "tx_date": "2025-01-01",
    }
    transaction.set_autocommit(False)
    try:
        Account.objects.select_for_update().get(pk=account.pk)
        Transaction.objects.all().delete()
        load(Transaction, path)
        load(Transaction, [row])
        assert [amount for amount, _ in stored()] == [5, 6]
        transaction.rollback()
        assert stored() == []
        load(Transaction, path)
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert stored() == [(Decimal("5.00"), "x")]


def test_no_more_batches_are_kept_than_refused_rows_are_looked_for_in(
    account, tmp_path, monkeypatch
):
    """Each of many small files is kept for more than its rows; two are joined here."""
    kept, add = [], RecentBatches.add

    def watch(recent, batch):
        add(recent, batch)
        kept.append(len(list(recent)))

    monkeypatch.setattr(RecentBatches, "add", watch)
    monkeypatch.setattr(refused_rows, "KEPT_FILES", 4)
    monkeypatch.setattr(joining, "MOST_FILES", 2)
    files = [tmp_path / f"{number}.csv" for number in range(7)]
    for file in files:
        file.write_bytes(csv(account, "5.00,x,2025-01-01").getvalue())
    assert load(Transaction, files).rows == 7
    assert kept == [1, 2, 2, 2]


def test_the_command_commits_where_autocommit_is_off(account, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_bytes(csv(account, "5.00,x,2025-01-01").getvalue())
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    call_command("bulk_load", "finance.Transaction", str(path), verbosity=0)
    connection.close()
    monkeypatch.undo()
    assert stored() == [(Decimal("5.00"), "x")]


def test_both_drivers_send_the_same_bytes(account):
    rows = ["1.10,žluťoučký,2025-01-01", '99999.99,"two\nlines",1999-12-31', "0,,0001-01-01"]
    load(Transaction, csv(account, *rows))
    outside = stored()
    Transaction.objects.all().delete()
    with transaction.atomic():
        load(Transaction, csv(account, *rows))
    assert stored() == outside


def test_an_error_inside_atomic_leaves_the_callers_transaction_usable(account):
    with transaction.atomic():
        with pytest.raises(RecordsRefused):
            load(Transaction, csv(account, "1,good,2025-01-01", "bad,x,2025-01-01"))
        assert Transaction.objects.count() == 0
        load(Transaction, csv(account, "1,good,2025-01-01"))
    assert stored() == [(Decimal("1.00"), "good")]


def test_aload_loads_in_an_event_loop(account):
    got = asyncio.run(aload(Transaction, csv(account, "1,a,2025-01-01")))
    assert got.rows == 1
    assert len(stored()) == 1


def test_an_aload_whose_task_is_cancelled_loads_nothing(account):
    is_reading, may_go_on = threading.Event(), threading.Event()

    def lines():
        for number in range(200_000):
            if number == 100_000:  # after the first batches
                is_reading.set()
                may_go_on.wait(PATIENCE_SECONDS)
            yield {"user": account.user_id, "account": account.pk, "amount": 1, "tx_date": DAY}

    async def cancel():
        task = asyncio.create_task(aload(Transaction, lines()))
        while not is_reading.is_set():  # noqa: ASYNC110 - it is an event of threads
            await asyncio.sleep(0.01)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, may_go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert Load.objects.get().status == "interrupted"  # the load has ended, too
    assert stored() == []


@pytest.mark.parametrize(
    ("model", "want"),
    [
        ("finance.Account", "give a model class, such as apps.get_model('finance.Account')."),
        (Account(), "give a model class, such as Transaction."),
        (AbstractUser, "AbstractUser is abstract and has no table: give a model that inherits"),
    ],
)
def test_what_is_no_model_is_named(model, want):
    for call in (partial(load, model, []), partial(preview, model, []), partial(verify, model)):
        with pytest.raises(TypeError) as caught:
            call()
        assert want in str(caught.value)


@pytest.mark.parametrize("kind", ["dicts", "tuples", "instances", "arrow", "path"])
def test_every_source(account, kind, tmp_path):
    day = dt.date(2025, 3, 4)
    values = {
        "user_id": account.user_id,
        "account_id": account.pk,
        "amount": Decimal("12.34"),
        "description": "x",
        "tx_date": day,
    }
    columns = None
    if kind == "dicts":
        source = (dict(values) for _ in range(3))
    elif kind == "tuples":
        source, columns = (tuple(values.values()) for _ in range(3)), list(values)
    elif kind == "instances":
        source = [Transaction(**values) for _ in range(3)]
    elif kind == "arrow":
        source = pa.Table.from_pylist([values] * 3)
    else:
        source = tmp_path / "rows.csv"
        source.write_bytes(csv(account, *["12.34,x,2025-03-04"] * 3).getvalue())
    assert load(Transaction, source, columns=columns).rows == 3
    assert stored() == [(Decimal("12.34"), "x")] * 3
    assert set(Transaction.objects.values_list("tx_date", flat=True)) == {day}


@pytest.mark.parametrize("source", [[], (), iter([]), io.BytesIO(HEADER.encode())])
def test_nothing_to_load(source):
    assert load(Transaction, source).rows == 0


def test_a_generator_is_read_in_the_callers_thread(account):
    threads = set()

    def rows():
        for _ in range(3):
            threads.add(threading.get_ident())
            yield {
                "user_id": account.user_id,
                "account": account.pk,
                "amount": 1,
                "tx_date": dt.date(2025, 1, 1),
            }

    assert load(Transaction, rows()).rows == 3
    assert threads == {threading.get_ident()}


REFUSED = {
    "no decimal": ("abc,x,2025-01-01", "amount", "'abc'", "“abc” value must be a decimal number."),
    "NaN": (
        "NaN,x,2025-01-01",
        "amount",
        "'NaN'",
        (
            "“NaN” value must be a decimal number. To load it as an empty cell, set null in the "
            "layout, or give --null to the command."
        ),
    ),
    "Infinity": (
        "Infinity,x,2025-01-01",
        "amount",
        "'Infinity'",
        "“Infinity” value must be a decimal number.",
    ),
    "three places": (
        "1.239,x,2025-01-01",
        "amount",
        "'1.239'",
        "Ensure that there are no more than 2 decimal places.",
    ),
    "too many digits": (
        "12345678901.00,x,2025-01-01",
        "amount",
        "'12345678901.00'",
        "Ensure that there are no more than 12 digits in total.",
    ),
    "no such day": (
        "1,x,2025-02-30",
        "tx_date",
        "'2025-02-30'",
        "“2025-02-30” value has the correct format (YYYY-MM-DD) but it is an invalid date.",
    ),
    "U+0000": (
        "1,a\0b,2025-01-01",
        "description",
        "'a\\x00b'",
        "Null characters are not allowed: PostgreSQL cannot store U+0000.",
    ),
    "no date": ("1,x,", "tx_date", "''", "This field cannot be null."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_value_is_named_and_nothing_is_loaded(account, case):
    line, column, value, reason = REFUSED[case]
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, csv(account, "1,good,2025-01-01", line))
    assert (
        f"BytesIO, record 2 (line 3), column {column!r}: {value}: {reason}\nNothing was loaded."
        in str(caught.value).replace(
            " Ensure that there are no more than 10 digits before the decimal point.", ""
        )
    )
    assert [reject.record for reject in caught.value.rejects] == [2]
    assert Transaction.objects.count() == 0


def test_bytes_that_are_not_the_encoding_are_named(account):
    data = csv(account, "1,é,2025-01-01").getvalue().decode().encode("latin-1")
    with pytest.raises(
        RecordsRefused, match=r"record 1 \(line 2\), column 'description'.*byte 0xE9 is not"
    ):
        load(Transaction, io.BytesIO(data))
    load(Transaction, io.BytesIO(data), encoding="latin-1")
    assert stored() == [(Decimal("1.00"), "é")]


def test_an_integer_too_large(account):
    line = f"{2**63},{account.pk},1,x,2025-01-01\n"
    with pytest.raises(
        RecordsRefused, match=r"record 1 \(line 2\), column 'user_id'.*9223372036854775808"
    ):
        load(Transaction, io.BytesIO((HEADER + line).encode()))


@pytest.mark.parametrize("line", ["1,short", "1,long,2025-01-01,more,cells"])
def test_a_short_and_a_long_record(account, line):
    with pytest.raises(RecordsRefused, match=r"record 2 \(line 3\): it has [47] cells"):
        load(Transaction, csv(account, "1,good,2025-01-01", line, "1,good,2025-01-01"))
    assert Transaction.objects.count() == 0


@pytest.mark.parametrize("shape", ["bom", "crlf", "cr"])
def test_marks_and_line_ends(account, shape):
    data = csv(account, "1,a,2025-01-01", '2,"b\nc",2025-01-02').getvalue()
    if shape == "bom":
        data = b"\xef\xbb\xbf" + data
    elif shape == "crlf":
        data = data.replace(b"\n", b"\r\n")
    else:
        data = data.replace(b"\n", b"\r")
    assert load(Transaction, io.BytesIO(data)).rows == 2
    assert [text.replace("\r\n", "\n").replace("\r", "\n") for _, text in stored()] == ["a", "b\nc"]


def test_an_empty_file():
    with pytest.raises(SourceError, match="BytesIO is empty: its first line should name"):
        load(Transaction, io.BytesIO(b""))


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    (tmp_path / "transactions.csv").touch()
    with pytest.raises(SourceError, match=r"Did you mean 'transactions.csv'"):
        load(Transaction, tmp_path / "transaction.csv")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("amuont,tx_date", "a column 'amuont', but finance.Transaction has no such field. Did you"),
        ("account,account_id", "two columns, 'account' and 'account_id', for the field"),
        ("user,account,amount", "No source column feeds finance.Transaction.tx_date"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit(header, message):
    with pytest.raises(LayoutError, match=message):
        load(Transaction, io.BytesIO(f"{header}\n".encode()))


def test_an_account_that_does_not_exist(account):
    line = f"{account.user_id},987654,1,x,2025-01-01\n"
    with pytest.raises(ConstraintRefused) as caught:
        load(Transaction, io.BytesIO((HEADER + line).encode()))
    assert "finance_transaction_account_id" in str(caught.value)
    assert 'Key (account_id)=(987654) is not present in table "finance_account".' in str(
        caught.value
    )
    assert str(caught.value).startswith(
        "PostgreSQL refused BytesIO, record 1 (line 2), column 'account_id' "
        "(field 'account'): '987654':"
    )
    assert str(caught.value).endswith(
        "Load the referenced rows first, or fix the value. Nothing was loaded. To see every "
        'refused record, load with on_error="reject", dry_run=True, or in the command with '
        "--on-error reject --dry-run."
    )
    assert Transaction.objects.count() == 0


def test_a_duplicate_is_named_with_its_record(account):
    header = "user,number,name\n"
    lines = f"{account.user_id},A1,x\n{account.user_id},A2,x\n{account.user_id},A1,x\n"
    with pytest.raises(
        ConstraintRefused, match=r"record 3 \(line 4\), column 'number': 'A1': duplicate key"
    ):
        load(Account, io.BytesIO((header + lines).encode()))
    assert Account.objects.count() == 1


def test_tuples_need_names():
    with pytest.raises(SourceError, match="Tuples have no column names"):
        load(Transaction, [(1, 2)])
    with pytest.raises(TypeError, match="'int' is not a source"):
        load(Transaction, 7)


def test_a_model_without_a_table(monkeypatch):
    monkeypatch.setattr(Account._meta, "db_table", "nowhere")
    with pytest.raises(ConfigurationError, match=r"run `python manage.py migrate`"):
        load(Account, [])


def test_the_server_killed_in_the_middle(account):
    def rows():
        for number in range(100_000):
            if number == 70_000:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
            yield (account.user_id, account.pk, number, "x", "2025-01-01")

    with pytest.raises(ConnectionFailed, match=r"was lost: .*\. Nothing was loaded\."):
        load(Transaction, rows(), columns=HEADER.strip().split(","))
    assert Transaction.objects.count() == 0


@pytest.mark.parametrize("retries", [0, 1])
def test_a_connection_lost_before_the_ledger_has_the_load(account, tmp_path, retries):
    path = tmp_path / "rows.csv"
    path.write_bytes(csv(account, "1,x,2025-01-01").getvalue())
    is_locked = threading.Event()

    def cut():
        with psycopg.connect(**connection.get_connection_params()) as other:
            other.execute("LOCK TABLE ingest_load")
            is_locked.set()
            while not other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks "
                "WHERE relation = 'ingest_load'::regclass AND NOT granted"
            ).fetchall():
                pass

    thread = threading.Thread(target=cut)
    thread.start()
    assert is_locked.wait(PATIENCE_SECONDS)
    try:
        if retries:
            result = load(Transaction, path, retries=retries)
            assert any(said.startswith("Tried again: ") for said in result.decisions)
        else:
            with pytest.raises(ServerFailed, match="terminating connection"):
                load(Transaction, path, retries=retries)
    finally:
        thread.join()
        connection.close()  # it is the one that was cut
    assert len(stored()) == Load.objects.filter(status="loaded").count() == retries


def test_an_error_of_the_callers_generator_comes_through(account):
    def rows():
        yield {"user": account.user_id, "account": account.pk, "amount": 1, "tx_date": "2025-01-01"}
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="the caller's own"):
        load(Transaction, rows())
    assert Transaction.objects.count() == 0


@pytest.mark.parametrize("greatest", [50, 2_000_000])
def test_sequences_move_past_given_keys_and_never_back(account, greatest):
    last = account.pk
    rows = [(last + key, account.user_id, f"N{key}", "x") for key in (7, greatest)]
    columns = ["id", "user_id", "number", "name"]
    load(Account, rows, columns=columns)
    assert AccountFactory().pk == last + greatest + 1
    load(Account, [(last + 3, account.user_id, "N3", "x")], columns=columns)
    assert AccountFactory().pk == last + greatest + 2


@pytest.mark.parametrize(("analyze", "want"), [(True, True), (False, False)])
def test_the_table_is_analyzed(account, analyze, want):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_class SET reltuples = -1 WHERE relname = 'finance_transaction'")
    load(Transaction, csv(account, "1,a,2025-01-01"), analyze=analyze)
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'finance_transaction'")
        assert (cursor.fetchone()[0] == 1) == want


def test_an_unknown_option_is_told_with_the_nearest_name(account):
    with pytest.raises(
        TypeError, match=r"load\(\) has no option 'delimeter'. Did you mean 'delimiter'"
    ):
        load(Transaction, [], delimeter=";")


@pytest.mark.parametrize("value", [b"abc", bytearray(b"abc"), (1, 2), {3}, {"k": 1}, 1.5, True])
def test_what_is_no_text_is_told_in_a_warning_where_it_is_stored_as_one(account, value):
    row = {"user_id": account.user_id, "account_id": account.pk, "amount": 1, "tx_date": "2025-1-5"}
    [warning] = load(Transaction, [{**row, "description": value}]).warnings
    assert "the text field description was given" in warning
    assert Transaction.objects.get().description == str(value)
    assert str(value) in warning


def test_bytes_of_arrow_in_a_text_field_are_told_in_a_warning(account):
    row = {"user_id": account.user_id, "account_id": account.pk, "amount": 1, "tx_date": "2025-1-5"}
    [warning] = load(Transaction, pa.Table.from_pylist([{**row, "description": b"abc"}])).warnings
    assert "was given bytes" in warning
