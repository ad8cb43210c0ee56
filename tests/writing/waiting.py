"""Let a step of a session end, or wait for another session: the server says so, and not a clock.

An order of steps is then the same on every machine, as with PostgreSQL's own ``isolationtester``.
"""

import time
import uuid

from django.db import connection

WAITS = """
SELECT FROM pg_stat_activity
WHERE application_name = %s
  AND (pg_blocking_pids(pid) <> '{}' OR wait_event = 'VacuumTruncate'
       OR state = 'idle in transaction' AND query = 'ROLLBACK TO SAVEPOINT ingest_keys')
"""
"""The last is a load that has the table for itself: it asks for the parents' locks again and again,
without waiting for them."""
SECONDS = 20
PAUSE_SECONDS = 0.002


def new_name():
    """Return an `application_name` by which the server knows the sessions of one step."""
    return uuid.uuid4().hex


def name_sessions(name):
    """Give this thread's connection, and the loads by it, the name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [name])


def rest(is_done, name):
    """Wait until the step is done, or a session of the name waits for a lock."""
    deadline = time.monotonic() + SECONDS
    while not is_done():
        with connection.cursor() as cursor:
            cursor.execute(WAITS, [name])
            if cursor.rowcount:
                return
        assert time.monotonic() < deadline, "a step neither ends nor waits for a lock"
        time.sleep(PAUSE_SECONDS)
