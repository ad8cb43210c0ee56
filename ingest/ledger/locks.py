"""The advisory locks by which running loads are recognized and kept apart."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

from django.db import connections

from ingest.exceptions import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.ledger.models import Load
    from ingest.postgres.session import Session

LOCK_CLASS = 0x1A9E57
"""The first number of the advisory locks of running loads."""
PATIENCE_SECONDS = 5.0
"""How long a load waits for a process that was killed, or is about to end."""
PAUSE_SECONDS = 0.1


def begin_alone(session: Session, what: str) -> None:
    """Prevent others from beginning the same load until the session's transaction ends."""
    session.fetch(_BEGIN_ALONE, f"ingest begins {what}")


def lock(session: Session, load: Load) -> None:
    """Show others that a load is running, for as long as the session (or its transaction) lives.

    Raise ``LedgerError`` if another process keeps the lock for longer than ``PATIENCE_SECONDS``.
    """
    statement = _LOCK if session.lasts else _LOCK_TRANSACTION
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not session.fetch(statement, _lock_class(load), _lock_number(load.pk))[0][0]:
        if time.monotonic() > deadline:
            raise at_work(load)
        time.sleep(PAUSE_SECONDS)


def at_work(load: Load) -> LedgerError:
    """Return the error for a load that another process is running."""
    return LedgerError(
        f"Another process is at work on load {load.pk}: wait for its end, or cancel it."
    )


def is_alive(load: Load) -> bool:
    """Return whether a process is running a load at this moment.

    Behind a pooler in transaction mode no lock outlives a transaction, so a load between two chunks
    is not seen.
    """
    with connections[load._state.db or "default"].cursor() as cursor:
        cursor.execute(_IS_LOCKED, [_lock_class(load), _lock_number(load.pk)])
        [is_locked] = cursor.fetchone()
    return bool(is_locked)


def find_alive(loads: Sequence[Load]) -> set[int]:
    """Return the numbers of those loads that ``is_alive`` holds for; all are of one ledger."""
    if not loads:
        return set()
    with connections[loads[0]._state.db or "default"].cursor() as cursor:
        cursor.execute(_LOCKED)
        locked = set(cursor.fetchall())
    return {load.pk for load in loads if (_lock_class(load), _lock_number(load.pk)) in locked}


def keep_still(load: Load, *, shared: bool = False) -> bool:
    """Prevent others from running a load until Django's transaction ends.

    Return False if a process is running it. ``shared``: others may take the same lock in shared
    mode.
    """
    with connections[load._state.db or "default"].cursor() as cursor:
        cursor.execute(
            _KEEP_STILL_SHARED if shared else _KEEP_STILL,
            [_lock_class(load), _lock_number(load.pk)],
        )
        [is_ours] = cursor.fetchone()
    return bool(is_ours)


def _lock_class(load: Load) -> int:
    """Return the first number of a load's lock.

    Tenants may have their own ledgers, whose loads have the same numbers.
    """
    state = load.session_state or {}
    path = state.get("settings", {}).get("search_path", "")
    return (LOCK_CLASS + zlib.crc32(path.encode())) % 2**31 if path else LOCK_CLASS


def _lock_number(key: int) -> int:
    return key % 2**31


_LOCKED = """
SELECT l.classid::bigint, l.objid::bigint FROM pg_catalog.pg_locks l
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
  AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'
  AND l.objsubid OPERATOR(pg_catalog.=) 2
  AND l.database OPERATOR(pg_catalog.=) (
    SELECT d.oid FROM pg_catalog.pg_database d
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
"""
_IS_LOCKED = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks l
  WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
    AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'
    AND l.classid OPERATOR(pg_catalog.=) %s::bigint::pg_catalog.oid
    AND l.objid OPERATOR(pg_catalog.=) %s::bigint::pg_catalog.oid
    AND l.objsubid OPERATOR(pg_catalog.=) 2
    AND l.database OPERATOR(pg_catalog.=) (
      SELECT d.oid FROM pg_catalog.pg_database d
      WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
"""
_BEGIN_ALONE = """
SELECT pg_catalog.pg_advisory_xact_lock(
  pg_catalog.hashtextextended($1::pg_catalog.text, 0))::pg_catalog.text
"""
_LOCK = "SELECT pg_catalog.pg_try_advisory_lock($1::integer, $2::integer)"
_LOCK_TRANSACTION = "SELECT pg_catalog.pg_try_advisory_xact_lock($1::integer, $2::integer)"
_KEEP_STILL = "SELECT pg_catalog.pg_try_advisory_xact_lock(%s, %s)"
_KEEP_STILL_SHARED = "SELECT pg_catalog.pg_try_advisory_xact_lock_shared(%s, %s)"
