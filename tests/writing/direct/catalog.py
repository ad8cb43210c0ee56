"""Everything the catalog says of the test's schema, as pg_dump writes it and a little more."""

import subprocess

from django.db import connection

from settings.embedded.programs import chosen_version, wheel_programs
from tests.writing.direct.tables import SCHEMA, ask

FLAGS = {
    "indexes": """
        SELECT c.relname::text, i.indisvalid, i.indisready, i.indislive, i.indimmediate,
               i.indisclustered, i.indisreplident, i.indisunique, i.indisprimary, i.indcheckxmin,
               c.reloptions::text, c.reltablespace, c.relowner::regrole::text,
               obj_description(c.oid, 'pg_class'),
               ARRAY(SELECT coalesce(a.attstattarget, -1) FROM pg_attribute a
                     WHERE a.attrelid = c.oid ORDER BY a.attnum)::text,
               ARRAY(SELECT d.deptype::text FROM pg_depend d WHERE d.objid = c.oid ORDER BY 1)::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relnamespace = %s::regnamespace ORDER BY 1""",
    "constraints": """
        SELECT conrelid::regclass::text, conname::text, contype, condeferrable, condeferred,
               convalidated, connoinherit, conislocal, coninhcount, pg_get_constraintdef(oid),
               obj_description(oid, 'pg_constraint'), to_jsonb(k) ->> 'conenforced'
        FROM pg_constraint k WHERE connamespace = %s::regnamespace ORDER BY 1, 2""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname::text, tgenabled, tgtype, tgdeferrable
        FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
        WHERE c.relnamespace = %s::regnamespace ORDER BY 1, 2""",
    "tables": """
        SELECT relname::text, relreplident, relhasindex, relhastriggers, relrowsecurity,
               reloptions::text, relchecks, relnatts
        FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r' ORDER BY 1""",
    "columns": """
        SELECT attrelid::regclass::text, attnum, attname::text, attnotnull, attidentity
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE c.relnamespace = %s::regnamespace AND relkind = 'r' ORDER BY 1, 2""",
    "settings": """
        SELECT name, setting FROM pg_settings
        WHERE name IN ('session_replication_role', 'maintenance_work_mem', 'lock_timeout')
          AND %s <> '' ORDER BY 1""",
}


def snapshot(query=ask, settings=None):
    """Return what pg_dump prints of the schema, and flags that it does not print."""
    found = {name: query(flags.replace("%s", f"'{SCHEMA}'")) for name, flags in FLAGS.items()}
    return {**found, "pg_dump": dumped(settings or connection.settings_dict)}


def dumped(settings):
    got = subprocess.run(
        [
            wheel_programs(chosen_version()) / "pg_dump",
            *("--schema-only", "--schema", SCHEMA, "--dbname", settings["NAME"]),
            *("--host", settings["HOST"], "--port", str(settings["PORT"])),
            *("--username", settings["USER"]),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    # A secret that is another in each dump, of newer servers.
    return [line for line in got.stdout.splitlines() if "restrict" not in line]
