"""Find the indexes that their definition describes completely, so that it can restore them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Table
    from ingest.postgres.facts import PlainIndexFact
    from ingest.postgres.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeferredIndex:
    """An index that is built after the rows are loaded."""

    name: str
    definition: str
    """The CREATE INDEX statement."""
    comment: str | None
    constraint_kind: str | None
    """``p`` or ``u`` if it serves a primary key or a unique constraint of the same name."""
    constraint_comment: str | None
    is_unique: bool
    keys: tuple[str, ...]
    """Its keys as SQL expressions."""
    predicate: str | None
    """The condition of a partial index, as an SQL expression."""


def plain_indexes(
    table: Table,
    *,
    with_unique: bool,
    drawn: str | None = None,
    keeps_primary: bool = False,
) -> tuple[DeferredIndex, ...]:
    """Return the indexes that can be dropped and created again without losing anything.

    ``with_unique``: also those of unique and primary keys on which nothing else depends. Otherwise
    only those that refuse no row, because they contain the column whose values are ``drawn``.
    ``keeps_primary``: never the index of the primary key.
    """
    return tuple(
        _deferred(row)
        for row in table.facts["plain_indexes"]
        if not (row["is_primary"] and keeps_primary)
        and (not row["is_unique"] or with_unique or drawn in row["columns"])
    )


def _deferred(row: PlainIndexFact) -> DeferredIndex:
    values: dict[str, Any] = {**row, "keys": tuple(row["keys"])}
    return DeferredIndex(
        **{item.name: values[item.name] for item in dataclasses.fields(DeferredIndex)}
    )


def place_of_duplicate(
    session: Session, table: Table, given: Sequence[str], keys: Sequence[str], predicate: str | None
) -> int | None:
    """Return the place, from 1, of the first row that repeats the key of an earlier row.

    All rows of the table must be of this load. Their order is known only if PostgreSQL numbered
    them with an identity column that is not among the ``given`` columns; otherwise returns None.
    ``keys`` and ``predicate`` are SQL expressions from the catalog.
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


# Identity columns that count up and never cycle.
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
