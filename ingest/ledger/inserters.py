"""Which transactions inserted the rows of a chunk: with the keys, they identify a load's rows.

A chunk's rows are inserted by the transaction that inserts the chunk itself into the ledger. If
savepoints are used, each is a subtransaction with its own id. These ids are read at the chunk's
end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.ledger.rows import table_of
from ingest.ledger.table_identity import CLUSTER, IDENTITY, KEY_TYPE, MAY_IDENTIFY, with_parents
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inserters:
    """How to find the subtransactions that inserted a chunk's rows, besides the chunk's own."""

    table: Table
    key: str
    """The key's column; empty if the keys are not known."""
    marks: str | None = None
    """The table in which each savepoint of the load left a row."""
    old_values: str | None = None
    """The table with the keys of rows that the load has changed."""
    asks_rows: bool = False
    """Whether other code may have used savepoints; then the rows themselves are read."""

    def read(self, session: Session, chunk: int, *, has_ranges: bool) -> Iterable[int]:
        """Return the 32-bit ids of these subtransactions, found by the chunk's keys."""
        found: list[tuple[int]] = []
        if self.marks is not None:
            found += session.fetch(_MARKS.format(marks=self.marks))
        if self.asks_rows and self.key:
            facts = {"table": self.table.qualified_name, "key": quote_name(self.key)}
            if has_ranges:
                sql = _IN_RANGES.format(ranges=table_of("KeyRange"), **facts)
                found += session.fetch(sql, chunk)
            names = {"table": "$1::pg_catalog.oid", "column": "$2::pg_catalog.name"}
            [(key_type, equals)] = session.fetch(KEY_TYPE.format(**names), self.table.oid, self.key)
            facts |= {"type": key_type, "equals": equals}
            found += session.fetch(_IN_LISTS.format(lists=table_of("KeyList"), **facts), chunk)
            if self.old_values is not None:
                found += session.fetch(_CHANGED.format(old=self.old_values, **facts))
        return [number for (number,) in found]


def identify(session: Session, table: Table) -> str:
    """Return the identity within which transaction ids have a meaning.

    Return an empty string if the table does not keep transaction ids.
    """
    if any(part.distribution is not None for part in table.tables):
        return ""
    sql = f"SELECT i.*, ({MAY_IDENTIFY}) FROM ({IDENTITY.format(table='$1::pg_catalog.oid')}) i"
    for part in table.tables:  # the model's own is the last
        [(database, is_heap, may_identify)] = session.fetch(sql, part.oid)
        if not is_heap:
            return ""
    [(cluster,)] = session.fetch(CLUSTER) if may_identify else [("",)]
    parents = [part.oid for part in table.parts[-2::-1]]
    return with_parents(f"{cluster}/{database}/{table.oid}", parents)


INSERTER = """id, pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8,
  xmin::pg_catalog.text::pg_catalog.int8"""
"""What the insertion of a chunk returns: key, top-level transaction, (sub)transaction."""
_MARKS = "SELECT DISTINCT m.xmin::pg_catalog.text::pg_catalog.int8 FROM {marks} m"
# A visible row of a transaction that is still in progress is ours. Other rows do not have these
# keys, unless something changed the keys on their way to the table. Then the row belongs to another
# transaction, which has ended.
_OURS = """
SELECT n.raw
FROM (
  SELECT DISTINCT t.xmin::pg_catalog.text::pg_catalog.int8 AS raw,
         pg_catalog.age(t.xmin) AS age
  FROM {rows}
) n
WHERE CASE WHEN n.age OPERATOR(pg_catalog.<=) 0 THEN
  pg_catalog.pg_xact_status((
    pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8
      OPERATOR(pg_catalog.-) n.age
  )::pg_catalog.text::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'in progress'
ELSE false END
"""
_IN_RANGES = _OURS.replace(
    "{rows}",
    """{ranges} k JOIN {table} t ON t.{key} OPERATOR(pg_catalog.>=) k.first
    AND t.{key} OPERATOR(pg_catalog.<=) k.last
  WHERE k.chunk_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8""",
)
_CHANGED = _OURS.replace(
    "{rows}", "{old} o JOIN {table} t ON t.{key} OPERATOR({equals}) (o.key)::{type}"
)
_IN_LISTS = _OURS.replace(
    "{rows}",
    """{lists} k CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(k.keys) e (key)
  JOIN {table} t ON t.{key} OPERATOR({equals}) (e.key)::{type}
  WHERE k.chunk_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8""",
)
