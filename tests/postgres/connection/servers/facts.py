"""Reads the properties of a connection with Django's driver and with ours."""

import asyncio

import psycopg
from django.db import connections
from django.db.utils import DatabaseError

from ingest.exceptions import ConnectionFailed, IngestError
from ingest.postgres.connection import connect, connection_arguments

FACTS = """
SELECT current_user::text, session_user::text, current_database()::text,
       current_setting('TimeZone'), current_setting('search_path'),
       current_setting('application_name'), current_setting('transaction_isolation'),
       current_setting('client_encoding'), current_setting('DateStyle'),
       current_setting('work_mem'), inet_server_port(), s.ssl, s.version, s.client_dn
FROM (SELECT 1) AS one LEFT JOIN pg_stat_ssl AS s ON s.pid = pg_backend_pid()
"""

ACCEPTED, REFUSED = "accepted", "refused"


def over_psycopg(alias: str) -> tuple[object, ...] | str:
    """Return the facts of Django's own connection, or REFUSED."""
    wrapper = connections[alias]
    try:
        wrapper.connect()
        wrapper.set_autocommit(False)  # as in atomic(), so that the isolation level applies
        with wrapper.cursor() as cursor:
            cursor.execute(FACTS)
            return tuple(cursor.fetchone())
    except (psycopg.Error, DatabaseError):
        return REFUSED
    finally:
        wrapper.close()


def over_asyncpg(alias: str) -> tuple[object, ...] | str:
    """Return the facts of ingest's connection, or REFUSED if the server refused it."""
    try:
        return asyncio.run(_ask(alias))
    except ConnectionFailed:
        return REFUSED


def refusal(alias: str) -> IngestError:
    """Return the error that a connection attempt raises."""
    try:
        asyncio.run(_ask(alias))
    except IngestError as error:
        return error
    raise AssertionError("it was not refused")


async def _ask(alias: str) -> tuple[object, ...]:
    connection = await connect(alias)
    try:
        async with connection.transaction():
            for statement in connection_arguments(alias).transaction_statements:
                await connection.execute(statement)
            return tuple(await connection.fetchrow(FACTS))
    finally:
        await connection.close()
