"""The queries of the catalog are prepared once for a connection that is kept."""

import pytest
from django.db import connection

from finance.models import Account, Transaction
from ingest import load
from ingest.postgres.asyncpg_session import open_kept_session
from ingest.postgres.catalog import read_model_table, read_settled_table
from ingest.postgres.session import read_state
from tests.factories import AccountFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)

PREPARED = """
SELECT name, generic_plans FROM pg_prepared_statements
WHERE statement ~ 'wanted' AND statement !~ 'pg_prepared_statements' ORDER BY 1
"""


@pytest.fixture(autouse=True)
def _new_session():
    connection.ensure_connection()
    yield
    connection.close()


def look(query, *parameters):
    """Ask the connection that is kept for the next load of this thread."""
    with open_kept_session("default", read_state("default")) as session:
        return session.fetch(query, *parameters)


def test_later_loads_use_the_plans_of_the_first_ones():
    account = AccountFactory()
    row = {"user": account.user_id, "account__number": account.number, "amount": 1}
    first = set()
    for _ in range(8):
        assert load(Transaction, [{**row, "tx_date": "2025-01-01"}]).rows == 1
        names = {name for name, _ in look(PREPARED)}
        first = first or names
        assert names == first
    assert len(first) == 2  # of the loaded table, and of the table of its accounts
    assert all(generic for _, generic in look(PREPARED))


def test_a_table_is_described_as_it_is_and_not_as_it_was():
    run("CREATE SCHEMA prepared_other")
    try:
        with open_kept_session("default", read_state("default")) as session:
            for _ in range(8):
                with session.transaction():
                    before = read_settled_table(session, Account)
            run("ALTER TABLE finance_account ADD COLUMN colour text DEFAULT 'red'")
            with session.transaction():
                after = read_settled_table(session, Account)
            assert {it.name for it in after.columns} - {it.name for it in before.columns} == {
                "colour"
            }
            assert [it for it in after.facts["defaults"] if it["column"] == "colour"]
            run("CREATE TABLE prepared_other.finance_account (id int, own int)")
            session.execute("SET search_path = prepared_other, public")
            assert [it.name for it in read_model_table(session, Account).columns] == ["id", "own"]
            session.execute("SET ROLE pg_monitor")
            with session.transaction():
                assert session.fetch("SELECT current_user::text") == [("pg_monitor",)]
                session.execute("SET LOCAL search_path = public")
                refused = read_settled_table(session, Account)
            assert not any(column.may_insert for column in refused.columns)
            assert refused.facts["access"][0]["missing_right"].startswith("GRANT INSERT ON")
    finally:
        run("ALTER TABLE finance_account DROP COLUMN IF EXISTS colour")
        run("DROP SCHEMA prepared_other CASCADE")


def test_nothing_is_prepared_behind_a_pooler(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with open_kept_session("default", read_state("default")) as session, session.transaction():
        assert read_settled_table(session, Account).facts["access"]
        assert session.fetch(PREPARED) == []
