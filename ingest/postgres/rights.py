"""The rights that a role lacks, as the GRANT statements that give them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

INSUFFICIENT_PRIVILEGE = "42501"
"""PostgreSQL's SQLSTATE for a right that the role lacks, and for a row that a policy refuses."""


class Connection(Protocol):
    """A connection that runs statements with ``$1`` parameters."""

    def fetch(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""


def is_of_rights(error: BaseException | None) -> bool:
    """Return whether an error, or the one from which it was raised, may be about a right."""
    while error is not None:
        if getattr(error, "sqlstate", None) == INSUFFICIENT_PRIVILEGE:
            return True
        error = error.__cause__
    return False


def tell_missing(
    connection: Connection, said: str, rights: Mapping[str, str], role: str = ""
) -> str:
    """Return a sentence with the rights that the role lacks on the objects that an error names.

    ``said`` is PostgreSQL's message. ``rights`` has the rights that are needed, separated by
    commas, by the table's name as SQL writes it; their schemas and sequences, the tables that they
    refer to and the database are looked at too. Without a ``role`` it is the current one. Return an
    empty string if nothing is known to be missing.
    """
    rows = connection.fetch(_MISSING, list(rights), list(rights.values()), role)
    # PostgreSQL's message is in the server's language and has the name without its schema.
    grants = [grant for name, grant in rows if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)]
    return f"The role lacks a right: {'; '.join(grants)}." if grants else ""


_MISSING = """
WITH given AS (
  SELECT c.oid, c.relname, n.nspname, n.oid AS schema, g.rights,
         CASE WHEN $3::pg_catalog.text OPERATOR(pg_catalog.=) '' THEN current_user
              ELSE $3::pg_catalog.text::pg_catalog.name END AS role
  FROM ROWS FROM (
    pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])
  ) AS g (name, rights)
  CROSS JOIN LATERAL pg_catalog.parse_ident(g.name) p (parts)
  JOIN pg_catalog.pg_class c ON c.relname::pg_catalog.text
    OPERATOR(pg_catalog.=) p.parts[pg_catalog.cardinality(p.parts)]
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE CASE WHEN pg_catalog.cardinality(p.parts) OPERATOR(pg_catalog.=) 1
        THEN pg_catalog.pg_table_is_visible(c.oid)
        ELSE n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) p.parts[1] END
), found AS (
  SELECT * FROM given
  UNION
  SELECT c.oid, c.relname, n.nspname, n.oid, 'SELECT', g.role
  FROM given g
  JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) g.oid
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
), sequences AS (
  SELECT DISTINCT s.oid, s.relname, n.nspname, f.role
  FROM given f
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) f.oid
  JOIN pg_catalog.pg_depend p
    ON p.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND p.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND p.refobjid OPERATOR(pg_catalog.=) f.oid
    OR p.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND p.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND p.objid OPERATOR(pg_catalog.=) d.oid
  JOIN pg_catalog.pg_class s ON s.relkind OPERATOR(pg_catalog.=) 'S'
    AND (s.oid OPERATOR(pg_catalog.=) p.objid OR s.oid OPERATOR(pg_catalog.=) p.refobjid)
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace
), missing AS (
  SELECT 1 AS place, nspname::pg_catalog.text AS name,
         pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', nspname, role) AS sql
  FROM found WHERE NOT pg_catalog.has_schema_privilege(role, schema, 'USAGE')
  UNION
  SELECT 2, f.relname::pg_catalog.text,
         pg_catalog.format(
           'GRANT %s ON %I.%I TO %I',
           pg_catalog.string_agg(DISTINCT r.name, ', '), f.nspname, f.relname, f.role)
  FROM found f
  CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.string_to_array(f.rights, ',')) r (name)
  WHERE NOT pg_catalog.has_table_privilege(f.role, f.oid, r.name)
  GROUP BY f.oid, f.relname, f.nspname, f.role
  UNION
  SELECT 3, relname::pg_catalog.text,
         pg_catalog.format('GRANT USAGE ON SEQUENCE %I.%I TO %I', nspname, relname, role)
  FROM sequences WHERE NOT pg_catalog.has_sequence_privilege(role, oid, 'USAGE')
  UNION
  SELECT 4, d.datname::pg_catalog.text,
         pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO %I', d.datname, f.role)
  FROM found f
  JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
  WHERE NOT pg_catalog.has_database_privilege(f.role, d.oid, 'TEMPORARY')
)
SELECT name, sql FROM missing ORDER BY place, sql
"""
