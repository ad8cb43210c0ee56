"""Imitates the catalog of Citus in a database without it."""

from contextlib import contextmanager

from django.db import connection

CATALOG = """
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (
    logicalrelid regclass NOT NULL, partmethod "char" NOT NULL, partkey text,
    colocationid integer NOT NULL DEFAULT 0, repmodel "char" NOT NULL DEFAULT 'c',
    autoconverted boolean DEFAULT false
);
GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
RESET allow_system_table_mods;
"""
"""The table as `\\d pg_dist_partition` shows it in Citus 15."""
KEY = "{{VAR :varno 1 :varattno {} :vartype 20 :vartypmod -1 :varcollid 0 :varlevelsup 0}}"
KINDS = {
    "distributed": ("h", "s", 2),
    "single shard": ("n", "s", 3),
    "reference": ("n", "t", 1),
    "local": ("n", "s", 0),
}
"""The values that Citus writes for each kind of table: partmethod, repmodel, colocationid."""


@contextmanager
def citus_catalog():
    """Make the catalog; yield a function that enters a table with its distribution column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass('pg_catalog.pg_dist_partition')")
        assert cursor.fetchone() == (None,), "this database has Citus"
        cursor.execute(CATALOG)

    def distribute(table, column=None, kind="distributed"):
        method, model, group = KINDS[kind]
        with connection.cursor() as cursor:
            number = None
            if column is not None:
                cursor.execute(
                    "SELECT attnum FROM pg_attribute WHERE attrelid = %s::regclass "
                    "AND attname = %s",
                    [table, column],
                )
                [number] = cursor.fetchone()
            cursor.execute(
                "INSERT INTO pg_catalog.pg_dist_partition VALUES (%s, %s, %s, %s, %s)",
                [table, method, number and KEY.format(number), group, model],
            )

    try:
        yield distribute
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET allow_system_table_mods = on; DROP TABLE pg_catalog.pg_dist_partition; "
                "RESET allow_system_table_mods"
            )
