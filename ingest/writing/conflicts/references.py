"""Check the foreign keys of inserted rows as a set, like ``direct``.

One statement looks up and locks all referenced rows, with the lock of PostgreSQL's own checks. If
every key exists, the triggers are disabled for the INSERT alone. Otherwise PostgreSQL checks row by
row, and reports the missing one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name, read_table
from ingest.writing.preconditions import (
    why_not_lock,
    why_not_look_up,
    why_not_without_triggers,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.postgres.catalog import Constraint, Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session

FEW_ROWS = 10_000
"""Up to here, reading the catalog costs what the set check saves."""
_TYPES = frozenset({"int2", "int4", "int8", "uuid"})
"""Types without a collation: two columns of them can always be compared."""


def plan_references(
    session: Session, table: Table, encoding: CopyEncoding
) -> tuple[list[Constraint], str | None]:
    """Return the foreign keys to check as a set, or none and the reason.

    Takes a lock, so that nobody can change the definition of the table any more.
    """
    if not table.foreign_keys or table.distribution is not None:
        return [], None
    reason = why_not_lock(table)
    if reason is None:
        name = table.qualified_name
        session.execute(f"LOCK TABLE ONLY {name} IN ROW EXCLUSIVE MODE")
        table = read_table(session, table.oid)
        reason = why_not_look_up(table, encoding) or why_not_without_triggers(table)
    if reason is not None:
        return [], reason
    keys = [
        key
        for key in sorted(table.foreign_keys, key=lambda key: (key.references, key.name))
        if key.is_enforced and key.columns[0] in encoding.names
    ]
    for key in keys:
        if table.column(quote_name(key.columns[0])).type_name not in _TYPES:
            return [], f"the foreign key {key.name!r} is compared by a collation."
    return keys, None


def leave_out_triggers(keys: Sequence[Constraint], rows: str, own: str) -> str:
    """Return PL/pgSQL that disables triggers if everything to which ``rows`` refer exists.

    ``rows`` is a FROM clause with its WHERE and the alias ``w``.
    """
    counts = []
    for key in keys:
        column = f"w.{quote_name(key.columns[0])}"
        parent = f"p.{quote_name(key.referenced_columns[0])}"
        counts.append(
            f"(WITH given AS MATERIALIZED (SELECT DISTINCT {column} AS key FROM {rows} "
            f"AND {column} IS NOT NULL), there AS MATERIALIZED (SELECT FROM given g "
            f"JOIN ONLY {key.references} p ON {parent} OPERATOR(pg_catalog.=) g.key "
            f"ORDER BY {parent} FOR KEY SHARE OF p) "
            "SELECT (SELECT pg_catalog.count(*) FROM given) OPERATOR(pg_catalog.-) "
            "(SELECT pg_catalog.count(*) FROM there))"
        )
    return (
        "PERFORM pg_catalog.set_config('ingest.replication_role', "
        "pg_catalog.current_setting('session_replication_role'), true); "
        # After a change of the role, PostgreSQL plans all statements again: not for small pieces.
        f"{own}absent := 1; IF {own}is_whole THEN "
        f"SELECT {' OPERATOR(pg_catalog.+) '.join(counts)} INTO {own}absent; END IF; "
        f"IF {own}absent OPERATOR(pg_catalog.=) 0 THEN "
        "PERFORM pg_catalog.set_config('session_replication_role', 'replica', true); END IF;"
    )


def set_referring(session: Session, table: Table, columns: Collection[str]) -> tuple[str, str]:
    """Return statements that set the foreign keys that refer to these columns, and set them back.

    A deferred one would be checked when it is too late to say which record was at fault.
    """
    found = [
        (name, is_deferred)
        for name, is_deferred, referred in session.fetch(_REFERRING, table.oid)
        if set(referred) & set(columns)
    ]
    immediate = "".join(f"SET CONSTRAINTS {name} IMMEDIATE; " for name, _ in found)
    deferred = "".join(f"SET CONSTRAINTS {name} DEFERRED; " for name, back in found if back)
    return immediate, deferred


BRING_BACK_TRIGGERS = """PERFORM pg_catalog.set_config('session_replication_role',
            pg_catalog.current_setting('ingest.replication_role'), true);"""
_REFERRING = """
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.',
                         pg_catalog.quote_ident(k.conname::pg_catalog.text)),
       k.condeferred,
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) ANY (k.confkey))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) k.connamespace
WHERE k.confrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.condeferrable
  AND k.conparentid OPERATOR(pg_catalog.=) 0
"""
