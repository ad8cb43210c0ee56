"""Which rows of a table belong to a load.

A key alone does not identify a row: it may be freed and used again. A row belongs to a load if the
load recorded its key *and* the transaction that wrote this version of the row, which PostgreSQL
keeps as its ``xmin``. A row that was updated, restored or inserted again since has another
``xmin``. It cannot be proved to be the load's, and is never treated as one of its rows.

Transaction ids have a meaning within one cluster and for one table only, and ``xmin`` has only
their last 32 bits. The ledger keeps all 64 bits, and the identity of cluster, database and table.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import BooleanField, Expression, F

from ingest.ledger.table_identity import (
    TableIdentity,
    column_of_key,
    find_table,
    with_parents,
)
from ingest.postgres.catalog import NOT_OURS
from ingest.postgres.citus import WHY_NOT_OURS
from ingest.postgres.quoting import quote_db_table
from ingest.postgres.several_tables import models_of_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.db.models import Model

    from ingest.ledger.models import Load

EPOCH = 2**32
"""The number of transaction ids after which the same ``xmin`` occurs again."""
MARGIN = 2**20
"""Transactions that may begin while an undo runs: PostgreSQL cannot begin a million a second."""
ROW = "\0"
"""Placeholder for the alias of a row in a condition: no name can contain it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowSet:
    """A set of rows of a model's table, described by a condition in SQL."""

    model: type[Model]
    using: str
    table: str
    """The table with its schema, quoted."""
    where: str
    """The condition, with ``%s`` parameters and ``ROW`` for the alias of the table."""
    parameters: tuple[Any, ...] = ()

    def condition(self, alias: str) -> str:
        """Return the condition on the row with this alias."""
        return f"({self.where.replace(ROW, alias)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ownership:
    """What the ledger knows about a load's rows, for the table as it is now."""

    rows: int
    """Rows that the load inserted."""
    key: str
    """The key's column, quoted; empty if the table has none."""
    reason: str | None
    """Why no row can be proved to be the load's, or None if it can."""
    same_keys: RowSet
    """The rows with a key of the load, no matter who inserted them."""
    own: RowSet
    """The rows that are proved to be the load's."""
    others: RowSet
    """The rows with a key of the load that are not proved to be the load's."""
    written: RowSet
    """The rows that a transaction of the load wrote last, no matter which keys they have."""
    column: str = ""
    """The name of the key's column in the catalog."""
    key_type: str = ""
    """The key's base type, with its schema, for a statement with parameters."""
    equals: str = ""
    """The operator that compares two keys, with its schema."""
    parents: tuple[RowSet, ...] = ()
    """The rows of the parents' tables, if a multi-table child was loaded with its parents. They are
    proved to be the load's and no child's row refers to them. The nearest parent is first."""


class IsOwn(Expression):
    """A condition for a queryset of the load's model: the row belongs to the load."""

    conditional = True

    def __init__(self, rows: RowSet) -> None:
        super().__init__(output_field=BooleanField())
        self._rows = rows
        self._key: Any = F("pk")

    def get_source_expressions(self) -> list[Any]:
        return [self._key]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        [self._key] = exprs

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:  # noqa: ARG002
        # Django 6.1 renamed the method.
        is_renamed = hasattr(compiler, "quote_name")
        quote = compiler.quote_name if is_renamed else compiler.quote_name_unless_alias
        alias = quote(self._key.alias)
        return self._rows.condition(alias), self._rows.parameters


