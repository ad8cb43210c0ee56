"""Sessions on connections that are lost, and sessions that nobody closed."""

import concurrent.futures
import gc

import pytest
from django.db import DEFAULT_DB_ALIAS, connection

from ingest import ConnectionFailed
from ingest.postgres.event_loop import event_loop
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


@pytest.mark.filterwarnings("ignore:unclosed connection:ResourceWarning")  # it is right
@pytest.mark.django_db(transaction=True)
def test_the_event_loop_may_collect_a_session_that_nobody_closed():
    """The collector runs in any thread: in the loop's own it must not wait for the loop."""
    opened = open_asyncpg_session(DEFAULT_DB_ALIAS)
    session = opened.__enter__()
    begun = session.transaction()
    begun.__enter__()
    pid = session.backend().pid
    circle = [opened, begun]
    circle.append(circle)
    del opened, session, begun, circle

    async def collect():
        gc.collect()

    event_loop().start(collect()).result(PATIENCE_SECONDS)
    until(f"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")
