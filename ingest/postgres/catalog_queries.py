"""The catalog queries that describe the table of a load, joined to one statement.

Each part is a query with the table's oid as ``$1``, and ``REREAD_BY_NAME`` as ``$2``;
``one_statement`` joins them. ``PARTS`` names the columns of each part.
"""

from __future__ import annotations

import functools

from ingest.postgres.citus import HAS_CITUS
from ingest.postgres.fact_queries import FACTS

# Bits of tgtype (pg_trigger.h): 4 fires on INSERT, 64 INSTEAD OF it. A rule's ev_type 3 is INSERT.
TABLE = f"""
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text,
       c.relispartition,
       ARRAY(SELECT t.tgname::pg_catalog.text FROM pg_catalog.pg_trigger t
             WHERE (t.tgrelid OPERATOR(pg_catalog.=) c.oid
                    OR t.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(
                      SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(c.oid) p
                      WHERE c.relkind OPERATOR(pg_catalog.=) 'p')))
               AND NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
               AND (t.tgtype OPERATOR(pg_catalog.&) 4::smallint) OPERATOR(pg_catalog.<>) 0
             ORDER BY 1),
       ARRAY(SELECT r.rulename::pg_catalog.text FROM pg_catalog.pg_rewrite r
             WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid
               AND r.ev_type OPERATOR(pg_catalog.=) '3'
               AND r.ev_enabled OPERATOR(pg_catalog.<>) 'D'
             ORDER BY 1),
       c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'f']::pg_catalog."char"[])
         OR EXISTS (
           SELECT FROM pg_catalog.pg_trigger t
           WHERE c.relkind OPERATOR(pg_catalog.=) 'v'
             AND t.tgrelid OPERATOR(pg_catalog.=) c.oid
             AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
             AND (t.tgtype OPERATOR(pg_catalog.&) 68::smallint) OPERATOR(pg_catalog.=) 68),
       CASE WHEN pg_catalog.row_security_active(c.oid)
            THEN pg_catalog.current_setting('row_security') ELSE '' END,
       CASE WHEN (SELECT m.amname FROM pg_catalog.pg_am m
                  WHERE m.oid OPERATOR(pg_catalog.=) c.relam) OPERATOR(pg_catalog.=) 'heap'
              AND c.relkind OPERATOR(pg_catalog.=) 'r'
            THEN pg_catalog.pg_relation_size(c.oid::pg_catalog.regclass) END,
       c.reltuples::double precision,
       pg_catalog.current_setting('lock_timeout'),
       ARRAY(SELECT pg_catalog.format('%I.%I', s.nspname, f.relname)
             FROM pg_catalog.pg_class f
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) f.relnamespace
             WHERE f.relkind OPERATOR(pg_catalog.=) 'f'
               AND f.oid OPERATOR(pg_catalog.=) ANY (pg_catalog.array_append(ARRAY(
                 SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(c.oid) p
                 WHERE c.relkind OPERATOR(pg_catalog.=) 'p'), c.oid))
             ORDER BY 1),
       {HAS_CITUS}
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""


# A domain may be based on a domain: the recursion ends at the base type, and the innermost modifier
# is the one that applies.
COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS type_oid, a.atttypmod AS modifier, a.attnotnull AS is_required
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
      AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  UNION ALL
    SELECT b.attnum, t.typbasetype, t.typtypmod, b.is_required OR t.typnotnull
    FROM base b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type_oid
    WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT a.attname::pg_catalog.text, t.oid::bigint, t.typname::pg_catalog.text,
       t.typtype::pg_catalog.text, s.nspname::pg_catalog.text,
       coalesce(
         CASE WHEN s.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' THEN (
           SELECT pg_catalog.format('OPERATOR(%I.%s)', e.nspname, o.oprname)
           FROM pg_catalog.pg_opclass p
           JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) p.opcmethod
           JOIN pg_catalog.pg_amop x ON x.amopfamily OPERATOR(pg_catalog.=) p.opcfamily
             AND x.amoplefttype OPERATOR(pg_catalog.=) p.opcintype
             AND x.amoprighttype OPERATOR(pg_catalog.=) p.opcintype
             AND x.amopstrategy OPERATOR(pg_catalog.=) 3  -- "equal" of a B-tree
           JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) x.amopopr
           JOIN pg_catalog.pg_namespace e ON e.oid OPERATOR(pg_catalog.=) o.oprnamespace
           WHERE p.opcdefault AND p.opcintype OPERATOR(pg_catalog.=) t.oid
             AND m.amname OPERATOR(pg_catalog.=) 'btree') END,
         'OPERATOR(pg_catalog.=)'),
       b.modifier::integer,
       pg_catalog.format_type(a.atttypid, a.atttypmod), b.is_required,
       a.attidentity OPERATOR(pg_catalog.<>) ''
         OR (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '')
         OR EXISTS (SELECT FROM pg_catalog.pg_type y
                    WHERE y.oid OPERATOR(pg_catalog.=) a.atttypid AND y.typdefault IS NOT NULL),
       a.attidentity::pg_catalog.text, a.attgenerated OPERATOR(pg_catalog.<>) '',
       pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT')
FROM base b
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.=) b.attnum
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type_oid
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
ORDER BY a.attnum
"""


