"""What a load owes the table when the rows are in: its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

ANALYZE_ROWS = 50
"""As autovacuum_analyze_threshold has it."""
ANALYZE_SHARE = 0.1
"""As autovacuum_analyze_scale_factor has it."""


def needs_analyze(table: Table, rows: int) -> bool:
    """Return whether the new rows are so many that autovacuum would analyze the table.

    PostgreSQL's plans would else be made for the table before them. ``table`` is as it was read
    before its last chunk.
    """
    return rows > 0 and any(
        # Analyzed by now, it has enough rows of before for so few that are new.
        rows >= ANALYZE_SHARE * part.row_count + (ANALYZE_ROWS if part.row_count >= 0 else 0)
        for part in table.tables
    )


def analyze(session: Session, table: Table) -> None:
    """Let PostgreSQL look at the new rows."""
    statement = f"ANALYZE {', '.join(part.qualified_name for part in table.tables)}"
    if session.lasts:
        session.execute(f"BEGIN; {statement}; COMMIT")
        return
    with session.transaction():
        session.execute(statement)
