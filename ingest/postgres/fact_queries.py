"""The catalog queries whose rows are the facts of a table: see ``facts``.

Each is a query with the table's oid as ``$1``, and ``REREAD_BY_NAME`` as ``$2``.
"""

from __future__ import annotations

from ingest.postgres.facts import (
    AccessFact,
    CheckFact,
    DefaultFact,
    IndexRightsFact,
    IndexSizeFact,
    ParentFact,
    PlainIndexFact,
    ReplicationRoleFact,
    UniqueKeyFact,
)

# Indexes that are valid and ready, and whose definition says everything about them. Excluded are
# those with a tablespace of their own, a mark for CLUSTER or the replica identity, statistics
# targets, an extension or another object that depends on them or their constraint, a partitioned
# index above them, or a label. Also excluded are those that call a user's function, because CREATE
# INDEX calls it as the table's owner and with another search_path than COPY does, and those whose
# definition does not name each operator. Unique indexes come first, so that a duplicate is found
# before the others are built.
PLAIN_INDEXES = """
SELECT c.relname::pg_catalog.text, pg_catalog.pg_get_indexdef(i.indexrelid),
       pg_catalog.obj_description(i.indexrelid, 'pg_class'),
       k.contype::pg_catalog.text, pg_catalog.obj_description(k.oid, 'pg_constraint'),
       i.indisunique,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM pg_catalog.generate_series(1, i.indnkeyatts) n ORDER BY n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid), i.indisprimary,
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.=)
                   ANY ((i.indkey::smallint[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]))
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid OPERATOR(pg_catalog.=) i.indexrelid
  AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'::pg_catalog."char"[])
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND c.relkind OPERATOR(pg_catalog.=) 'i' AND NOT c.relispartition
  AND NOT pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
    OPERATOR(pg_catalog.~) $2::pg_catalog.text
  AND NOT (i.indisexclusion OR i.indisreplident OR i.indisclustered)
  AND (NOT i.indisunique OR i.indimmediate AND NOT coalesce(k.condeferrable, false))
  AND i.indisvalid AND i.indisready AND i.indislive
  AND c.reltablespace OPERATOR(pg_catalog.=) 0
  AND pg_catalog.current_setting('default_tablespace') OPERATOR(pg_catalog.=) ''
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid OPERATOR(pg_catalog.=) i.indexrelid
                    AND coalesce(a.attstattarget, -1) OPERATOR(pg_catalog.<>) -1)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid OPERATOR(pg_catalog.=)
                        'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid OPERATOR(pg_catalog.=)
                        'pg_catalog.pg_constraint'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) k.oid
                    AND d.objid OPERATOR(pg_catalog.<>) i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.deptype OPERATOR(pg_catalog.=) ANY ('{e,x,P,S}'::pg_catalog."char"[])
                    AND (d.classid OPERATOR(pg_catalog.=)
                         'pg_catalog.pg_class'::pg_catalog.regclass
                         AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
                         OR d.classid OPERATOR(pg_catalog.=)
                            'pg_catalog.pg_constraint'::pg_catalog.regclass
                         AND d.objid OPERATOR(pg_catalog.=) k.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
                    AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[
                      'pg_catalog.pg_proc'::pg_catalog.regclass,
                      'pg_catalog.pg_operator'::pg_catalog.regclass]::pg_catalog.oid[]))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel s
                  WHERE s.objoid OPERATOR(pg_catalog.=) ANY (ARRAY[i.indexrelid, k.oid]))
ORDER BY i.indisunique DESC, c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""


# Without the primary key, whose order is mostly that of the records. An expression has no column,
# and an index that another load has just dropped has no size.
INDEX_SIZES = """
SELECT c.relname::pg_catalog.text,
       ARRAY(SELECT coalesce(a.attname::pg_catalog.text, '')
             FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY k(attnum, place)
             LEFT JOIN pg_catalog.pg_attribute a
               ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.=) k.attnum
               AND k.attnum OPERATOR(pg_catalog.>) 0
             WHERE k.place OPERATOR(pg_catalog.<=) i.indnkeyatts ORDER BY k.place),
       coalesce(pg_catalog.pg_relation_size(i.indexrelid::pg_catalog.regclass), 0),
       m.amname::pg_catalog.text, i.indisclustered
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND NOT i.indisprimary AND i.indisready
ORDER BY c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""


