"""A schema that shadows each function, operator, type and relation of pg_catalog.

Each shadow works like the original, so that nothing fails if it is called, and PostgreSQL counts
the calls (``track_functions``), even if the transaction is rolled back. See CVE-2018-1058:
https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058.
"""

from contextlib import contextmanager

import psycopg
from django.db import connection

from tests.patience import wait_until

_MAKE = """
SET search_path = pg_catalog;
SET check_function_bodies = off;
CREATE SCHEMA shadows;
GRANT USAGE ON SCHEMA shadows TO PUBLIC;
DO $make$
DECLARE
  item record;
  number int := 0;
BEGIN
  -- Functions, aggregates and window functions. "any" is for functions in C alone.
  FOR item IN
    SELECT p.proname, p.prokind, p.proretset, p.prorettype::regtype AS result,
           replace(replace(pg_get_function_identity_arguments(p.oid), 'VARIADIC "any"',
                           'VARIADIC anyarray'), '"any"', 'anyelement') AS arguments,
           (SELECT coalesce(string_agg(
              CASE WHEN n = p.pronargs AND p.provariadic <> 0 THEN 'VARIADIC ' ELSE '' END
              || '$' || n, ', ' ORDER BY n), '') FROM generate_series(1, p.pronargs) n) AS given
    FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind <> 'p'
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION shadows.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
        item.proname, CASE item.arguments WHEN '*' THEN '' ELSE item.arguments END,
        pg_get_function_result_of(item.proretset, item.result::text),
        CASE WHEN item.prokind <> 'f' THEN 'BEGIN RETURN NULL; END'
             WHEN item.result = 'void'::regtype
             THEN format('BEGIN PERFORM pg_catalog.%I(%s); END', item.proname, item.given)
             WHEN item.proretset
             THEN format('BEGIN RETURN QUERY SELECT * FROM pg_catalog.%I(%s); END',
                         item.proname, item.given)
             ELSE format('BEGIN RETURN pg_catalog.%I(%s); END', item.proname, item.given) END);
    EXCEPTION WHEN OTHERS THEN NULL;  -- of a type that only functions in C may have
    END;
  END LOOP;
  -- Operators.
  FOR item IN
    SELECT o.oid, o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r,
           o.oprresult::regtype AS result
    FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprright <> 0
  LOOP
    BEGIN
      number := number + 1;
      IF item.l = 0::oid::regtype THEN
        EXECUTE format('CREATE FUNCTION shadows."%s (%s)"(%s) RETURNS %s LANGUAGE plpgsql AS %L',
          item.oprname, item.r, item.r, item.result,
          format('BEGIN RETURN OPERATOR(pg_catalog.%s) $1; END', item.oprname));
        EXECUTE format('CREATE OPERATOR shadows.%s (FUNCTION = shadows."%s (%s)", RIGHTARG = %s)',
          item.oprname, item.oprname, item.r, item.r);
      ELSE
        EXECUTE format(
          'CREATE FUNCTION shadows."%s (%s, %s)"(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
          item.oprname, item.l, item.r, item.l, item.r, item.result,
          format('BEGIN RETURN $1 OPERATOR(pg_catalog.%s) $2; END', item.oprname));
        EXECUTE format(
          'CREATE OPERATOR shadows.%s (FUNCTION = shadows."%s (%s, %s)", LEFTARG = %s, '
          'RIGHTARG = %s)',
          item.oprname, item.oprname, item.l, item.r, item.l, item.r);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  -- Relations.
  FOR item IN
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION shadows."read %s"() RETURNS bool LANGUAGE plpgsql AS %L',
        item.relname, 'BEGIN RETURN true; END');
      EXECUTE format('CREATE VIEW shadows.%I AS SELECT * FROM pg_catalog.%I WHERE '
        'shadows."read %s"()', item.relname, item.relname, item.relname);
    EXCEPTION WHEN OTHERS THEN NULL;  -- pg_statistic has columns that no view may have
    END;
  END LOOP;
  -- Types, as domains; last, so that the functions above have PostgreSQL's own.
  FOR item IN
    SELECT t.typname FROM pg_type t
    WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typname !~ '^_'
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION shadows."cast to %s"(pg_catalog.%I) RETURNS bool '
        'LANGUAGE plpgsql AS %L', item.typname, item.typname, 'BEGIN RETURN true; END');
      EXECUTE format('CREATE DOMAIN shadows.%I AS pg_catalog.%I '
        'CHECK (shadows."cast to %s"(VALUE))', item.typname, item.typname, item.typname);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END $make$;
"""
_MAKE = _MAKE.replace(
    "pg_get_function_result_of(item.proretset, item.result::text)",
    "CASE WHEN item.proretset THEN 'SETOF ' ELSE '' END || item.result::text",
)


class Shadows:
    """The schema in the test's database, and a session that reads which shadows were called."""

    def __init__(self):
        settings = connection.get_connection_params()
        names = ("host", "port", "dbname", "user", "password")
        self._database = settings["dbname"]
        self._session = psycopg.connect(
            **{name: settings[name] for name in names if name in settings}, autocommit=True
        )
        try:
            self._session.execute(_MAKE)
        except BaseException:
            self._session.close()
            raise

    def close(self):
        self._session.execute("DROP SCHEMA shadows CASCADE")
        self._session.close()

    @contextmanager
    def cast(self, path):
        """Set this search path for all sessions that begin in this context; not for Django's."""
        database = psycopg.sql.Identifier(self._database)
        alter = psycopg.sql.SQL("ALTER DATABASE {} ").format(database)
        connection.close()
        self._wait()
        self._session.execute(alter + psycopg.sql.SQL(f"SET search_path = {path}"))
        self._session.execute(alter + psycopg.sql.SQL("SET track_functions = 'pl'"))
        self._session.execute("SELECT pg_catalog.pg_stat_reset()")
        try:
            yield
        finally:
            connection.close()
            self._session.execute(alter + psycopg.sql.SQL("RESET search_path"))
            self._session.execute(alter + psycopg.sql.SQL("RESET track_functions"))
            self._wait()

    def called(self, schema="shadows"):
        """Return the schema's functions that were called, with the numbers of calls."""
        rows = self._session.execute(
            "SELECT funcname, calls FROM pg_catalog.pg_stat_user_functions "
            "WHERE schemaname = %s AND calls > 0 ORDER BY 1",
            [schema],
        )
        return dict(rows.fetchall())

    def _wait(self):
        """Wait until all other sessions have ended: only then are their counts complete."""
        others = (
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity "
            "WHERE datname = pg_catalog.current_database() AND pid <> "
            "pg_catalog.pg_backend_pid() AND backend_type = 'client backend'"
        )
        wait_until(
            lambda: self._session.execute(others).fetchall() == [(0,)], "sessions are left over"
        )
