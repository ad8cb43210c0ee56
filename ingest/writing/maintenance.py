"""Update the table's statistics after a load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

ANALYZE_ROWS = 50
"""The default of autovacuum_analyze_threshold."""
ANALYZE_SHARE = 0.1
"""The default of autovacuum_analyze_scale_factor."""


def needs_analyze(table: Table, rows: int) -> bool:
    """Return whether there are enough new rows that autovacuum would analyze the table.

    Otherwise PostgreSQL would plan queries for the table without them. ``table`` was read before
    the last chunk.
    """
    return rows > 0 and any(
        # The threshold is only for a table that was analyzed before: it has enough older rows.
        rows >= ANALYZE_SHARE * part.row_count + (ANALYZE_ROWS if part.row_count >= 0 else 0)
        for part in table.tables
    )


def analyze(session: Session, table: Table) -> None:
    """Run ANALYZE on the table and its parts."""
    statement = f"ANALYZE {', '.join(part.qualified_name for part in table.tables)}"
    if session.lasts:
        session.execute(f"BEGIN; {statement}; COMMIT")
        return
    with session.transaction():
        session.execute(statement)
