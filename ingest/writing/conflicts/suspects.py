"""Find the suspect rows of a batch that was refused as a whole.

This is a guess that saves time: suspect rows are tried one by one, and the rows between them
together. Each query that raises an error on the server is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name
from ingest.writing.suspects import unique_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Constraint, Table
    from ingest.writing.row_by_row import UniqueKey


def find_suspects(  # noqa: PLR0913 - what the queries name, each once
    table: Table,
    names: Sequence[str],
    *,
    key: str,
    work: str,
    own: str,
    place: str,
    suspects: str,
    servers_own: str,
) -> str:
    """Return PL/pgSQL that notes the places of suspect rows of ``work``.

    ``names`` are the columns that are sent, and ``key`` is the unique key of ``on_conflict``.
    """
    conditions = [
        f"w.{quote_name(item.name)} IS NULL"
        for item in table.columns
        if item.is_required and item.name in names
    ]
    conditions += [
        # Its column names refer to the columns of ``work``.
        f"NOT ({check['expression']})"
        for check in table.facts["checks"]
        if set(check["columns"]) <= set(names)
    ]
    others = () if table.distribution is not None else table.foreign_keys
    conditions += [
        _is_missing(item)
        for item in others
        if item.is_enforced and item.references_oid != table.oid and set(item.columns) <= set(names)
    ]
    rows = (
        f"(SELECT * FROM {work} w WHERE w.{own}what OPERATOR(pg_catalog.=) "
        "ANY ('{i,u}'::pg_catalog.text[]))"
    )
    queries = [f"SELECT w.{place} FROM {rows} w WHERE {condition}" for condition in conditions]
    for item in unique_keys(table, names):
        if item.name != key and table.distribution is None:
            queries += _of_key(item, table, rows, own, place)
    asked = "".join(
        f"""
            BEGIN
              INSERT INTO {suspects} {query};
            EXCEPTION WHEN OTHERS THEN
              IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({servers_own}) THEN
                RAISE;
              END IF;
            END;"""
        for query in queries
    )
    return f"DELETE FROM {suspects};{asked}"


def _is_missing(item: Constraint) -> str:
    columns = [f"w.{quote_name(name)}" for name in item.columns]
    is_given = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    is_same = " AND ".join(
        f"p.{quote_name(name)} OPERATOR(pg_catalog.=) {column}"
        for name, column in zip(item.referenced_columns, columns, strict=True)
    )
    return f"{is_given} AND NOT EXISTS (SELECT FROM {item.references} p WHERE {is_same})"


def _of_key(item: UniqueKey, table: Table, rows: str, own: str, place: str) -> list[str]:
    """Return queries for the rows that share another unique key with a row of table or batch."""
    given = (
        f"(SELECT {place} AS place, {own}tid AS tid, {item.select} FROM {rows} w "
        f"WHERE {item.predicate})"
    )
    known = (
        f"(SELECT ctid AS tid, {item.select} FROM {table.qualified_name} WHERE {item.predicate})"
    )
    expressions = ", ".join(item.expressions)
    is_known = (
        f"SELECT given.place FROM {given} AS given WHERE EXISTS (SELECT FROM {known} AS known "
        f"WHERE {item.equal('known', 'given')} AND (given.tid IS NULL "
        "OR known.tid OPERATOR(pg_catalog.<>) given.tid))"
    )
    is_later = (
        f"SELECT r.place FROM (SELECT {place} AS place, pg_catalog.row_number() OVER "
        f"(PARTITION BY {expressions} ORDER BY {place}) AS nth FROM {rows} w "
        f"WHERE ({item.predicate}) AND ROW({expressions}) IS NOT NULL) r "
        "WHERE r.nth OPERATOR(pg_catalog.>) 1"
    )
    return [is_known, is_later]
