"""The orders and searches that a table's indexes support."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.models import Model

LARGEST_GROUP = 50_000
"""Rows that may share a value of the indexed columns: sorting them takes about 20 ms per page."""

INDEXES = """
SELECT array(SELECT a.attname::text
             FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (i.indrelid, k.number)
             WHERE k.place <= i.indnkeyatts ORDER BY k.place),
       array(SELECT o.option & 1 FROM unnest(i.indoption) AS o (option)),
       array(SELECT p.opcdefault FROM unnest(i.indclass) WITH ORDINALITY AS c (oid, place)
             JOIN pg_catalog.pg_opclass p ON p.oid = c.oid ORDER BY c.place),
       i.indisunique
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = c.relam
WHERE i.indrelid = %s::regclass AND m.amname = 'btree' AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
"""
SPREAD = """
SELECT s.n_distinct, (s.most_common_freqs)[1], c.reltuples
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_stats s
  ON (s.schemaname, s.tablename) = (c.relnamespace::regnamespace::text, c.relname)
WHERE c.oid = %s::regclass AND s.attname = %s AND NOT s.inherited
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListIndex:
    """A complete, valid B-tree index over plain columns."""

    columns: tuple[str, ...]
    directions: tuple[int, ...]
    """0 ascending, 1 descending."""
    sorts: tuple[bool, ...]
    """Whether each column has the default operator class, whose order ORDER BY uses."""
    is_unique: bool


class TableIndexes:
    """The indexes of a model's table."""

    def __init__(self, model: type[Model], alias: str) -> None:
        self._connection = connections[alias]
        self._table = self._connection.ops.quote_name(model._meta.db_table)
        with self._connection.cursor() as cursor:
            cursor.execute(INDEXES, [self._table])
            self._indexes = [
                ListIndex(
                    columns=tuple(columns),
                    directions=tuple(directions),
                    sorts=tuple(sorts),
                    is_unique=unique,
                )
                for columns, directions, sorts, unique in cursor.fetchall()
            ]

    def find(self, column: str) -> bool:
        """Return whether an index finds rows by this column's value."""
        return any(index.columns[0] == column for index in self._indexes)

    def sort(self, columns: tuple[str, ...]) -> bool:
        """Return whether an index yields rows in the order of these columns, all in one direction.

        An index on only the first columns suffices if few rows share a value of the first one.
        """
        shared = max((self._shared(index, columns) for index in self._indexes), default=0)
        if shared == len(columns):
            return True
        return shared > 0 and self._largest_group(columns[0]) <= LARGEST_GROUP

    @staticmethod
    def _shared(index: ListIndex, columns: tuple[str, ...]) -> int:
        """Count the leading columns that the index sorts; all, if it is unique on these."""
        shared = 0
        for got, want, sorts, way in zip(
            index.columns, columns, index.sorts, index.directions, strict=False
        ):
            if got != want or not sorts or way != index.directions[0]:
                break
            shared += 1
        is_total = index.is_unique and shared == len(index.columns)
        return len(columns) if is_total else shared

    def _largest_group(self, column: str) -> float:
        """Estimate how many rows share the most common value of a column."""
        with self._connection.cursor() as cursor:
            cursor.execute(SPREAD, [self._table, column])
            found: Any = cursor.fetchone()
        if found is None:  # never analyzed: a new or a small table
            return 0.0
        distinct, most_common, rows = found
        mean = 1 / distinct if distinct > 0 else -1 / (distinct * max(rows, 1))
        return float(max(rows, 0) * max(most_common or 0, mean))
