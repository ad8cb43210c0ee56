"""Make loads with ``on_conflict`` into the same table take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.keys import ConflictKey


def take_turn(session: Session, table: Table, key: ConflictKey) -> list[str]:
    """Wait for other loads with on_conflict into the same table; return what was decided.

    An advisory lock on the table's number keeps them apart, so that two of them cannot deadlock; it
    makes nobody else wait. A deferrable key cannot decide in ON CONFLICT, so no other transaction
    may write to the table at all meanwhile.
    """
    decisions = []
    session.fetch(_TAKE_TURN, table.oid)
    if key.is_deferrable:
        session.execute(f"LOCK TABLE {table.qualified_name} IN SHARE ROW EXCLUSIVE MODE")
        decisions.append(
            f"Conflicts: nobody else can write to the table meanwhile, because the key "
            f"{key.name!r} is deferrable and cannot decide in ON CONFLICT."
        )
    return [*decisions, f"Conflicts: decided by the key {key.name!r}."]


_TAKE_TURN = """
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
  pg_catalog.concat('ingest settles conflicts of ', $1::bigint), 0))::pg_catalog.text
"""
