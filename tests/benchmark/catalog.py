"""Everything the catalog says of a table, for comparing a copy with its original.

Not by ingest's own queries: what they forget would be forgotten twice.
"""

from django.db import connection

QUERIES = {
    "table": """
        SELECT relkind, relpersistence, reloptions::text, relam, relchecks, relhastriggers
        FROM pg_class WHERE oid = %s""",
    "columns": """
        SELECT a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attidentity,
               a.attgenerated, a.attstorage, a.attcompression, a.attstattarget, a.attoptions::text,
               pg_get_expr(d.adbin, d.adrelid), s.relname::text, q.seqtypid, q.seqstart,
               q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        LEFT JOIN pg_class s ON a.attidentity <> '' AND s.oid = pg_get_serial_sequence(
            a.attrelid::regclass::text, a.attname)::regclass
        LEFT JOIN pg_sequence q ON q.seqrelid = s.oid
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""",
    "owned sequences": """
        SELECT s.relname::text, a.attname::text, d.deptype, q.seqtypid, q.seqstart, q.seqincrement,
               q.seqmin, q.seqmax, q.seqcache, q.seqcycle
        FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_sequence q ON q.seqrelid = s.oid
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.refobjid = %s AND d.classid = 'pg_class'::regclass ORDER BY 1""",
    "indexes": """
        SELECT c.relname::text, pg_get_indexdef(c.oid), c.reloptions::text, i.indisunique,
               i.indisprimary, i.indisexclusion, i.indimmediate, i.indnkeyatts,
               i.indclass::oid[]::text, i.indcollation::oid[]::text, i.indoption::int2[]::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = %s ORDER BY i.indexrelid""",
    "constraints": """
        SELECT conname::text, contype, pg_get_constraintdef(oid), condeferrable, condeferred,
               convalidated, confupdtype, confdeltype, confmatchtype, connoinherit
        FROM pg_constraint WHERE conrelid = %s ORDER BY contype, conname::text""",
    "triggers": """
        SELECT t.tgname::text, pg_get_triggerdef(t.oid), t.tgenabled, t.tgtype, t.tgfoid,
               t.tgdeferrable, t.tginitdeferred, t.tgargs
        FROM pg_trigger t WHERE t.tgrelid = %s AND NOT t.tgisinternal ORDER BY 1""",
    # Those of the table's own foreign keys: other tables that refer to it are not copied.
    "internal triggers": """
        SELECT t.tgfoid, t.tgtype, t.tgenabled, t.tgdeferrable, t.tginitdeferred, count(*)
        FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE t.tgrelid = %s AND t.tgisinternal AND k.conrelid = t.tgrelid
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5""",
}


def describe(name, schemas):
    """Return what the catalog says of the table; scratch schemas have their originals' names."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::regclass::oid", [name])
        [oid] = cursor.fetchone()
        cursor.execute("SET search_path = ''")
        try:
            got = {}
            for what, query in QUERIES.items():
                cursor.execute(query, [oid])
                got[what] = [tuple(_original(cell, schemas) for cell in row) for row in cursor]
        finally:
            cursor.execute("RESET search_path")
    return got


def _original(cell, schemas):
    if not isinstance(cell, str):
        return cell
    for original, scratch in schemas.items():
        cell = cell.replace(f"{scratch}.", f"{original}.")
    return cell
