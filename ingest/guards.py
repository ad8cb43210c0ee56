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
WITH given AS (SELECT $1::bigint::pg_catalog.oid AS oid)
SELECT pg_catalog.current_setting('transaction_isolation'),
       NOT pg_catalog.row_security_active(given.oid),
       CASE WHEN NOT pg_catalog.has_table_privilege(given.oid, 'INSERT')
            THEN pg_catalog.format('GRANT INSERT ON %s TO %I', given.oid::pg_catalog.regclass,
                                   current_user) END,
       (SELECT pg_catalog.min(t.tgname::pg_catalog.text) FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid OPERATOR(pg_catalog.=) given.oid AND NOT t.tgisinternal
          AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
          AND (t.tgtype OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0),
       (SELECT pg_catalog.min(p.oid::pg_catalog.regprocedure::pg_catalog.text)
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
          AND p.provolatile OPERATOR(pg_catalog.=) 'v'
        JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
          AND l.lanname OPERATOR(pg_catalog.<>) ALL (ARRAY['internal', 'c']::pg_catalog.name[])
        WHERE d.refclassid OPERATOR(pg_catalog.=)
              'pg_catalog.pg_proc'::pg_catalog.regclass
          AND (d.classid OPERATOR(pg_catalog.=)
               'pg_catalog.pg_attrdef'::pg_catalog.regclass
               AND d.objid OPERATOR(pg_catalog.=) ANY (
                 SELECT f.oid FROM pg_catalog.pg_attrdef f
                 WHERE f.adrelid OPERATOR(pg_catalog.=) given.oid)
            OR d.classid OPERATOR(pg_catalog.=)
               'pg_catalog.pg_constraint'::pg_catalog.regclass
               AND d.objid OPERATOR(pg_catalog.=) ANY (
                 SELECT k.oid FROM pg_catalog.pg_constraint k
                 WHERE k.conrelid OPERATOR(pg_catalog.=) given.oid
                    OR k.contypid OPERATOR(pg_catalog.=) ANY (
                      SELECT a.atttypid FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid OPERATOR(pg_catalog.=) given.oid))))
FROM given
"""
_RIGHT = """
       pg_catalog.current_setting('server_version_num')::integer,
       current_user::pg_catalog.text,
       CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles
                  WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN true
            WHEN pg_catalog.current_setting('server_version_num')::integer
                 OPERATOR(pg_catalog.<) 150000 THEN false
            ELSE EXISTS (SELECT FROM pg_catalog.pg_parameter_acl p,
                           LATERAL pg_catalog.aclexplode(p.paracl) a
                         WHERE p.parname OPERATOR(pg_catalog.=) 'session_replication_role'
                           AND a.privilege_type OPERATOR(pg_catalog.=) 'SET'
                           AND (a.grantee OPERATOR(pg_catalog.=) 0
                                OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
       END"""
# Triggers of foreign keys are made and named by PostgreSQL; any other internal trigger rechecks a
# deferrable constraint. One that was disabled or made to fire always is no longer PostgreSQL's own.
_ROLE = f"""
SELECT {_RIGHT},
       pg_catalog.current_setting('session_replication_role'),
       (SELECT pg_catalog.min(coalesce(k.conname, t.tgname)::pg_catalog.text)
        FROM pg_catalog.pg_trigger t
        LEFT JOIN pg_catalog.pg_constraint k ON k.oid OPERATOR(pg_catalog.=) t.tgconstraint
        WHERE t.tgrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid AND t.tgisinternal
          AND (coalesce(k.contype, '') OPERATOR(pg_catalog.<>) 'f'
               OR t.tgenabled OPERATOR(pg_catalog.<>) 'O'))
"""
# The operator is the one that PostgreSQL's own check of the key uses. FOR KEY SHARE asks for the
# right to update, though it changes nothing.
_PARENT = """
SELECT c.relkind::pg_catalog.text,
       pg_catalog.format('%s.%s', o.oprnamespace::pg_catalog.regnamespace, o.oprname),
       ARRAY(SELECT t.typname::pg_catalog.text FROM pg_catalog.pg_type t
             WHERE t.oid OPERATOR(pg_catalog.=) ANY (ARRAY[o.oprleft, o.oprright])),
       NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                   JOIN pg_catalog.pg_collation l ON l.oid OPERATOR(pg_catalog.=) a.attcollation
                   WHERE NOT l.collisdeterministic
                     AND (a.attrelid OPERATOR(pg_catalog.=) k.confrelid
                          AND a.attnum OPERATOR(pg_catalog.=) k.confkey[1]
                          OR a.attrelid OPERATOR(pg_catalog.=) k.conrelid
                          AND a.attnum OPERATOR(pg_catalog.=) k.conkey[1])),
       NOT pg_catalog.row_security_active(c.oid),
       CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            THEN pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
            WHEN NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
                      AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'))
            THEN pg_catalog.format('GRANT SELECT, UPDATE ON %I.%I TO %I', n.nspname, c.relname,
                                   current_user)
       END
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) k.conpfeqop[1]
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.conname OPERATOR(pg_catalog.=) $2::pg_catalog.name
  AND k.contype OPERATOR(pg_catalog.=) 'f'
"""
