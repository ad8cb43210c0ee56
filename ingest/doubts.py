"""Which rows of a refused batch might be refused, or stand in another's way.

It is a guess that saves time: rows in doubt are tried one by one, and all others at once. The
server makes it, of the columns alone that unique keys and checks look at; of the rows that can have
a key twice only those that Arrow finds to share it with another row.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingest.attempts import UniqueKey
from ingest.encoding import ColumnEncoding
from ingest.session import Copying, CopyTarget, Query, Statement
from ingest.table import Column, quote_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.encoding import Encoding
    from ingest.session import Script, Session
    from ingest.table import Table


class Doubts:
    """Finds the rows in doubt of one batch after the other."""

    def __init__(self, session: Session, table: Table, encoding: Encoding) -> None:
        # A value drawn from a sequence repeats none.
        keys = unique_keys(session, table, encoding.given)
        checks = [
            (expression, columns)
            for expression, columns in session.fetch(_CHECKS, table.oid)
            if set(columns) <= set(encoding.names)
        ]
        self._required = [
            item.name for item in table.columns if item.is_required and item.name in encoding.names
        ]
        self._may_share = [_shared_columns(key, encoding) for key in keys]
        watched = {name for key in keys for name in key.columns}
        self._of_keys = _Probe(session, table, encoding, "ingest_keys", watched)
        watched = {name for _, columns in checks for name in columns}
        self._of_checks = _Probe(session, table, encoding, "ingest_checks", watched)
        self._later = [_later_of_one_key(key, self._of_keys.name) for key in keys]
        self._known = [_known(table, key, self._of_keys.name) for key in keys]
        refused = " OR ".join(f"NOT ({expression})" for expression, _ in checks)
        self._refused = [f"{_PLACES} {self._of_checks.name} WHERE {refused}"] if checks else []

    def find(self, rows: pa.RecordBatch) -> Script[set[int]]:
        """Give the places of rows that a check refuses, or that repeat a key of an earlier row."""
        found = {
            int(place.as_py())
            for name in self._required
            if rows.column(name).null_count
            for place in pc.indices_nonzero(pc.is_null(rows.column(name)))
        }
        found |= yield from self._of_checks.ask(rows, self._refused)
        sharing: set[int] = set()
        for names in self._may_share:
            sharing.update(range(rows.num_rows) if names is None else _sharing(rows, names))
        found |= yield from self._of_keys.ask(rows, self._later, sorted(sharing))
        return found

    def find_known(self, rows: pa.RecordBatch) -> Script[set[int]]:
        """Give the places of rows whose key the table has already."""
        return (yield from self._of_keys.ask(rows, self._known))


class _Probe:
    """A temporary table that has some columns of a batch, to be asked about them."""

    def __init__(
        self,
        session: Session,
        table: Table,
        encoding: Encoding,
        name: str,
        watched: Collection[str],
    ) -> None:
        columns = tuple(item for item in encoding.columns if item.column.name in watched)
        self.name = f"pg_temp.{name}"
        place = ColumnEncoding(column=_PLACE, arrow_type=pa.int64())
        self._names = [item.column.name for item in columns]
        self._encoding = dataclasses.replace(encoding, columns=(*columns, place))
        self._target = CopyTarget(
            schema="pg_temp", table=name, columns=self._encoding.names, format=encoding.format
        )
        if columns:
            names = ", ".join(map(quote_name, self._names))
            session.execute(
                f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS "
                f'SELECT {names}, 0::int8 AS "ingest place" '
                f"FROM {table.qualified_name} WITH NO DATA"
            )

    def ask(
        self, rows: pa.RecordBatch, questions: Sequence[str], places: Sequence[int] | None = None
    ) -> Script[set[int]]:
        """Give the places of the rows that any of the questions finds; of all, or of these."""
        found: set[int] = set()
        at = pa.array(range(rows.num_rows) if places is None else places, pa.int64())
        if not questions or not len(at):
            return found
        part = rows.select(self._names)
        part = part if places is None else part.take(at)
        given = pa.RecordBatch.from_arrays([*part.columns, at], names=list(self._encoding.names))
        yield Statement(f"TRUNCATE {self.name}")
        yield Copying(self._target, self._encoding.encode(given))
        for question in questions:
            found |= {place for (place,) in (yield Query(question))}
        return found


_PLACE = Column(
    name="ingest place",
    type_oid=20,
    type_name="int8",
    type_kind="b",
    type_modifier=-1,
    sql_type="bigint",
    is_required=True,
    has_default=False,
    identity="",
    is_generated=False,
)
_ALIKE = {
    *("bool", "int2", "int4", "int8", "numeric", "text", "varchar", "uuid"),
    *("date", "time", "timestamp", "timestamptz"),
}
"""Types whose equal values are equal in Arrow, unless a collation says otherwise."""


def _shared_columns(key: UniqueKey, encoding: Encoding) -> list[str] | None:
    """Give the columns by which Arrow can see that rows share the key; None where it cannot."""
    kinds = {
        item.column.name: item.column.type_name for item in encoding.columns if item.dump is None
    }
    if key.plain and all(kinds.get(name) in _ALIKE for name in key.plain):
        return list(key.plain)
    return None


def _sharing(rows: pa.RecordBatch, names: list[str]) -> set[int]:
    """Give the places of rows that have the same values as another row; null is like no other."""
    keys = pa.Table.from_batches([rows.select(names)])
    keys = keys.append_column("ingest place", pa.array(range(rows.num_rows), pa.int64()))
    groups = keys.drop_null().group_by(names, use_threads=False)
    places = groups.aggregate([("ingest place", "list")])["ingest place_list"]
    shared = places.filter(pc.greater(pc.list_value_length(places), 1))
    return set(pc.list_flatten(shared).to_pylist())


_PLACES = 'SELECT "ingest place" FROM'


def unique_keys(session: Session, table: Table, given: Sequence[str]) -> list[UniqueKey]:
    """Find the unique keys that the given columns alone decide."""
    return [
        UniqueKey(
            name=name,
            expressions=", ".join(expressions),
            predicate=predicate or "true",
            columns=tuple(columns),
            plain=tuple(plain),
        )
        for name, expressions, predicate, columns, plain in session.fetch(_UNIQUE_KEYS, table.oid)
        if set(columns) <= set(given)
    ]


def _later_of_one_key(key: UniqueKey, probe: str) -> str:
    """Ask for the rows that share a key with an earlier one; null is like no other."""
    where = f"WHERE ({key.predicate}) AND ROW({key.expressions}) IS NOT NULL"
    # Whatever becomes of the first of them, the others are tried after it.
    return (
        f'{_PLACES} {probe} {where} AND "ingest place" NOT IN '
        f'(SELECT min("ingest place") FROM {probe} {where} GROUP BY {key.expressions})'
    )


def _known(table: Table, key: UniqueKey, probe: str) -> str:
    """Ask for the rows whose key the table has already."""
    # Only the keys that the table shares with the batch are read, by its own index.
    return (
        f"{_PLACES} {probe} WHERE ({key.predicate}) AND ({key.expressions}) IN "
        f"(SELECT {key.expressions} FROM {table.qualified_name} WHERE ({key.predicate}) "
        f"AND ({key.expressions}) IN (SELECT {key.expressions} FROM {probe} WHERE {key.predicate}))"
    )


_UNIQUE_KEYS = """
SELECT c.relname::text,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM generate_series(1, i.indnkeyatts) n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = i.indrelid AND (
               a.attnum = ANY (i.indkey) OR EXISTS (
                 SELECT FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))),
       CASE WHEN i.indexprs IS NULL THEN
         ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = i.indrelid AND a.attnum = k.attnum
               WHERE k.place <= i.indnkeyatts ORDER BY k.place)
         ELSE '{}'::text[] END
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::int8::oid AND i.indisunique AND i.indimmediate AND i.indisvalid
ORDER BY c.relname::text COLLATE "C"
"""
_CHECKS = """
SELECT pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = $1::int8::oid AND k.contype = 'c' AND k.conkey IS NOT NULL
"""
