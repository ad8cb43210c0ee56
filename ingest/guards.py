"""Why PostgreSQL itself must check the references of a load: every reason, each in one sentence.

Only what is certain counts: anything in the catalog that is not known here is a reason. Ask while
the load's lock on the table keeps others from changing what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.table import quote_name

if TYPE_CHECKING:
    from ingest.encoding import Encoding
    from ingest.session import Session
    from ingest.table import Constraint, Table

KEY_TYPES = frozenset({"int2", "int4", "int8", "text", "uuid"})
"""Types whose equality PostgreSQL itself brings, and that are equal only where they are the same;
varchar is compared as text."""
FIRST_WITH_PARAMETER_GRANTS = 150_000
"""server_version_num of the PostgreSQL that introduced GRANT … ON PARAMETER."""


def why_not_look_up(session: Session, table: Table, encoding: Encoding) -> str | None:
    """Say why the rows that a batch refers to cannot be looked up and locked all at once."""
    if table.kind != "r" or table.is_partition:
        return f"{table.qualified_name} is not an ordinary table."
    [(isolation, sees_all, grant, trigger, function)] = session.fetch(_TABLE, table.oid)
    if isolation != "read committed":
        return (
            f"the transaction is {isolation.upper()}: it does not see what others have just "
            "changed in the catalog."
        )
    if not sees_all:
        return f"{table.qualified_name} is under row security."
    if grant is not None:
        return f"the role may not lock {table.qualified_name}: {grant}."
    if trigger is not None:
        return f"the trigger {trigger!r} must fire."
    if function is not None:
        return f"PostgreSQL calls {function} for each row, which may change other tables."
    reasons = (_refuse_key(session, key, table, encoding) for key in table.foreign_keys)
    return next(filter(None, reasons), None)


def why_not_without_triggers(session: Session, table: Table) -> str | None:
    """Say why PostgreSQL's own triggers on the table may not be left out."""
    [(version, role, may_set, replication_role, constraint)] = session.fetch(_ROLE, table.oid)
    if replication_role not in {"origin", "local"}:
        return f"session_replication_role is {replication_role!r} already."
    if constraint is not None:
        return (
            f"PostgreSQL checks the constraint {constraint!r} by a trigger too: it is deferrable, "
            "or its trigger is not as PostgreSQL made it."
        )
    return _missing_right(version, role, may_set=may_set)


def why_not_leave_out_triggers(session: Session) -> str | None:
    """Say why the session's role may not leave out triggers on any table."""
    [(version, role, may_set)] = session.fetch(f"SELECT {_RIGHT}")
    return _missing_right(version, role, may_set=may_set)


def _missing_right(version: int, role: str, *, may_set: bool) -> str | None:
    if may_set:
        return None
    if version < FIRST_WITH_PARAMETER_GRANTS:
        return "only a superuser may set session_replication_role before PostgreSQL 15."
    return (
        "the role may not set session_replication_role: "
        f"GRANT SET ON PARAMETER session_replication_role TO {quote_name(role)}."
    )


def _refuse_key(session: Session, key: Constraint, table: Table, encoding: Encoding) -> str | None:
    if not key.is_enforced:
        return None  # PostgreSQL does not check it either
    if len(key.columns) > 1:
        return f"the foreign key {key.name!r} has more than one column."
    if key.references_oid == table.oid:
        return f"the foreign key {key.name!r} refers to the table itself."
    column = table.column(quote_name(key.columns[0]))
    if column.name not in encoding.names and (column.has_default or column.is_generated):
        return f"PostgreSQL itself gives {column.name!r} of the foreign key {key.name!r} its value."
    [(kind, operator, types, is_exact, sees_all, grant)] = session.fetch(
        _PARENT, table.oid, key.name
    )
    if kind != "r":
        return f"{key.references} is not an ordinary table."
    is_known = column.type_name in KEY_TYPES | {"varchar"} and KEY_TYPES.issuperset(types)
    if operator != "pg_catalog.=" or not is_known:
        return f"the foreign key {key.name!r} is of the type {column.sql_type}."
    if not is_exact:
        return f"the foreign key {key.name!r} has a collation that takes different texts for equal."
    if not sees_all:
        return f"{key.references} is under row security."
    if grant is not None:
        return f"the role may not lock rows of {key.references}: {grant}."
    return None