KEY_EXPRESSIONS = """
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM pg_catalog.generate_series(1, i.indnkeyatts) n ORDER BY n),
       ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)
             FROM pg_catalog.unnest(i.indclass::pg_catalog.oid[]) WITH ORDINALITY k(class, place)
             JOIN pg_catalog.pg_opclass p ON p.oid OPERATOR(pg_catalog.=) k.class
             JOIN pg_catalog.pg_amop x ON x.amopfamily OPERATOR(pg_catalog.=) p.opcfamily
               AND x.amoplefttype OPERATOR(pg_catalog.=) p.opcintype
               AND x.amoprighttype OPERATOR(pg_catalog.=) p.opcintype
               AND x.amopstrategy OPERATOR(pg_catalog.=) 3  -- a B-tree's "equal"
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) x.amopopr
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY k.place),
"""
"""Two columns of a query of ``pg_index i``: the expressions of an index's key, and the operators
that test them for equality."""
KEY_COLUMNS = """\
       CASE WHEN i.indexprs IS NULL THEN
         ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY k(attnum, place)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
                 AND a.attnum OPERATOR(pg_catalog.=) k.attnum
               WHERE k.place OPERATOR(pg_catalog.<=) i.indnkeyatts ORDER BY k.place)
         ELSE '{}'::pg_catalog.text[] END,
"""
"""A column of such a query: the columns of an index's key; empty if it has an expression."""
UNIQUE_KEYS = (
    "SELECT c.relname::pg_catalog.text,"
    + KEY_EXPRESSIONS
    + """       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND (
               a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey) OR EXISTS (
                 SELECT FROM pg_catalog.pg_depend d
                 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                   AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
                   AND d.refobjid OPERATOR(pg_catalog.=) i.indrelid
                   AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum))),
"""
    + KEY_COLUMNS
    + """       ARRAY(SELECT x.relname::pg_catalog.text FROM pg_catalog.pg_class x
             WHERE x.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
               SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(c.oid) p
               WHERE c.relkind OPERATOR(pg_catalog.=) 'I' AND p.level OPERATOR(pg_catalog.>) 0)))
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c
  ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND NOT pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
    OPERATOR(pg_catalog.~) $2::pg_catalog.text
ORDER BY c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""
)


CHECKS = """
SELECT pg_catalog.pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) ANY (k.conkey))
FROM pg_catalog.pg_constraint k
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) 'c' AND k.conkey IS NOT NULL
  AND NOT k.conbin::pg_catalog.text OPERATOR(pg_catalog.~) $2::pg_catalog.text
"""


# A default is exactly the next number of a sequence in two cases: it is an identity; or its text is
# exactly nextval('…'::regclass) of the one sequence that it depends on, and it depends on nothing
# else that a user made (objects that come with PostgreSQL leave no dependency). Casts that
# PostgreSQL adds by itself are not in the text, but their functions are among the dependencies. A
# name that another schema shadows is written with its schema, so the text is unambiguous.
DEFAULTS = """
SELECT a.attname::pg_catalog.text, a.attidentity::pg_catalog.text, e.expression,
       NOT EXISTS (
         SELECT FROM pg_catalog.pg_depend d
         WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
           AND d.objid OPERATOR(pg_catalog.=) f.oid
           AND NOT d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[
             'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type',
             'pg_catalog.pg_collation'])
           AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_proc p
             JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
             WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
               AND p.oid OPERATOR(pg_catalog.=) d.refobjid
               AND l.lanname OPERATOR(pg_catalog.=) ANY (ARRAY['internal', 'c']))),
       u.sequences OPERATOR(pg_catalog.>) 0,
       t.typtype OPERATOR(pg_catalog.=) 'd',
       s.oid::bigint, pg_catalog.concat(
         pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.',
         pg_catalog.quote_ident(s.relname::pg_catalog.text)),
       q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache, q.seqcycle,
       pg_catalog.has_sequence_privilege(s.oid, 'USAGE, UPDATE'),
       pg_catalog.has_sequence_privilege(s.oid, 'USAGE, SELECT'),
       pg_catalog.has_sequence_privilege(s.oid, 'UPDATE'),
       pg_catalog.has_sequence_privilege(s.oid, 'SELECT')
         AND pg_catalog.has_schema_privilege(s.relnamespace, 'USAGE')
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
LEFT JOIN pg_catalog.pg_attrdef f
  ON f.adrelid OPERATOR(pg_catalog.=) a.attrelid AND f.adnum OPERATOR(pg_catalog.=) a.attnum
CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid)) e(expression)
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*), pg_catalog.min(c.oid), pg_catalog.bool_and(d.is_exact)
  FROM (
    SELECT d.objid, true FROM pg_catalog.pg_depend d
    WHERE a.attidentity OPERATOR(pg_catalog.<>) '' AND d.deptype OPERATOR(pg_catalog.=) 'i'
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid
      AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum
    UNION ALL
    SELECT d.refobjid, NOT EXISTS (
             SELECT FROM pg_catalog.pg_depend o
             WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
               AND o.objid OPERATOR(pg_catalog.=) f.oid
               AND NOT o.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[
                 'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type']))
           AND e.expression OPERATOR(pg_catalog.=) ANY (ARRAY[
             pg_catalog.format('nextval(%L::regclass)', r.name),
             pg_catalog.format('pg_catalog.nextval(%L::regclass)', r.name),
             pg_catalog.format('nextval(%L::pg_catalog.regclass)', r.name),
             pg_catalog.format('pg_catalog.nextval(%L::pg_catalog.regclass)', r.name)])
    FROM pg_catalog.pg_depend d
    CROSS JOIN LATERAL (
      SELECT d.refobjid::pg_catalog.regclass::pg_catalog.text) r(name)
    WHERE a.attidentity OPERATOR(pg_catalog.=) ''
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND d.objid OPERATOR(pg_catalog.=) f.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  ) d(oid, is_exact)
  JOIN pg_catalog.pg_class c
    ON c.oid OPERATOR(pg_catalog.=) d.oid AND c.relkind OPERATOR(pg_catalog.=) 'S'
) u(sequences, oid, is_exact)
LEFT JOIN (pg_catalog.pg_class s
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace
    JOIN pg_catalog.pg_sequence q ON q.seqrelid OPERATOR(pg_catalog.=) s.oid)
  ON s.oid OPERATOR(pg_catalog.=) u.oid AND u.sequences OPERATOR(pg_catalog.=) 1 AND u.is_exact
WHERE a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  AND a.attgenerated OPERATOR(pg_catalog.=) ''
  AND (f.oid IS NOT NULL OR a.attidentity OPERATOR(pg_catalog.<>) '')
