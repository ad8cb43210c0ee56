"""Verifies that a table satisfies its constraints and indexes.

PostgreSQL trusts a constraint that is marked as valid. Disabled triggers, a damaged index or a
failed restore can leave rows that violate it. This module re-checks each constraint against the
stored rows. It only reads, with one full scan for each item.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from django.db import DEFAULT_DB_ALIAS, router

from ingest.layout import check_model
from ingest.plurals import counted
from ingest.postgres.catalog import REREAD_BY_NAME, quote_name
from ingest.postgres.rights import is_of_rights, tell_missing
from ingest.postgres.session import open_session
from ingest.postgres.several_tables import read_tables
from ingest.results.findings import Audit, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db import models

    from ingest.postgres.catalog import Constraint, Index, Table
    from ingest.postgres.session import Session
    from ingest.results.findings import FindingKind

DAMAGE = (
    asyncpg.IndexCorruptedError,
    asyncpg.DataCorruptedError,
    psycopg.errors.IndexCorrupted,
    psycopg.errors.DataCorrupted,
)
"""The exceptions by which amcheck reports damage."""


def verify(model: type[models.Model], *, using: str | None = None) -> Audit:
    """Re-check every constraint and index of a model's table; change nothing.

    Inside ``transaction.atomic()`` it sees the caller's rows. Raise an ``IngestError`` if there is
    no such table or no connection; all other problems are in the result.
    """
    check_model(model)
    alias = using or router.db_for_read(model) or DEFAULT_DB_ALIAS
    with open_session(alias) as session, session.transaction():
        return verify_table(session, read_tables(session, model))


def verify_table(session: Session, table: Table) -> Audit:
    """Re-check every constraint and index of the table, in the session's transaction.

    A check that PostgreSQL refuses to run counts as a problem too, because its result is unknown.
    For a multi-table child, the tables of all its parents are checked.
    """
    findings = [finding for part in table.tables for finding in _verify_one(session, part)]
    return Audit(table=table.qualified_name, findings=tuple(findings))


def _verify_one(session: Session, table: Table) -> list[Finding]:
    parts = {str(name) for (name,) in session.fetch(_PARTS, table.oid)}
    return [
        *(
            _check(session, table, "not null", item.name, _verify_not_null, table, item.name)
            for item in table.columns
            if item.is_required
        ),
        *(
            _check(
                session,
                table,
                _KINDS.get(item.kind, "constraint"),
                item.name,
                _verify_constraint,
                table,
                item,
            )
            for item in table.constraints
            if item.name not in parts
        ),
        *(
            _check(session, table, "unique", item.name, _verify_unique, table, item)
            for item in table.indexes
            if item.is_unique
        ),
        *_verify_indexes(session, table),
    ]


_KINDS: dict[str, FindingKind] = {"c": "check", "f": "foreign key"}
"""Names for the values of pg_constraint.contype."""


def _check(
    session: Session,
    table: Table,
    kind: FindingKind,
    name: str,
    check: Callable[..., Finding],
    *arguments: Any,
) -> Finding:
    """Run one check and leave no trace of it, whatever a constraint's function may do."""
    session.execute("SAVEPOINT ingest_audit")
    try:
        # Raises an error if a policy would hide rows from the check.
        session.execute("SET LOCAL row_security = off")
        return check(session, *arguments)
    except (asyncpg.PostgresError, psycopg.Error) as error:
        said = str(error).splitlines()[0].rstrip(".")
        problem = f"{said}." if isinstance(error, DAMAGE) else f"could not be checked: {said}."
        if is_of_rights(error):
            session.execute("ROLLBACK TO SAVEPOINT ingest_audit")
            told = tell_missing(session, said, {table.qualified_name: "SELECT"})
            problem = f"{problem} {told}".rstrip()
        return Finding(kind=kind, name=name, problem=problem)
    finally:
        session.execute("ROLLBACK TO SAVEPOINT ingest_audit")
        session.execute("RELEASE SAVEPOINT ingest_audit")


def _count(session: Session, table: Table, condition: str) -> int:
    # Not ONLY: the constraints of a partitioned table are those of its partitions.
    only = "" if table.kind == "p" else "ONLY "
    [(rows,)] = session.fetch(
        f"SELECT pg_catalog.count(*) FROM {only}{table.qualified_name} AS given WHERE {condition}"
    )
    return int(rows)