# A trigger with bit 4 of tgtype fires on INSERT (pg_trigger.h). A function of the user's own that
# PostgreSQL calls for a row (in a default, a check, a domain) could write to other tables, whose
# references would go unchecked; one that is not volatile may not write.
_TABLE = """
SELECT current_setting('transaction_isolation'),
       NOT pg_catalog.row_security_active($1::int8::oid),
       CASE WHEN NOT pg_catalog.has_table_privilege($1::int8::oid, 'INSERT')
            THEN format('GRANT INSERT ON %s TO %I', $1::int8::oid::regclass, current_user) END,
       (SELECT min(t.tgname::text) FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = $1::int8::oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
          AND t.tgtype & 4 <> 0),
       (SELECT min(p.oid::regprocedure::text)
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid AND p.provolatile = 'v'
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
        WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass
          AND (d.classid = 'pg_catalog.pg_attrdef'::regclass
               AND d.objid IN (SELECT f.oid FROM pg_catalog.pg_attrdef f
                               WHERE f.adrelid = $1::int8::oid)
            OR d.classid = 'pg_catalog.pg_constraint'::regclass
               AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint k
                               WHERE k.conrelid = $1::int8::oid
                                  OR k.contypid IN (SELECT a.atttypid
                                                    FROM pg_catalog.pg_attribute a
                                                    WHERE a.attrelid = $1::int8::oid))))
"""
_RIGHT = """
       current_setting('server_version_num')::int4,
       current_user::text,
       CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN true
            WHEN current_setting('server_version_num')::int4 < 150000 THEN false
            ELSE (SELECT count(*) > 0 FROM pg_catalog.pg_parameter_acl p,
                         LATERAL pg_catalog.aclexplode(p.paracl) a
                  WHERE p.parname = 'session_replication_role' AND a.privilege_type = 'SET'
                    AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
       END"""
# Triggers of foreign keys are made and named by PostgreSQL; any other internal trigger rechecks a
# deferrable constraint. One that was disabled or made to fire always is no longer PostgreSQL's own.
_ROLE = f"""
SELECT {_RIGHT},
       current_setting('session_replication_role'),
       (SELECT min(coalesce(k.conname, t.tgname)::text)
        FROM pg_catalog.pg_trigger t
        LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
        WHERE t.tgrelid = $1::int8::oid AND t.tgisinternal
          AND (k.contype IS DISTINCT FROM 'f' OR t.tgenabled <> 'O'))
"""
# The operator is the one that PostgreSQL's own check of the key uses. FOR KEY SHARE asks for the
# right to update, though it changes nothing.
_PARENT = """
SELECT c.relkind::text, format('%s.%s', o.oprnamespace::regnamespace, o.oprname),
       ARRAY(SELECT t.typname::text FROM pg_catalog.pg_type t
             WHERE t.oid IN (o.oprleft, o.oprright)),
       NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                   JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
                   WHERE NOT l.collisdeterministic
                     AND (a.attrelid = k.confrelid AND a.attnum = k.confkey[1]
                          OR a.attrelid = k.conrelid AND a.attnum = k.conkey[1])),
       NOT pg_catalog.row_security_active(c.oid),
       CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            THEN format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
            WHEN NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
                      AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'))
            THEN format('GRANT SELECT, UPDATE ON %I.%I TO %I', n.nspname, c.relname, current_user)
       END
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_operator o ON o.oid = k.conpfeqop[1]
WHERE k.conrelid = $1::int8::oid AND k.conname = $2::text AND k.contype = 'f'
"""
