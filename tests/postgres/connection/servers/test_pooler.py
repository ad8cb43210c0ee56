"""A real pgbouncer in transaction mode, with one server connection for all its clients."""

import asyncio
import contextlib

import pytest
from django.db import connections

from ingest.postgres.connection import connect, connection_arguments
from ingest.postgres.session import CopyTarget, open_asyncpg_session, open_session
from tests.postgres.connection.servers.facts import over_asyncpg, over_psycopg, refusal

SIGN = {"DISABLE_SERVER_SIDE_CURSORS": True}

SETTINGS = {
    "options": "-c search_path=elsewhere -c work_mem=3MB",
    "assume_role": "the owner",
    "isolation_level": 4,
    "application_name": "till",
}

STATE = """
SELECT current_user::text, current_setting('TimeZone'), current_setting('search_path'),
       current_setting('work_mem'), current_setting('transaction_isolation'),
       (SELECT count(*) FROM pg_prepared_statements WHERE from_sql IS NOT NULL)
"""


@pytest.fixture
def pooled(database, pooler):
    def make(options=None, /, **entry):
        return database(options, PORT=str(pooler.port), **(SIGN | entry))

    return make


async def _state(alias):
    connection = await connect(alias)
    try:
        return tuple(await connection.fetchrow(STATE))
    finally:
        await connection.close()


def test_each_transaction_has_the_settings(add_alias, database, pooled, django_db_blocker):
    got = over_asyncpg(add_alias(pooled(SETTINGS, TIME_ZONE="Africa/Cairo")))
    with django_db_blocker.unblock():
        want = over_psycopg(add_alias(database(SETTINGS, TIME_ZONE="Africa/Cairo")))
    # The last four are of the connection between pgbouncer and PostgreSQL: a Unix socket.
    assert got[:-4] == want[:-4]


def test_nothing_is_left_for_the_next_client(add_alias, pooled):
    plain = add_alias(pooled(TIME_ZONE=None))
    before = asyncio.run(_state(plain))
    over_asyncpg(add_alias(pooled(SETTINGS, TIME_ZONE="Africa/Cairo")))
    assert asyncio.run(_state(add_alias(pooled()))) == before
    assert before[0] == "loader"
    assert before[-1] == 0


def test_session_rolls_back_and_copies(add_alias, pooled):
    alias = add_alias(pooled(SETTINGS))
    target = CopyTarget(schema="elsewhere", table="numbers", columns=("number",), format="text")
    with open_asyncpg_session(alias) as session:
        with contextlib.suppress(ZeroDivisionError), session.transaction():
            assert session.start_copy(target, b"1\n2\n").result() == 2
            raise ZeroDivisionError
        with session.transaction():
            # The unqualified name is found by the search path of the options.
            assert session.fetch("SELECT count(*) FROM numbers WHERE number < $1", 9) == [(0,)]
            assert session.start_copy(target, b"1\n2\n3\n").result() == 3
        with session.transaction():
            assert session.fetch("DELETE FROM numbers RETURNING number") == [(1,), (2,), (3,)]


def test_clients_take_turns_on_one_server_connection(add_alias, pooled):
    alias = add_alias(pooled(SETTINGS))
    [setting] = connection_arguments(alias).transaction_statements[1:]

    async def scenario():
        ours, other = await connect(alias), await connect(alias)
        try:
            seen = []
            for _ in range(3):
                async with ours.transaction():
                    await ours.execute(setting)
                    seen.append(await ours.fetchval("SELECT current_user::text"))
                seen.append(await other.fetchval("SELECT current_user::text"))
            await ours.reset()
            return seen
        finally:
            await ours.close()
            await other.close()

    assert asyncio.run(scenario()) == ["the owner", "loader"] * 3


def test_types_that_asyncpg_has_to_look_up(add_alias, pooled):
    async def scenario():
        connection = await connect(alias)
        try:
            async with connection.transaction():
                await connection.execute("CREATE TYPE elsewhere.mood AS ENUM ('sad', 'glad')")
                row = await connection.fetchrow("SELECT $1::elsewhere.mood AS mood", "glad")
                await connection.execute("DROP TYPE elsewhere.mood")
            return row["mood"], await connection.fetchval("SELECT current_setting('jit')")
        finally:
            await connection.close()

    alias = add_alias(pooled())
    assert asyncio.run(scenario()) == ("glad", "on")


def test_wrong_password(add_alias, pooled):
    got = str(refusal(add_alias(pooled(PASSWORD="guess"))))
    assert "guess" not in got
    assert got.startswith("Cannot connect to the database 'postgres' of DATABASES['tried']")


def test_without_the_sign_pgbouncer_refuses_the_options(add_alias, pooled):
    entry = pooled(SETTINGS, DISABLE_SERVER_SIDE_CURSORS=False)
    assert "unsupported startup parameter: options" in str(refusal(add_alias(entry)))


def test_what_was_set_in_the_session_holds_in_each_transaction(
    add_alias, pooled, django_db_blocker
):
    alias = add_alias(pooled())
    with django_db_blocker.unblock(), connections[alias].cursor() as cursor:
        cursor.execute("SET search_path = elsewhere, public")
        cursor.execute('SET ROLE "the owner"')
        try:
            with open_session(alias) as session:
                for _ in range(2):
                    with session.transaction():
                        assert session.fetch(
                            "SELECT current_user::text, current_setting('search_path')"
                        ) == [("the owner", "elsewhere, public")]
        finally:
            cursor.execute("RESET ALL")
            cursor.execute("RESET ROLE")
            connections[alias].close()
