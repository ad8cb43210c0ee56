"""The load's own connection has the state of Django's."""

from __future__ import annotations

import dataclasses

import pytest
from django.db import ProgrammingError, connection, transaction

from finance.models import Transaction
from ingest import ConfigurationError, LedgerError, load, resume
from ingest.ledger.place import check_place
from ingest.ledger.undo import undo
from ingest.models import Load
from ingest.postgres.session import SessionState, django_in_state, open_session, read_state
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = "user,account,amount,tx_date,reference\n"
STATE = """
SELECT current_user::text, session_user::text, current_setting('search_path'),
       current_setting('TimeZone'), current_setting('DateStyle'),
       current_setting('statement_timeout'), current_setting('row_security'),
       current_setting('synchronous_commit'), current_setting('work_mem')
"""


@pytest.fixture
def schema():
    """Make a second schema with the table of transactions, like a tenant's."""
    run("CREATE SCHEMA state_t1")
    run("CREATE TABLE state_t1.finance_transaction (LIKE finance_transaction INCLUDING ALL)")
    yield "state_t1"
    connection.close()  # drops all settings of the session
    run("DROP SCHEMA state_t1 CASCADE")


@pytest.fixture
def role():
    """Make a role that may load transactions."""
    run("CREATE ROLE state_teller")
    run("GRANT ALL ON ALL TABLES IN SCHEMA public TO state_teller")
    run("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO state_teller")
    yield "state_teller"
    connection.close()
    run("DROP OWNED BY state_teller; DROP ROLE state_teller")


@pytest.fixture(autouse=True)
def _new_session():
    yield
    connection.close()


@pytest.fixture
def file(tmp_path):
    account = AccountFactory()
    path = tmp_path / "rows.csv"
    lines = [
        f"{account.user_id},{account.pk},{number},2025-01-01,R{number}\n" for number in range(1, 31)
    ]
    path.write_text(HEADER + "".join(lines))
    return path


def count(table):
    return run(f"SELECT count(*) FROM {table}")[0][0]


SETTINGS = {
    "nothing": [],
    "a search path": ["SET search_path = pg_catalog, public"],
    "a time zone": ["SET TIME ZONE 'Africa/Cairo'"],
    "the server's time zone": ["SET TIME ZONE DEFAULT"],
    "many": [
        "SET DateStyle = 'German, DMY'",
        "SET statement_timeout = '97s'",
        "SET row_security = off",
        "SET synchronous_commit = local",
        "SET work_mem = '7MB'",
    ],
    "a role": ["SET ROLE pg_read_all_data"],
    "a session's user and its role": [
        "SET SESSION AUTHORIZATION pg_monitor",
        "SET ROLE pg_read_all_stats",
    ],
    "what only a superuser may set, and then a role": [
        "SET session_replication_role = replica",
        "SET ROLE pg_read_all_data",
    ],
}


@pytest.mark.parametrize("statements", SETTINGS.values(), ids=SETTINGS)
def test_the_connection_has_the_same_state(statements):
    for statement in statements:
        run(statement)
    want = run(STATE)
    with open_session("default") as session:
        assert session.driver == "asyncpg"
        assert session.fetch(STATE) == want


def test_custom_settings_are_found_where_something_reads_them(settings):
    settings.INGEST = {**settings.INGEST, "SESSION_SETTINGS": ["app.named"]}
    try:
        run("""
            CREATE FUNCTION state_reads() RETURNS text LANGUAGE plpgsql
            AS $$ BEGIN RETURN current_setting('app.in_function', true); END $$""")
        run("CREATE TABLE state_reading (id int, t text DEFAULT current_setting('app.in_default'))")
        run("CREATE POLICY p ON state_reading USING (t = current_setting('App.In_Policy'))")
        names = ["app.in_function", "app.in_default", "app.in_policy", "app.named"]
        for name in names:
            run(f"SET {name} = 'value of {name}'")
        run("SET app.that_nobody_reads = 'x'")
        with open_session("default") as session:
            for name in names:
                [(got,)] = session.fetch("SELECT current_setting($1::text, true)", name)
                assert got == f"value of {name}"
            assert session.fetch("SELECT current_setting('app.that_nobody_reads', true)") == [
                (None,)
            ]
    finally:
        run("DROP FUNCTION state_reads; DROP TABLE state_reading")


def test_what_the_login_may_not_set_is_an_error_that_names_it(monkeypatch):
    state = SessionState(settings={"session_replication_role": "nonsense"})
    with pytest.raises(ConfigurationError) as caught, open_session("default", state):
        pass
    assert str(caught.value) == (
        "The load's own connection cannot be brought into the state of Django's, where these were "
        "set: session_replication_role. PostgreSQL says: invalid value for parameter "
        '"session_replication_role": "nonsense". Load inside transaction.atomic(), over Django\'s '
        "own connection."
    )


