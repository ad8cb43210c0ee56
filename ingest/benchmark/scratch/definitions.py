"""The catalog queries for the copies: what to create, as PostgreSQL defines it.

All run under an empty search_path. Names are returned as PostgreSQL quotes them. Sources:
https://www.postgresql.org/docs/current/catalogs.html and the server's ruleutils.c, which determines
how the definitions begin.
"""

TABLES = """
WITH RECURSIVE reach(oid, depth) AS (
    SELECT $1::int8::oid, 0
  UNION
    SELECT k.confrelid, r.depth + 1
    FROM reach r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.contype = 'f'
    WHERE r.depth < 100
),
reached AS (SELECT oid, min(depth) AS depth FROM reach GROUP BY oid)
SELECT c.oid::int8, n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname),
       CASE WHEN c.relkind = 'p' OR c.relispartition
            THEN 'is partitioned, which a benchmark cannot copy'
            WHEN c.relkind <> 'r' THEN 'is not an ordinary table, which a benchmark cannot copy'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i
                         WHERE c.oid IN (i.inhrelid, i.inhparent))
            THEN 'inherits from or to another table, which a benchmark cannot copy'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid)
            THEN 'has rewrite rules, which a benchmark cannot copy'
       END,
       CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END,
       (SELECT 'USING ' || quote_ident(m.amname) FROM pg_catalog.pg_am m WHERE m.oid = c.relam)
       || coalesce((SELECT ' WITH (' || string_agg(format('%I = %L', o.option_name, o.option_value),
                                                   ', ') || ')'
                    FROM pg_catalog.pg_options_to_table(c.reloptions) o), '')
FROM reached r
JOIN pg_catalog.pg_class c ON c.oid = r.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY r.depth, c.oid
"""

_DEFAULT_SEQUENCES = """
pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
    AND p.refclassid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
"""

SEQUENCES = f"""
SELECT DISTINCT n.nspname::text, s.relname::text, format('%I.%I', n.nspname, s.relname),
       format('%L::regclass', format('%I.%I', n.nspname, s.relname)),
       format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s',
              format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqstart,
              q.seqcache, CASE WHEN q.seqcycle THEN ' CYCLE' ELSE '' END)
FROM {_DEFAULT_SEQUENCES}
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
WHERE d.adrelid = ANY($1::int8[]::oid[])
"""

SEQUENCE_DEFAULTS = f"""
SELECT d.adrelid::int8, quote_ident(a.attname), pg_get_expr(d.adbin, d.adrelid),
       format('%I.%I', n.nspname, s.relname),
       format('%L::regclass', format('%I.%I', n.nspname, s.relname)),
       EXISTS (SELECT FROM pg_catalog.pg_depend o WHERE o.objid = s.oid
               AND o.classid = 'pg_catalog.pg_class'::regclass AND o.refobjid = d.adrelid
               AND o.refobjsubid = d.adnum AND o.deptype = 'a')
FROM {_DEFAULT_SEQUENCES}
WHERE d.adrelid = ANY($1::int8[]::oid[])
"""

INDEXES = """
SELECT quote_ident(c.relname), quote_ident(k.conname),
       format('CREATE %sINDEX %I', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname),
       coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(c.oid)),
       (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ')
        FROM pg_catalog.pg_options_to_table(c.reloptions) o)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
    AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = $1::int8::oid AND i.indisvalid
ORDER BY i.indexrelid
"""

CHECKS = """
SELECT format('ADD CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)),
       quote_ident(k.conname)
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = $1::int8::oid AND k.contype = 'c'
ORDER BY k.oid
"""

SETTINGS = """
SELECT format('ALTER COLUMN %I SET STATISTICS %s', a.attname, a.attstattarget)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
UNION ALL
SELECT format('ALTER COLUMN %I SET (%s)', a.attname,
              (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ')
               FROM pg_catalog.pg_options_to_table(a.attoptions) o))
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attoptions IS NOT NULL
"""

IDENTITIES = """
SELECT a.attname::text, quote_ident(s.relname), format_type(q.seqtypid, NULL)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass
    AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
    AND d.classid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
WHERE a.attrelid = $1::int8::oid AND a.attidentity <> ''
"""

# conperiod was added in PostgreSQL 18; read through JSON, it is null before.
FOREIGN_KEYS = """
SELECT quote_ident(k.conname),
       ARRAY['FOREIGN KEY ('
             || (SELECT string_agg(CASE WHEN u.place = cardinality(k.conkey)
                                        AND (to_jsonb(k) ->> 'conperiod')::boolean
                                        THEN 'PERIOD ' ELSE '' END || quote_ident(a.attname),
                                   ', ' ORDER BY u.place)
                 FROM unnest(k.conkey) WITH ORDINALITY u(attnum, place)
                 JOIN pg_catalog.pg_attribute a
                   ON a.attrelid = k.conrelid AND a.attnum = u.attnum)
             || ') REFERENCES ', format('%I.%I', n.nspname, c.relname)],
       pg_get_constraintdef(k.oid), k.confrelid::int8
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.conrelid = $1::int8::oid AND k.contype = 'f'
ORDER BY k.oid
"""

# The bits of tgtype are in the server's pg_trigger.h.
TRIGGERS = """
SELECT quote_ident(t.tgname),
       format('CREATE %sTRIGGER %I %s %s%s ON ',
              CASE WHEN t.tgconstraint <> 0 THEN 'CONSTRAINT ' ELSE '' END, t.tgname,
              CASE WHEN t.tgtype & 2 <> 0 THEN 'BEFORE' WHEN t.tgtype & 64 <> 0 THEN 'INSTEAD OF'
                   ELSE 'AFTER' END,
              concat_ws(' OR ', CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
                        CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END,
                        CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' || coalesce(
                            (SELECT ' OF ' || string_agg(quote_ident(a.attname), ', '
                                                         ORDER BY u.place)
                             FROM unnest(t.tgattr::int2[]) WITH ORDINALITY u(attnum, place)
                             JOIN pg_catalog.pg_attribute a
                               ON a.attrelid = t.tgrelid AND a.attnum = u.attnum), '') END),
              CASE WHEN t.tgtype & 32 <> 0
                   THEN CASE WHEN t.tgtype & 28 <> 0 THEN ' OR ' ELSE '' END || 'TRUNCATE'
                   ELSE '' END),
       pg_get_triggerdef(t.oid),
       CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
            WHEN 'A' THEN 'ENABLE ALWAYS' END,
       t.tgconstrrelid <> 0
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = $1::int8::oid AND NOT t.tgisinternal
ORDER BY t.tgname
"""

EDGES = """
SELECT k.conrelid::int8, k.confrelid::int8,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
             ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
             ORDER BY u.place)
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY($1::int8[]::oid[]) AND k.contype = 'f'
ORDER BY k.oid
"""

COPIED_COLUMNS = """
SELECT a.attname::text,
       EXISTS (SELECT FROM pg_catalog.pg_constraint k
               WHERE k.contype = 'f' AND k.conrelid = a.attrelid AND a.attnum = ANY(k.conkey)
                 AND k.confrelid = $2::int8::oid),
       a.attnotnull
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
