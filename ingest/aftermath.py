"""What a load owes the table when the rows are in: its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.table import quote_name

if TYPE_CHECKING:
    from ingest.session import Session
    from ingest.table import Table


def analyze(session: Session, table: Table, rows: int) -> bool:
    """Let PostgreSQL look at the new rows, where they are as many as autovacuum would look at.

    Its plans would else be made for the table before them. Gives whether it did.
    """
    [(before,)] = session.fetch(_ROWS_BEFORE, table.oid)
    if rows < ANALYZE_SHARE * before or not rows:
        return False
    session.execute(f"ANALYZE {quote_name(table.schema)}.{quote_name(table.name)}")
    return True


ANALYZE_SHARE = 0.1
"""As autovacuum_analyze_scale_factor has it."""

_ROWS_BEFORE = """
SELECT reltuples::double precision FROM pg_catalog.pg_class
WHERE oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""
