"""Which row repeats a key, asked of rows that are in the table but not committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.session import Session
    from ingest.table import Table


def place_of_duplicate(
    session: Session, table: Table, given: Sequence[str], keys: Sequence[str], predicate: str | None
) -> int | None:
    """Give the place, from 1, of the first row whose key an earlier row has.

    All rows of the table are the load's. Their order is known only where PostgreSQL numbered them
    by an identity, which is not among the columns that were ``given``: else None. ``keys`` and
    ``predicate`` are SQL expressions of the catalog's.
    """
    numbers = [name for (name,) in session.fetch(_NUMBERS, table.oid) if name not in given]
    if not numbers:
        return None
    number = f"{table.qualified_name}.{quote_name(numbers[0])}"
    where = f"WHERE {predicate}" if predicate else ""
    rows = session.fetch(
        f"WITH repeated AS ("
        f"SELECT {number} AS number, pg_catalog.row_number() OVER (PARTITION BY {', '.join(keys)} "
        f"ORDER BY {number}) AS time, ({' IS NULL OR '.join(keys)} IS NULL) AS has_null "
        f"FROM ONLY {table.qualified_name} {where}) "
        f"SELECT (SELECT pg_catalog.count(*) FROM ONLY {table.qualified_name} "
        f"WHERE {number} OPERATOR(pg_catalog.<=) r.number) "
        f"FROM repeated r WHERE r.time OPERATOR(pg_catalog.>) 1 AND NOT r.has_null "
        "ORDER BY r.number LIMIT 1"
    )
    return int(rows[0][0]) if rows else None


# Identities that count up, and never start again.
_NUMBERS = """
SELECT a.attname::pg_catalog.text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_depend d
  ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid
  AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum
  AND d.deptype OPERATOR(pg_catalog.=) 'i'
  AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
JOIN pg_catalog.pg_sequence q ON q.seqrelid OPERATOR(pg_catalog.=) d.objid
WHERE a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attidentity OPERATOR(pg_catalog.<>) ''
  AND q.seqincrement OPERATOR(pg_catalog.>) 0 AND NOT q.seqcycle
"""
