"""Check that a table keeps what its constraints and indexes promise.

PostgreSQL takes a constraint that is marked as valid for granted. Triggers that were disabled, a
damaged index or a restore gone wrong leave rows behind that break it; here each constraint is
asked again, of the rows themselves. Reads only; one full scan for each item.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from django.db import DEFAULT_DB_ALIAS, router

from ingest.postgres.catalog import REREAD_BY_NAME, quote_name
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
"""How amcheck says what it found."""


def verify(model: type[models.Model], *, using: str | None = None) -> Audit:
    """Ask every constraint and index of a model's table again; nothing is changed.

    Inside ``transaction.atomic()`` it sees the caller's rows. Raises an ``IngestError`` where there
    is no such table or no connection; all else is in the result.
    """
    alias = using or router.db_for_read(model) or DEFAULT_DB_ALIAS
    with open_session(alias) as session, session.transaction():
        return verify_table(session, read_tables(session, model))


def verify_table(session: Session, table: Table) -> Audit:
    """Ask every constraint and index of the table again, in the session's transaction.

    What PostgreSQL refuses to answer is a problem too: it is not known to hold. The tables of a
    multi-table child are all asked.
    """
    findings = [finding for part in table.tables for finding in _verify_one(session, part)]
    return Audit(table=table.qualified_name, findings=tuple(findings))


def _verify_one(session: Session, table: Table) -> list[Finding]:
    parts = {str(name) for (name,) in session.fetch(_PARTS, table.oid)}
    return [
        *(
            _ask(session, "not null", item.name, _verify_not_null, table, item.name)
            for item in table.columns
            if item.is_required
        ),
        *(
            _ask(
                session,
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
            _ask(session, "unique", item.name, _verify_unique, table, item)
            for item in table.indexes
            if item.is_unique
        ),
        *_verify_indexes(session, table),
    ]


_KINDS: dict[str, FindingKind] = {"c": "check", "f": "foreign key"}
"""What a pg_constraint.contype is called."""


def _ask(
    session: Session,
    kind: FindingKind,
    name: str,
    question: Callable[..., Finding],
    *arguments: Any,
) -> Finding:
    """Put one question, and leave no trace of it, whatever a check's function may do."""
    session.execute("SAVEPOINT ingest_audit")
    try:
        # An error, where a policy would hide rows from the question.
        session.execute("SET LOCAL row_security = off")
        return question(session, *arguments)
    except (asyncpg.PostgresError, psycopg.Error) as error:
        said = str(error).splitlines()[0].rstrip(".")
        problem = f"{said}." if isinstance(error, DAMAGE) else f"could not be asked: {said}."
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
    # The planner leaves the question out where the column is NOT NULL (17 and later); a value
    # that is compared as a whole row is not left out.
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
    """Read expressions of the table as SQL, which means the same when it is read again."""
    [(*found, is_reread_by_name)] = session.fetch(query, table.oid, name, REREAD_BY_NAME)
    if is_reread_by_name:
        # Until the savepoint is rolled back nobody's operators are found but PostgreSQL's.
        session.execute("SET LOCAL search_path = ''")
        [(*found, _)] = session.fetch(query, table.oid, name, REREAD_BY_NAME)
    return found


def _verify_foreign_key(session: Session, table: Table, key: Constraint) -> Finding:
    [(parent_kind, operators, is_full, has_period)] = session.fetch(_KEY, table.oid, key.name)
    if has_period:
        return Finding(kind="foreign key", name=key.name, note="covers a period: not asked.")
    columns = [f"given.{quote_name(name)}" for name in key.columns]
    parents = [f"parent.{quote_name(name)}" for name in key.referenced_columns]
    equal = " AND ".join(
        f"{parent} OPERATOR({operator}) {column}"
        for parent, operator, column in zip(parents, operators, columns, strict=True)
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
    [keys, predicate, are_nulls_equal] = _fetch_expressions(session, _UNIQUE, table, index.name)
    conditions = [predicate] if predicate else []
    if not are_nulls_equal:
        conditions.append(f"pg_catalog.num_nulls({', '.join(keys)}) OPERATOR(pg_catalog.=) 0")
    where = f"WHERE {' AND '.join(f'({item})' for item in conditions)}" if conditions else ""
    only = "" if table.kind == "p" else "ONLY "
    # A group by, not the index itself: its expressions are sorted or hashed anew.
    [(rows,)] = session.fetch(
        f"SELECT coalesce(pg_catalog.sum(times OPERATOR(pg_catalog.-) 1), 0)::bigint "
        f"FROM (SELECT pg_catalog.count(*) AS times "
        f"FROM {only}{table.qualified_name} {where} GROUP BY {', '.join(keys)}) AS counted"
    )
    return _finding("unique", index.name, int(rows), "a key that another row has")


def _verify_indexes(session: Session, table: Table) -> list[Finding]:
    [(amcheck, may_check)] = session.fetch(_AMCHECK)
    return [
        _ask(session, "index", name, _verify_index, oid, name, amcheck if may_check else None)
        if is_btree and is_valid
        else _unread(name, is_valid=is_valid)
        for oid, name, is_btree, is_valid in session.fetch(_INDEXES, table.oid)
    ]


def _verify_index(session: Session, oid: int, name: str, amcheck: str | None) -> Finding:
    if amcheck is None:
        return _unread(name, is_valid=True)
    # Every row of the table must be in the index, too.
    session.fetch(f"SELECT {amcheck}($1::bigint::pg_catalog.oid::pg_catalog.regclass, true)", oid)
    return Finding(kind="index", name=name)


def _unread(name: str, *, is_valid: bool) -> Finding:
    if not is_valid:
        return Finding(kind="index", name=name, problem="is not valid: REINDEX it.")
    return Finding(
        kind="index", name=name, note="is valid; its pages were not read: no amcheck for it."
    )


def _finding(kind: FindingKind, name: str, rows: int, what: str) -> Finding:
    counted = "1 row has" if rows == 1 else f"{rows:,} rows have"
    problem = f"{counted} {what}." if rows else None
    return Finding(kind=kind, name=name, rows=rows, problem=problem)


_EXPRESSION = """
SELECT pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       k.conbin::pg_catalog.text OPERATOR(pg_catalog.~) $3::pg_catalog.text
FROM pg_catalog.pg_constraint k
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.conname OPERATOR(pg_catalog.=) $2::pg_catalog.name
  AND k.contype OPERATOR(pg_catalog.=) 'c'
"""
# conperiod came with PostgreSQL 18: read through JSON, it is merely absent before.
_KEY = """
SELECT c.relkind::pg_catalog.text,
       ARRAY(SELECT pg_catalog.format('%I.%s', n.nspname, o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY u(oid, place)
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) u.oid
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY u.place),
       k.confmatchtype OPERATOR(pg_catalog.=) 'f',
       coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conperiod')::boolean, false)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.conname OPERATOR(pg_catalog.=) $2::pg_catalog.name
  AND k.contype OPERATOR(pg_catalog.=) 'f'
"""
# Of a key to a partitioned table PostgreSQL keeps one for each partition, too.
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
