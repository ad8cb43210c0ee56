"""Foreign keys, a set at a time: the rows' distinct keys are looked up and locked in one statement.

PostgreSQL checks a foreign key with one trigger call a row. Here the same question is asked for all
rows of a batch at once, with the same lock (``FOR KEY SHARE``) in the same transaction, and the
triggers are left out by ``session_replication_role``. ``plan_set_check`` says when that is not
certain to have the outcome that the triggers would have had.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.table import quote_name

if TYPE_CHECKING:
    from ingest.encoding import Encoding
    from ingest.session import Session
    from ingest.table import Constraint, Table

REMEMBERED_KEYS = 2_000_000
"""Keys remembered as locked for each foreign key, some 50 MB at most; to lock a key again is
harmless, only slower."""

_KEY_TYPES = frozenset({"int2", "int4", "int8", "text", "varchar", "uuid"})
"""Types of keys whose equality PostgreSQL itself brings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MissingReference:
    """A row that refers to a row which does not exist."""

    place: int
    """The row's place in the batch."""
    value: Any
    """The key that leads nowhere."""
    constraint: Constraint


class SetCheck:
    """Looks up and locks the rows that the batches of one load refer to."""

    def __init__(self, session: Session, table: Table, encoding: Encoding) -> None:
        names = encoding.names
        self._session = session
        self._keys = [
            _ForeignKey(key, names.index(key.columns[0]), table)
            for key in sorted(table.foreign_keys, key=lambda key: (key.references, key.name))
            if key.is_enforced and key.columns[0] in names
        ]

    def __len__(self) -> int:
        return len(self._keys)

    def missing(self, rows: pa.RecordBatch) -> list[MissingReference]:
        """Lock what the rows refer to, and give the references that lead nowhere, by place."""
        found: list[MissingReference] = []
        for key in self._keys:
            found.extend(key.missing(self._session, rows))
        found.sort(key=lambda item: item.place)
        return found


class _ForeignKey:
    def __init__(self, constraint: Constraint, place: int, table: Table) -> None:
        column = table.column(constraint.columns[0])
        self._constraint = constraint
        self._place = place
        self._is_uuid = column.type_name == "uuid"
        self._locked: pa.Array | None = None
        # Matched by PostgreSQL's own operator; ONLY, as its triggers ask; in the order of the key,
        # so that two loads lock the same rows in the same order.
        parent_key = quote_name(constraint.referenced_columns[0])
        self._sql = (
            f"SELECT given.place FROM unnest($1::{_array_type(column.type_name)}) "
            "WITH ORDINALITY AS given(key, place) "
            f"JOIN ONLY {constraint.references} AS parent ON parent.{parent_key} = given.key "
            f"ORDER BY parent.{parent_key} FOR KEY SHARE OF parent"
        )

    def missing(self, session: Session, rows: pa.RecordBatch) -> list[MissingReference]:
        cells = rows.column(self._place)
        keys = pc.unique(cells).drop_null()
        if self._locked is not None:
            keys = keys.filter(pc.invert(pc.is_in(keys, value_set=self._locked)))
        if not len(keys):
            return []
        given = keys.to_pylist()
        # psycopg and asyncpg both take the 16 bytes of a UUID only as hexadecimal text.
        sent = [key.hex() for key in given] if self._is_uuid else given
        places = {int(place) - 1 for (place,) in session.fetch(self._sql, sent)}
        exists = pa.array([place in places for place in range(len(given))], pa.bool_())
        self._remember(keys.filter(exists))
        if len(places) == len(given):
            return []
        lost = keys.filter(pc.invert(exists))
        at = pc.indices_nonzero(pc.is_in(cells, value_set=lost)).to_pylist()
        return [
            MissingReference(
                place=place, value=self._shown(cells[place].as_py()), constraint=self._constraint
            )
            for place in at
        ]

    def _remember(self, keys: pa.Array) -> None:
        if self._locked is None or len(self._locked) + len(keys) > REMEMBERED_KEYS:
            self._locked = keys
        else:
            self._locked = pa.concat_arrays([self._locked, keys])

    def _shown(self, key: Any) -> Any:
        return key.hex() if self._is_uuid else key