def _verify_not_null(session: Session, table: Table, column: str) -> Finding:
    # The planner omits the test if the column is NOT NULL (17 and later); it does not omit
    # num_nulls().
    rows = _count(
        session, table, f"pg_catalog.num_nulls(given.{quote_name(column)}) OPERATOR(pg_catalog.>) 0"
    )
    return _finding("not null", column, rows, "no value")


def _verify_constraint(session: Session, table: Table, item: Constraint) -> Finding:
    if not item.is_enforced:
        return Finding(kind="constraint", name=item.name, note="is not enforced.")
    if item.kind == "c":
        [expression] = _fetch_expressions(session, _EXPRESSION, table, item.name)
        rows = _count(session, table, f"NOT ({expression})")
        return _finding("check", item.name, rows, "values that it refuses")
    if item.kind == "f":
        return _verify_foreign_key(session, table, item)
    if not item.is_validated:
        return Finding(kind="constraint", name=item.name, problem="is not valid.")
    if item.kind == "x":
        return Finding(kind="constraint", name=item.name, note="an exclusion is left to its index.")
    return Finding(kind="constraint", name=item.name, note="see its unique index.")


def _fetch_expressions(session: Session, query: str, table: Table, name: str) -> list[Any]:
    """Return expressions of the table as SQL that has the same meaning when it is parsed again."""
    [(*found, is_reread_by_name)] = session.fetch(query, table.oid, name, REREAD_BY_NAME)
    if is_reread_by_name:
        # Until the savepoint is rolled back, only PostgreSQL's own operators are found.
        session.execute("SET LOCAL search_path = ''")
        [(*found, _)] = session.fetch(query, table.oid, name, REREAD_BY_NAME)
    return found


def _verify_foreign_key(session: Session, table: Table, key: Constraint) -> Finding:
    [(parent_kind, operators, collations, is_full, has_period)] = session.fetch(
        _KEY, table.oid, key.name
    )
    if has_period:
        return Finding(kind="foreign key", name=key.name, note="covers a period: not asked.")
    columns = [f"given.{quote_name(name)}" for name in key.columns]
    parents = [f"parent.{quote_name(name)}" for name in key.referenced_columns]
    equal = " AND ".join(
        f"{parent}{collation} OPERATOR({operator}) {column}"
        for parent, collation, operator, column in zip(
            parents, collations, operators, columns, strict=True
        )
    )
    listed = ", ".join(columns)
    only = "" if parent_kind == "p" else "ONLY "
    nulls = f"pg_catalog.num_nulls({listed})"
    complete = f"{nulls} OPERATOR(pg_catalog.=) 0"
    partly = (
        f"{nulls} OPERATOR(pg_catalog.<>) ALL (ARRAY[0, {len(columns)}]) OR " if is_full else ""
    )
    orphan = f"NOT EXISTS (SELECT FROM {only}{key.references} AS parent WHERE {equal})"
    rows = _count(session, table, f"{partly}({complete} AND {orphan})")
    found = _finding("foreign key", key.name, rows, f"no row in {key.references}")
    if rows or key.is_validated:
        return found
    return dataclasses.replace(found, note="holds, though it is marked NOT VALID.")


def _verify_unique(session: Session, table: Table, index: Index) -> Finding:
    [keys, collations, predicate, are_nulls_equal] = _fetch_expressions(
        session, _UNIQUE, table, index.name
    )
    collated = [f"{key}{collation}" for key, collation in zip(keys, collations, strict=True)]
    conditions = [predicate] if predicate else []
    if not are_nulls_equal:
        conditions.append(f"pg_catalog.num_nulls({', '.join(keys)}) OPERATOR(pg_catalog.=) 0")
    where = f"WHERE {' AND '.join(f'({item})' for item in conditions)}" if conditions else ""
    only = "" if table.kind == "p" else "ONLY "
    # GROUP BY does not use the index itself: the expressions are sorted or hashed again.
    [(rows,)] = session.fetch(
        f"SELECT coalesce(pg_catalog.sum(times OPERATOR(pg_catalog.-) 1), 0)::bigint "
        f"FROM (SELECT pg_catalog.count(*) AS times "
        f"FROM {only}{table.qualified_name} {where} GROUP BY {', '.join(collated)}) AS counted"
    )
    return _finding("unique", index.name, int(rows), "a key that another row has")


def _verify_indexes(session: Session, table: Table) -> list[Finding]:
    [(amcheck, may_check)] = session.fetch(_AMCHECK)
    return [
        _check(
            session,
            table,
            "index",
            name,
            _verify_index,
            oid,
            name,
            amcheck if may_check else None,
        )
        if is_btree and is_valid
        else _unread(name, is_valid=is_valid)
        for oid, name, is_btree, is_valid in session.fetch(_INDEXES, table.oid)
    ]


