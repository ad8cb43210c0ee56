"""The connection is lost while PostgreSQL does not read the data."""

import concurrent.futures

import pytest
from django.db import DEFAULT_DB_ALIAS, connection

from ingest import ConnectionFailed
from ingest.postgres.session import CopyTarget, open_asyncpg_session
from tests.writing.direct.tables import until

MORE_THAN_A_SOCKET_HOLDS = b"0123456789012345678901234567890\n" * 500_000
PATIENCE_SECONDS = 30
WAITS_FOR_A_LOCK = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid ="


@pytest.mark.django_db(transaction=True)
def test_a_copy_that_waits_for_the_server_ends_with_its_connection():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE losing (line text)")
    try:
        with (
            open_asyncpg_session(DEFAULT_DB_ALIAS) as holder,
            open_asyncpg_session(DEFAULT_DB_ALIAS) as session,
            holder.transaction(),
        ):
            holder.execute("LOCK TABLE losing IN ACCESS EXCLUSIVE MODE")
            pid = session.backend().pid
            target = CopyTarget(schema="public", table="losing", columns=("line",), format="text")
            future = session.start_copy(target, MORE_THAN_A_SOCKET_HOLDS)
            until(f"{WAITS_FOR_A_LOCK} {pid}")
            holder.fetch("SELECT pg_terminate_backend($1)", pid)
            try:
                with pytest.raises(ConnectionFailed, match="lost"):
                    future.result(timeout=PATIENCE_SECONDS)
            except concurrent.futures.TimeoutError:
                future.cancel()
                raise
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE losing")