def read_ownership(load: Load, model: type[Model]) -> Ownership:
    """Read what the ledger knows about a load's rows and compare it with the current table."""
    using = load._state.db or DEFAULT_DB_ALIAS
    names = {name: quote_db_table(f"ingest_{table}") for name, table in _LEDGER.items()}
    with connections[using].cursor() as cursor:
        table = find_table(cursor, model)
        cursor.execute(_KEYS.format(**names), [str(load.pk)])
        rows, in_ranges, in_lists, least, greatest, spans, count = cursor.fetchone()
        cursor.execute(_CHUNKS.format(**names), [str(load.pk)])
        chunks = [(json.loads(ids), identity) for ids, identity in cursor.fetchall()]
        parents = _find_parents(cursor, model, chunks) if table is not None else []
    reason, transactions = _transactions(table, chunks, parents)
    is_unknown = table is not None and (table.is_distributed or not table.is_heap)
    if in_ranges + in_lists < rows and not is_unknown:
        reason = "the ledger does not have the keys of all its rows"
    if table is None:
        if not column_of_key(model):
            reason = "its key has several columns"
        return _nothing(model, using, rows, reason)
    conditions = _Conditions(
        ranges=(least, greatest, spans if count > 1 else None) if in_ranges else None,
        lists=str(load.pk) if in_lists else None,
        transactions=transactions if reason is None else None,
        names=names,
    )
    keys, parameters = conditions.has_key(table)
    inserted, numbers = conditions.is_inserted(table, parents)
    written, by = conditions.is_inserted(table)

    def rows_where(where: str, *values: Any) -> RowSet:
        return RowSet(
            model=model, using=using, table=table.name, where=where, parameters=tuple(values)
        )

    return Ownership(
        rows=rows,
        key=table.key,
        reason=reason,
        same_keys=rows_where(keys, *parameters),
        own=rows_where(f"({keys}) AND {inserted}", *parameters, *numbers),
        others=rows_where(f"({keys}) AND NOT ({inserted})", *parameters, *numbers),
        written=rows_where(written, *by),
        column=table.column,
        key_type=table.key_type,
        equals=table.equals,
        parents=tuple(conditions.parents(model, using, table, parents)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Conditions:
    """Builds the conditions on rows of a load, each with its parameters."""

    ranges: tuple[str, str, str | None] | None
    """The least and the greatest key, and the ranges if there are several. None if the load has no
    ranges."""
    lists: str | None
    """The load's number, if it has lists of keys."""
    transactions: str | None
    """The load's transactions as a multirange of xmin; None if they prove nothing."""
    names: Mapping[str, str]
    """The ledger's tables."""

    def has_key(self, table: TableIdentity) -> tuple[str, list[Any]]:
        """Return the condition that a row has a key of the load."""
        conditions: list[str] = []
        parameters: list[Any] = []
        key = f"{ROW}.{table.key}"
        if self.ranges is not None:
            least, greatest, spans = self.ranges
            conditions.append(_HULL.format(key=key))
            parameters += [least, greatest]
            if spans is not None:
                conditions[-1] += f" AND {_IN_RANGES.format(key=key)}"
                parameters.append(spans)
        if self.lists is not None:
            facts = {"key": key, "equals": table.equals, "type": table.key_type}
            conditions.append(_IN_LISTS.format(**facts, **self.names))
            parameters.append(self.lists)
        return " OR ".join(f"({item})" for item in conditions) or "false", parameters

    def is_inserted(
        self, table: TableIdentity, parents: Sequence[TableIdentity] = ()
    ) -> tuple[str, list[Any]]:
        """Return the condition that the load has inserted a row and its parents' rows."""
        if self.transactions is None:
            return "false", []
        where, parameters = _XMIN, [self.transactions]
        if not table.is_partitioned:
            where += _NOT_A_CHILD
            parameters.append(str(table.oid))
        for place, parent in enumerate(parents):
            alias = f"ingest_parent{place}"
            above, values = self.is_inserted(parent)
            where += (
                f" AND EXISTS (SELECT FROM {parent.name} {alias} "
                f"WHERE {_same_key(alias, parent, ROW, table)} AND {above.replace(ROW, alias)})"
            )
            parameters += values
        return where, parameters

    def parents(
        self, model: type[Model], using: str, table: TableIdentity, parents: Sequence[TableIdentity]
    ) -> Iterator[RowSet]:
        """Yield the parents' rows that the load has inserted and that have no child."""
        owners = models_of_rows(model)[-2::-1]
        for child, parent, owner in zip([table, *parents], parents, owners, strict=False):
            keys, parameters = self.has_key(parent)
            inserted, numbers = self.is_inserted(parent)
            where = (
                f"({keys}) AND {inserted} AND NOT EXISTS (SELECT FROM {child.name} ingest_child "
                f"WHERE {_same_key('ingest_child', child, ROW, parent)})"
            )
            yield RowSet(
                model=owner,
                using=using,
                table=parent.name,
                where=where,
                parameters=(*parameters, *numbers),
            )


def full_ids(top: int, raw: Iterable[int]) -> list[list[int]]:
    """Return the 64-bit ids of these 32-bit ids, as ranges with both ends included.

    ``top`` is the 64-bit id of the top-level transaction: its subtransactions have later ids.
    """
    ranges: list[list[int]] = []
    for number in sorted({top + (number - top) % EPOCH for number in raw}):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def _find_parents(
    cursor: Any, model: type[Model], chunks: list[tuple[list[list[int]], str]]
) -> list[TableIdentity]:
    """Return the parents' tables, the nearest first, if the load has written to them too."""
    if not any("+" in identity for _, identity in chunks):
        return []
    found = [find_table(cursor, parent) for parent in models_of_rows(model)[-2::-1]]
    return [parent for parent in found if parent is not None]


def _same_key(alias: str, one: TableIdentity, other: str, another: TableIdentity) -> str:
    return f"{alias}.{one.key} OPERATOR({one.equals}) {other}.{another.key}"


def _nothing(model: type[Model], using: str, rows: int, reason: str | None) -> Ownership:
    none = RowSet(
        model=model, using=using, table=quote_db_table(model._meta.db_table), where="false"
    )
    return Ownership(
        rows=rows, key="", reason=reason, same_keys=none, own=none, others=none, written=none
    )


def _transactions(
    table: TableIdentity | None,
    chunks: list[tuple[list[list[int]], str]],
    parents: Sequence[TableIdentity],
) -> tuple[str | None, str]:
    """Return why no row can be proved to be the load's, and its transactions as xmin ranges."""
    known = [chunk for chunk in chunks if chunk[0]]
    wanted = with_parents(table.identity, [parent.oid for parent in parents]) if table else ""
    here = [ids for ids, identity in known if identity == wanted]
    recent = [ids for ids in here if table and _are_recent(ids, table.next_id)]
    reason = None
    if table is None:
        reason = "its table, or a key column of it, does not exist any more"
    elif table.is_distributed:
        reason = WHY_NOT_OURS
    elif not table.is_heap:
        reason = NOT_OURS
    elif chunks and not known:
        reason = "it was recorded before ingest noted which transactions inserted its rows"
    elif chunks and not here:
        reason = (
            "its table is not the one that was loaded: it was created again, the database was "
            "restored or upgraded, or the search_path leads to another table"
        )
    elif chunks and not recent:
        reason = "so many transactions came after it that their ids have begun again"
    spans = [span for ids in recent for pair in ids for span in _as_xmin(*pair)]
    return reason, "{" + ",".join(f"[{first},{last}]" for first, last in spans) + "}"


def _are_recent(ids: list[list[int]], next_id: int) -> bool:
    return ids[-1][1] < next_id + MARGIN and next_id - ids[0][0] < EPOCH - MARGIN


def _as_xmin(first: int, last: int) -> list[tuple[int, int]]:
    """Reduce a range of ids to 32 bits, within which they may wrap around to 0."""
    low, high = first % EPOCH, last % EPOCH
    return [(low, high)] if low <= high else [(low, EPOCH - 1), (0, high)]


_LEDGER = {"chunk": "chunk", "ranges": "keyrange", "lists": "keylist"}
_KEYS = """
SELECT coalesce((SELECT pg_catalog.sum(c.inserted) FROM {chunk} c
                 WHERE c.load_id OPERATOR(pg_catalog.=) w.load), 0)::pg_catalog.int8,
       coalesce(r.keys, 0)::pg_catalog.int8, coalesce(l.keys, 0)::pg_catalog.int8,
       r.least::pg_catalog.text, r.greatest::pg_catalog.text, r.spans::pg_catalog.text,
       (SELECT pg_catalog.count(*) FROM pg_catalog.unnest(r.spans))
FROM (SELECT %s::pg_catalog.int8 AS load) w
CROSS JOIN LATERAL (
  SELECT pg_catalog.sum(k.last OPERATOR(pg_catalog.-) k.first OPERATOR(pg_catalog.+) 1) AS keys,
         pg_catalog.min(k.first) AS least, pg_catalog.max(k.last) AS greatest,
         pg_catalog.range_agg(pg_catalog.int8range(k.first, CASE
           WHEN k.last OPERATOR(pg_catalog.<) 9223372036854775807
           THEN k.last OPERATOR(pg_catalog.+) 1 END)) AS spans
  FROM {ranges} k JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
  WHERE c.load_id OPERATOR(pg_catalog.=) w.load
) r
CROSS JOIN LATERAL (
  SELECT pg_catalog.sum(pg_catalog.jsonb_array_length(k.keys)) AS keys
  FROM {lists} k JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
  WHERE c.load_id OPERATOR(pg_catalog.=) w.load
) l
"""
# The range of the greatest int8 has no upper end, because no number follows it.
_CHUNKS = """
SELECT c.transactions::pg_catalog.text, c.table_identity FROM {chunk} c
WHERE c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
  AND (c.inserted OPERATOR(pg_catalog.>) 0 OR c.updated OPERATOR(pg_catalog.>) 0
       OR c.skipped OPERATOR(pg_catalog.>) 0)
"""
# A record that replaces one of an earlier chunk writes the row again and counts as skipped.
_HULL = """{key} OPERATOR(pg_catalog.>=) %s::pg_catalog.int8
  AND {key} OPERATOR(pg_catalog.<=) %s::pg_catalog.int8"""
_IN_RANGES = """{key}::pg_catalog.int8 OPERATOR(pg_catalog.<@) %s::pg_catalog.int8multirange"""
_IN_LISTS = """{key} OPERATOR({equals}) ANY (
  SELECT (e.key)::{type}
  FROM {lists} l JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) l.chunk_id
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(l.keys) e (key)
  WHERE c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
)"""
_XMIN = f"""{ROW}.xmin::pg_catalog.text::pg_catalog.int8
  OPERATOR(pg_catalog.<@) %s::pg_catalog.int8multirange"""
_NOT_A_CHILD = f" AND {ROW}.tableoid OPERATOR(pg_catalog.=) %s::pg_catalog.oid"
"""A table that inherits from this one may have rows with the same keys."""