def _verify_index(session: Session, oid: int, name: str, amcheck: str | None) -> Finding:
    if amcheck is None:
        return _unread(name, is_valid=True)
    # Also checks that every row of the table is in the index.
    session.fetch(f"SELECT {amcheck}($1::bigint::pg_catalog.oid::pg_catalog.regclass, true)", oid)
    return Finding(kind="index", name=name)


def _unread(name: str, *, is_valid: bool) -> Finding:
    if not is_valid:
        return Finding(kind="index", name=name, problem="is not valid: REINDEX it.")
    return Finding(
        kind="index", name=name, note="is valid; its pages were not read: no amcheck for it."
    )


def _finding(kind: FindingKind, name: str, rows: int, what: str) -> Finding:
    problem = f"{counted(rows, 'row has', 'rows have')} {what}." if rows else None
    return Finding(kind=kind, name=name, rows=rows, problem=problem)


_EXPRESSION = """
SELECT pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       k.conbin::pg_catalog.text OPERATOR(pg_catalog.~) $3::pg_catalog.text
FROM pg_catalog.pg_constraint k
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.conname OPERATOR(pg_catalog.=) $2::pg_catalog.name
  AND k.contype OPERATOR(pg_catalog.=) 'c'
"""
# conperiod was added in PostgreSQL 18; read through JSON, it is null before.
_KEY = """
SELECT c.relkind::pg_catalog.text,
       ARRAY(SELECT pg_catalog.format('%I.%s', n.nspname, o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY u(oid, place)
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) u.oid
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY u.place),
       ARRAY(SELECT CASE WHEN o.oid IS NULL THEN ''
                    ELSE pg_catalog.format(' COLLATE %I.%I', s.nspname, o.collname) END
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(number, place)
             JOIN pg_catalog.pg_attribute a
               ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.number
             LEFT JOIN pg_catalog.pg_collation o
               ON o.oid OPERATOR(pg_catalog.=) a.attcollation
             LEFT JOIN pg_catalog.pg_namespace s
               ON s.oid OPERATOR(pg_catalog.=) o.collnamespace
             ORDER BY u.place),
       k.confmatchtype OPERATOR(pg_catalog.=) 'f',
       coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conperiod')::boolean, false)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.conname OPERATOR(pg_catalog.=) $2::pg_catalog.name
  AND k.contype OPERATOR(pg_catalog.=) 'f'
"""
# For a key to a partitioned table PostgreSQL also keeps one constraint for each partition.
_PARTS = """
SELECT k.conname::pg_catalog.text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_constraint whole ON whole.oid OPERATOR(pg_catalog.=) k.conparentid
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND whole.conrelid OPERATOR(pg_catalog.=) k.conrelid
"""
_UNIQUE = """
SELECT ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM pg_catalog.generate_series(1, i.indnkeyatts) n ORDER BY n),
       ARRAY(SELECT CASE WHEN o.oid IS NULL THEN ''
                    ELSE pg_catalog.format(' COLLATE %I.%I', s.nspname, o.collname) END
             FROM pg_catalog.generate_series(1, i.indnkeyatts) n
             LEFT JOIN pg_catalog.pg_collation o
               ON o.oid OPERATOR(pg_catalog.=) i.indcollation[n OPERATOR(pg_catalog.-) 1]
             LEFT JOIN pg_catalog.pg_namespace s
               ON s.oid OPERATOR(pg_catalog.=) o.collnamespace
             ORDER BY n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       coalesce((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnullsnotdistinct')::boolean,
                false),
       pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
         OPERATOR(pg_catalog.~) $3::pg_catalog.text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name
"""
_AMCHECK = """
SELECT pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, p.proname)),
       pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d
  ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
  AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
  AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
  AND p.proname OPERATOR(pg_catalog.=) 'bt_index_check' AND p.pronargs OPERATOR(pg_catalog.=) 2
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE e.extname OPERATOR(pg_catalog.=) 'amcheck'
"""
_INDEXES = """
SELECT c.oid::bigint, c.relname::pg_catalog.text,
       m.amname OPERATOR(pg_catalog.=) 'btree' AND c.relkind OPERATOR(pg_catalog.=) 'i',
       i.indisvalid AND i.indisready
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
ORDER BY c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""