INDEXES = """
SELECT c.relname::pg_catalog.text, pg_catalog.pg_get_indexdef(i.indexrelid), i.indisprimary,
       i.indisunique,
       (SELECT pg_catalog.min(k.conname::pg_catalog.text) FROM pg_catalog.pg_constraint k
        WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid
          AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
          AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'::pg_catalog."char"[]))
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
ORDER BY NOT i.indisprimary, c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""


CONSTRAINTS = """
SELECT k.conname::pg_catalog.text, k.contype::pg_catalog.text,
       pg_catalog.pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place),
       k.condeferrable, k.condeferred, k.convalidated,
       coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conenforced')::boolean, true),
       CASE WHEN k.confrelid OPERATOR(pg_catalog.<>) 0 THEN k.confrelid::bigint END,
       n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place)
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{c,u,x,p,f}'::pg_catalog."char"[])
ORDER BY k.contype::pg_catalog.text COLLATE pg_catalog."C",
         k.conname::pg_catalog.text COLLATE pg_catalog."C"
"""


TRIGGERS = """
SELECT t.tgname::pg_catalog.text, pg_catalog.pg_get_triggerdef(t.oid),
       t.tgenabled::pg_catalog.text, t.tgdeferrable, t.tginitdeferred
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid AND NOT t.tgisinternal
ORDER BY t.tgname::pg_catalog.text COLLATE pg_catalog."C"
"""


PARTS = {
    "table": (
        TABLE,
        (
            "schema name kind is_partition insert_triggers rules takes_copy row_security size "
            "row_count lock_timeout foreign_parts has_citus"
        ),
    ),
    "columns": (
        COLUMNS,
        (
            "name type_oid type_name type_kind type_schema equal type_modifier sql_type "
            "is_required has_default identity is_generated may_insert"
        ),
    ),
    "indexes": (INDEXES, "name definition is_primary is_unique constraint"),
    "constraints": (
        CONSTRAINTS,
        (
            "name kind definition columns is_deferrable is_deferred is_validated is_enforced "
            "references_oid referenced_schema referenced_table referenced_columns"
        ),
    ),
    "triggers": (TRIGGERS, "name definition enabled is_deferrable is_deferred"),
    **FACTS,
}
"""Each part's query, and the names of its columns."""


@functools.cache
def one_statement(left_out: frozenset[str] = frozenset()) -> str:
    """Return one statement for all parts: the oid, and an array of JSON texts for each part.

    The array of a part that is ``left_out`` is empty.

    ``$1`` is the table's oid, or null if ``$3`` is its name.

    The columns are arrays of text only: for other types asyncpg sends queries of its own to the
    catalog, which name no schema.
    """
    parts = [
        "'{}'::pg_catalog.text[]"
        if part in left_out
        else f"ARRAY(SELECT pg_catalog.row_to_json(part)::pg_catalog.text FROM ({sql}) "
        f"part({', '.join(f'{chr(34)}{name}{chr(34)}' for name in names.split())}))"
        for part, (sql, names) in PARTS.items()
    ]
    select = f"SELECT wanted.oid::bigint, {', '.join(parts)} FROM wanted"
    for parameter, column in _WANTED_COLUMNS.items():
        select = select.replace(parameter, f"wanted.{column}")
    return _WANTED + select


_WANTED = """
WITH wanted (oid, reread_by_name) AS MATERIALIZED (
  SELECT coalesce(
           $1::bigint::pg_catalog.oid, pg_catalog.to_regclass($3::pg_catalog.text)::pg_catalog.oid),
         $2::pg_catalog.text
)
"""
_WANTED_COLUMNS = {
    "$1::bigint::pg_catalog.oid": "oid",
    "$2::pg_catalog.text": "reread_by_name",
}