def test_a_search_path_decides_on_the_table(schema, file):
    run(f"SET search_path = {schema}, public")
    got = load(Transaction, file)
    assert got.table == '"state_t1"."finance_transaction"'
    assert (count("state_t1.finance_transaction"), count("public.finance_transaction")) == (30, 0)
    assert (got.load.schema, got.load.table) == (schema, got.table)
    assert got.load.session_state["settings"]["search_path"] == "state_t1, public"


def test_a_generator_that_changes_the_search_path_does_not_move_the_load(schema, file):
    account = AccountFactory()

    def rows():
        run(f"SET search_path = {schema}, public")
        for number in range(10):
            yield (account.user_id, account.pk, number, "2025-01-01", f"G{number}")

    columns = ("user_id", "account_id", "amount", "tx_date", "reference")
    got = load(Transaction, rows(), columns=columns)
    assert got.table == '"public"."finance_transaction"'
    assert got.load.status == "loaded"
    assert count("public.finance_transaction") == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_a_resume_and_an_undo_go_where_the_load_was(schema, file, workers, monkeypatch):
    def stop(progress):
        if progress.rows >= 20:
            raise KeyboardInterrupt

    run(f"SET search_path = {schema}, public")
    with pytest.raises(KeyboardInterrupt):
        load(Transaction, file, chunk_rows=10, progress=stop)
    found = Load.objects.get()
    assert (found.status, found.loaded) == ("interrupted", 10)
    run("SET search_path = public")
    again = load(Transaction, file, resumable=True, chunk_rows=10, workers=workers)
    assert again.load.pk != found.pk  # that one is the other schema's
    assert again.table == '"public"."finance_transaction"'
    got = resume(found.pk)
    assert (got.table, got.rows) == ('"state_t1"."finance_transaction"', 30)
    assert (count("state_t1.finance_transaction"), count("public.finance_transaction")) == (30, 30)
    assert run("SHOW search_path") == [("public",)]
    with pytest.raises(LedgerError, match="this connection finds another table"):
        check_place(found)
    check_place(again.load)
    undo(found.pk)
    assert (count("state_t1.finance_transaction"), count("public.finance_transaction")) == (0, 30)
    assert run("SHOW search_path") == [("public",)]


def test_workers_have_the_state(schema, file):
    run(f"SET search_path = {schema}, public")
    got = load(Transaction, file, workers=2, chunk_rows=5)
    assert not any(decision.startswith("One worker") for decision in got.decisions)
    assert (count("state_t1.finance_transaction"), count("public.finance_transaction")) == (30, 0)


def test_a_role_puts_the_rows_in(role, file):
    run("""
        ALTER TABLE finance_transaction ADD COLUMN put_in_by text DEFAULT current_user""")
    try:
        run(f"SET ROLE {role}")
        got = load(Transaction, file)
        assert got.load.role == role
        run("RESET ROLE")
        assert run("SELECT DISTINCT put_in_by FROM finance_transaction") == [(role,)]
    finally:
        run("RESET ROLE; ALTER TABLE finance_transaction DROP COLUMN put_in_by")


def test_secrets_are_not_kept_and_asked_for_by_name(file, settings):
    settings.INGEST = {**settings.INGEST, "SESSION_SETTINGS": ["app.api_key", "app.tenant"]}
    run("SET app.api_key = 'very secret'")
    run("SET app.tenant = '5'")
    got = load(Transaction, file)
    state = got.load.session_state
    assert (state["settings"]["app.tenant"], state["withheld"]) == ("5", ["app.api_key"])
    assert "very secret" not in str(state)
    connection.close()
    with pytest.raises(LedgerError) as caught:
        undo(got.load.pk)
    assert str(caught.value) == (
        f"Load {got.load.pk} was made with the setting app.api_key, whose value the ledger does "
        "not keep because it may be a secret. Set it on Django's connection, and try again."
    )
    run("SET app.api_key = 'very secret'")
    undo(got.load.pk)
    assert count("finance_transaction") == 0


def test_a_connection_that_was_lost_has_the_state_of_a_new_one(file):
    run("SET app.tenant = '5'")
    with open_session("default") as session:
        session.fetch("SELECT pg_terminate_backend($1)", connection.connection.info.backend_pid)
    assert read_state("default").settings.get("app.tenant") is None
    assert load(Transaction, file).rows == 30


def test_inside_atomic_the_ledger_knows_the_state_too(schema, file):
    with transaction.atomic():
        run(f"SET LOCAL search_path = {schema}, public")
        got = load(Transaction, file)
    assert (got.load.schema, got.driver) == (schema, "psycopg")
    undo(got.load.pk)
    assert count("state_t1.finance_transaction") == 0


def test_the_error_that_ended_a_transaction_is_not_covered_by_another():
    before = read_state("default")
    wanted = dataclasses.replace(before, role="pg_read_all_data")
    with (
        pytest.raises(ProgrammingError, match='"nowhere" does not exist'),
        transaction.atomic(),
        django_in_state("default", wanted),
    ):
        run("SELECT FROM nowhere")
    assert read_state("default") == before