"""


# Logical decoding identifies a row for subscribers by the primary key that the table has when the
# row is inserted.
INDEX_RIGHTS = """
SELECT CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
            THEN pg_catalog.format('GRANT %s TO %I', c.relowner::pg_catalog.regrole, current_user)
            WHEN NOT pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE')
            THEN pg_catalog.format('GRANT CREATE ON SCHEMA %I TO %I', n.nspname, current_user) END,
       EXISTS (SELECT FROM pg_catalog.pg_event_trigger
               WHERE evtenabled OPERATOR(pg_catalog.<>) 'D'
                 AND evtevent OPERATOR(pg_catalog.<>) 'login'),
       EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s
               WHERE s.srrelid OPERATOR(pg_catalog.=) c.oid),
       pg_catalog.current_setting('wal_level') OPERATOR(pg_catalog.=) 'logical'
       AND c.relpersistence OPERATOR(pg_catalog.=) 'p'
       AND (EXISTS (SELECT FROM pg_catalog.pg_publication_tables p
                    WHERE p.schemaname OPERATOR(pg_catalog.=) n.nspname
                      AND p.tablename OPERATOR(pg_catalog.=) c.relname)
            OR EXISTS (SELECT FROM pg_catalog.pg_replication_slots r
                       WHERE r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""


# A trigger with bit 4 of tgtype fires on INSERT (pg_trigger.h). A user's function that PostgreSQL
# calls for a row (in a default, a check, a domain) could write to other tables, whose references
# would then be unchecked; only a volatile function may write. The table's oid is ``given.oid``.
_TRIGGER = """
       (SELECT pg_catalog.min(t.tgname::pg_catalog.text) FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid OPERATOR(pg_catalog.=) given.oid AND NOT t.tgisinternal
          AND t.tgenabled OPERATOR(pg_catalog.=) ANY ({})
          AND (t.tgtype OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0)
"""
# Triggers that fire always, and those that fire only with session_replication_role = replica.
_FIRING = _TRIGGER.format("""'{O,A}'::pg_catalog."char"[]""")
_FIRING_AS_REPLICA = _TRIGGER.format("""'{R}'::pg_catalog."char"[]""")
_FUNCTION = """
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
"""
RUNS_FUNCTIONS = f"""
WITH given AS (SELECT $1::bigint::pg_catalog.oid AS oid)
SELECT {_FIRING} IS NOT NULL OR {_FUNCTION} IS NOT NULL
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r
               WHERE r.ev_class OPERATOR(pg_catalog.=) given.oid
                 AND r.ev_type OPERATOR(pg_catalog.=) '3')
FROM given
"""
ACCESS = f"""
WITH given AS (SELECT $1::bigint::pg_catalog.oid AS oid)
SELECT pg_catalog.current_setting('transaction_isolation'),
       NOT pg_catalog.row_security_active(given.oid),
       CASE WHEN NOT pg_catalog.has_table_privilege(given.oid, 'INSERT')
            THEN pg_catalog.format('GRANT INSERT ON %s TO %I', given.oid::pg_catalog.regclass,
                                   current_user) END,
       pg_catalog.has_table_privilege(given.oid, 'SELECT'),
{_FIRING}, {_FIRING_AS_REPLICA}, {_FUNCTION}
FROM given
"""


MAY_SET_ROLE = """
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
# PostgreSQL makes and names the triggers of foreign keys; any other internal trigger rechecks a
# deferrable constraint. A trigger that was disabled or set to fire always has been changed by a
# user.
REPLICATION_ROLE = f"""
SELECT {MAY_SET_ROLE},
       pg_catalog.current_setting('session_replication_role'),
       (SELECT pg_catalog.min(coalesce(k.conname, t.tgname)::pg_catalog.text)
        FROM pg_catalog.pg_trigger t
        LEFT JOIN pg_catalog.pg_constraint k ON k.oid OPERATOR(pg_catalog.=) t.tgconstraint
        WHERE t.tgrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid AND t.tgisinternal
          AND (coalesce(k.contype, '') OPERATOR(pg_catalog.<>) 'f'
               OR t.tgenabled OPERATOR(pg_catalog.<>) 'O'))
"""
# The operator is the one that PostgreSQL's own check of the key uses. FOR KEY SHARE requires the
# UPDATE right, though it changes nothing.
PARENTS = """
SELECT k.conname::pg_catalog.text, c.relkind::pg_catalog.text,
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
  AND k.contype OPERATOR(pg_catalog.=) 'f'
"""


def _keys(fact: type) -> str:
    return " ".join(fact.__annotations__)


FACTS = {
    "defaults": (DEFAULTS, _keys(DefaultFact)),
    "plain_indexes": (PLAIN_INDEXES, _keys(PlainIndexFact)),
    "unique_keys": (UNIQUE_KEYS, _keys(UniqueKeyFact)),
    "checks": (CHECKS, _keys(CheckFact)),
    "index_sizes": (INDEX_SIZES, _keys(IndexSizeFact)),
    "parents": (PARENTS, _keys(ParentFact)),
    "access": (ACCESS, _keys(AccessFact)),
    "replication_role": (REPLICATION_ROLE, _keys(ReplicationRoleFact)),
    "index_rights": (INDEX_RIGHTS, _keys(IndexRightsFact)),
}
"""Each fact's query, and the names of its columns."""
ALL_FACTS = frozenset(FACTS)
FOR_DIRECT = frozenset(
    {"plain_indexes", "index_sizes", "parents", "replication_role", "index_rights"}
)
"""Facts by which a faster way than COPY is decided. PostgreSQL plans the statement for half as long
without them."""