def _array_type(type_name: str) -> str:
    return "text[]::uuid[]" if type_name == "uuid" else f"{type_name}[]"


def plan_set_check(session: Session, table: Table, encoding: Encoding) -> str | None:
    """Say in one sentence why the references cannot be checked as a set; None if they can.

    Only what is certain counts: anything in the catalog that is not known here is a reason.
    """
    if table.kind != "r" or table.is_partition:
        return f"{table.qualified_name} is not an ordinary table."
    [(version, may_set, has_policies)] = session.fetch(_ROLE, table.oid)
    if has_policies:
        return f"{table.qualified_name} is under row security."
    trigger = next((item for item in table.triggers if item.enabled != "D"), None)
    if trigger is not None:
        return f"the trigger {trigger.name!r} must fire."
    unknown = session.fetch(_OTHER_TRIGGERS, table.oid)
    if unknown:
        return (
            f"PostgreSQL checks the constraint {unknown[0][0]!r} by a trigger too: it is deferrable, "
            "or its trigger is not as PostgreSQL made it."
        )
    for key in table.foreign_keys:
        reason = _refuse_key(session, key, table, encoding)
        if reason is not None:
            return reason
    if not may_set:
        return _missing_grant(version)
    return None


def _missing_grant(version: int) -> str:
    if version < FIRST_WITH_PARAMETER_GRANTS:
        return "only a superuser may set session_replication_role before PostgreSQL 15."
    return (
        "the role may not set session_replication_role: "
        "GRANT SET ON PARAMETER session_replication_role TO it."
    )


FIRST_WITH_PARAMETER_GRANTS = 150_000
"""server_version_num of the PostgreSQL that introduced GRANT … ON PARAMETER."""


def _refuse_key(session: Session, key: Constraint, table: Table, encoding: Encoding) -> str | None:
    if not key.is_enforced:
        return None  # PostgreSQL does not check it either
    if len(key.columns) > 1:
        return f"the foreign key {key.name!r} has more than one column."
    if key.references == table.qualified_name:
        return f"the foreign key {key.name!r} refers to the table itself."
    column = table.column(key.columns[0])
    if column.name not in encoding.names and (column.has_default or column.is_generated):
        return f"PostgreSQL itself gives {column.name!r} of the foreign key {key.name!r} its value."
    if column.type_name not in _KEY_TYPES:
        return f"the foreign key {key.name!r} is of the type {column.sql_type}."
    [(kind, key_type, may_lock, has_policies)] = session.fetch(
        _PARENT, key.references_oid, key.referenced_columns[0]
    )
    if kind != "r":
        return f"{key.references} is not an ordinary table."
    if key_type != column.type_name:
        return f"the foreign key {key.name!r} refers to a column of another type."
    if has_policies:
        return f"{key.references} is under row security."
    if not may_lock:
        return f"the role may not lock rows of {key.references}: GRANT SELECT, UPDATE ON it."
    return None


_ROLE = """
SELECT current_setting('server_version_num')::int4,
       CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN true
            WHEN current_setting('server_version_num')::int4 < 150000 THEN false
            ELSE (SELECT count(*) > 0 FROM pg_catalog.pg_parameter_acl p,
                         LATERAL pg_catalog.aclexplode(p.paracl) a
                  WHERE p.parname = 'session_replication_role' AND a.privilege_type = 'SET'
                    AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
       END,
       pg_catalog.row_security_active($1::int8::oid)
"""
# Those of foreign keys are made and named by PostgreSQL; any other internal trigger rechecks a
# deferrable constraint. One that was disabled or made to fire always is no longer PostgreSQL's own.
_OTHER_TRIGGERS = """
SELECT coalesce(k.conname, t.tgname)::text
FROM pg_catalog.pg_trigger t
LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgrelid = $1::int8::oid AND t.tgisinternal
  AND (k.contype IS DISTINCT FROM 'f' OR t.tgenabled <> 'O')
ORDER BY 1
"""
_PARENT = """
SELECT c.relkind::text, t.typname::text,
       pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
         AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
         AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'),
       pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2::text
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.oid = $1::int8::oid
"""
