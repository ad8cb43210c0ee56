"""Millions of transactions, made on the server in seconds."""

import contextlib

from django.db import connection

ACCOUNTS, USERS = 10_000, 1_000
DAYS = 3_650
FIRST_DAY = "2015-01-01"
FILLED = "auth_user, finance_account, finance_transaction"


def fill_transactions(rows):
    """Fill finance's empty tables with `rows` transactions over ten years, in random order."""
    users = (
        "INSERT INTO auth_user (username, password, first_name, last_name, email, is_staff,"
        " is_active, is_superuser, date_joined)"
        f" SELECT 'user' || n, '!', '', '', '', false, true, false, now()"
        f" FROM generate_series(1, {USERS}) n"
    )
    accounts = (
        "INSERT INTO finance_account (user_id, number, name, currency, opened_on)"
        " SELECT u.id, 'CZ' || lpad(n::text, 22, '0'), 'Account ' || n,"
        " (ARRAY['EUR', 'EUR', 'CZK', 'USD'])[1 + n % 4], date '2014-01-01' + n % 365"
        f" FROM generate_series(1, {ACCOUNTS}) n"
        f" JOIN auth_user u ON u.username = 'user' || (1 + n % {USERS})"
    )
    transactions = (
        "INSERT INTO finance_transaction"
        " (user_id, account_id, amount, description, tx_date, reference, created_at)"
        " SELECT a.user_id, a.id, ((n * 7919) % 200001 - 100000) / 100.0, 'Payment ' || n,"
        f" date '{FIRST_DAY}' + (n * 104729 % {DAYS})::int, 'R' || n, now()"
        f" FROM generate_series(1::bigint, {rows}) n"
        " JOIN (SELECT id, user_id, row_number() OVER (ORDER BY id) - 1 AS place"
        f" FROM finance_account) a ON a.place = n * 31 % {ACCOUNTS}"
    )
    with connection.cursor() as cursor:
        for statement in (users, accounts, transactions):
            cursor.execute(statement)
        cursor.execute(f"VACUUM ANALYZE {FILLED}")


@contextlib.contextmanager
def many_rows(rows):
    """Commit `rows` transactions to the tests' database, and delete everything afterwards."""
    assert connection.settings_dict["NAME"].startswith("test_ingest_"), "not the tests' database"
    fill_transactions(rows)
    try:
        yield
    finally:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {FILLED}, ingest_load CASCADE")
        connection.close()
