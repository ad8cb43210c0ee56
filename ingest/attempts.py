"""The statements that try the rows of the stage, in the server.

Both have the same outcome: what would have gone in one row at a time, in order, is in the table,
and what PostgreSQL said of each other row is in ``ingest_refused``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.refusals import SERVERS_OWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.table import Table

STAGE = "pg_temp.ingest_stage"
PIECE_ROWS = 4_096
"""Rows first tried at a time: a refused piece costs what it inserted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniqueKey:
    """A unique key of the table."""

    name: str
    """The name that PostgreSQL reports: the constraint's and its index's are the same."""
    expressions: Sequence[str]
    predicate: str


def attempt_at_once(
    table: Table, names: str, keys: Sequence[UniqueKey], certain: Sequence[str]
) -> str:
    """Give the DO statement that inserts all rows but those that conflict with one before them.

    ``certain`` are conditions under which PostgreSQL refuses a row, whatever else is in the table.
    PostgreSQL does not say which rows ON CONFLICT left out: they are the ones whose key is not
    among those inserted, or not for the first time. With several keys that may be too many. If the
    numbers do not agree, or any other row is refused, or one of them goes in after all, the
    statement fails and nothing has happened: then rows must be tried one by one.
    """
    left_out = " UNION ".join(_left_out(number, key) for number, key in enumerate(keys))
    shown = [
        f"({expression}) AS k{number}_{place}"
        for number, key in enumerate(keys)
        for place, expression in enumerate((key.predicate, *key.expressions))
    ]
    body = _AT_ONCE.format(
        certain=" OR ".join(f"({condition})" for condition in certain) or "false",
        insert=_insert(table, names),
        stage=STAGE,
        shown=", ".join(["1 AS one", *shown]),
        left_out=left_out or "SELECT NULL::int8 WHERE false",
        note=_note(table, keys),
        servers_own=",".join(SERVERS_OWN),
    )
    return f"DO {_literal(body)}"


def attempt_one_by_one(table: Table, names: str, keys: Sequence[UniqueKey]) -> str:
    """Give the DO statement that tries many rows at a time, and those in doubt one by one."""
    body = _ONE_BY_ONE.format(
        insert=_insert(table, names),
        stage=STAGE,
        piece=PIECE_ROWS,
        note=_note(table, keys),
        servers_own=",".join(SERVERS_OWN),
    )
    return f"DO {_literal(body)}"


def _insert(table: Table, names: str) -> str:
    return (
        f"INSERT INTO {table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
        f"SELECT {names} FROM {STAGE}"
    )


def _left_out(number: int, key: UniqueKey) -> str:
    names = [f"k{number}_{place}" for place in range(1, len(key.expressions) + 1)]
    given = ", ".join(
        f"({expression}) AS {name}" for expression, name in zip(key.expressions, names, strict=True)
    )
    filled = " AND ".join(f"({expression}) IS NOT NULL" for expression in key.expressions)
    same = " AND ".join(f"new.{name} = given.{name}" for name in names)
    return f"""
      SELECT given.place FROM (
        SELECT "ingest place" AS place, {given},
               row_number() OVER (PARTITION BY {", ".join(key.expressions)}
                                  ORDER BY "ingest place") AS time
        FROM {STAGE} WHERE NOT "ingest doubt" AND ({key.predicate}) AND {filled}
      ) given LEFT JOIN new ON new.k{number}_0 AND {same}
      WHERE given.time > 1 OR new.one IS NULL"""


def _note(table: Table, keys: Sequence[UniqueKey]) -> str:
    """Give what writes down the row ``at``, which was just refused."""
    told_apart = "".join(
        f"""
        WHEN {_literal(key.name)} THEN
          SELECT bool_or(age(xmin) <= age(began)) INTO is_ours FROM {table.qualified_name}
          WHERE ({key.predicate}) AND ({", ".join(key.expressions)}) =
            (SELECT {", ".join(key.expressions)} FROM {STAGE} WHERE "ingest place" = at);"""
        for key in keys
    )
    if keys:
        told_apart = f"CASE constraint_name {told_apart}\n        ELSE NULL;\n        END CASE;"
    return _NOTE.format(told_apart=told_apart)


def _literal(text: str) -> str:
    """Quote a constant for SQL, whatever standard_conforming_strings is."""
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


# The stage's row type is as old as the load: its table is made anew by each TRUNCATE.
_NOTE = """
          GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            constraint_name = CONSTRAINT_NAME, column_name = COLUMN_NAME;
          is_ours := NULL;
          IF SQLSTATE = '23505' THEN
            {told_apart}
          END IF;
          INSERT INTO pg_temp.ingest_refused
          VALUES (at - 1, SQLSTATE, message, detail, constraint_name, column_name, is_ours);
"""
_AT_ONCE = """
DECLARE
  at int8;
  inserted int8;
  left_out int8[];
  began xid := (SELECT xmin FROM pg_catalog.pg_type WHERE oid = '{stage}'::regtype);
  is_ours bool;
  message text; detail text; constraint_name text; column_name text;
BEGIN
  UPDATE {stage} SET "ingest doubt" = true WHERE {certain};
  WITH new AS (
    {insert} WHERE NOT "ingest doubt" ORDER BY "ingest place"
    ON CONFLICT DO NOTHING RETURNING {shown}
  ), places (place) AS ({left_out})
  SELECT (SELECT count(*) FROM new), ARRAY(SELECT place FROM places) INTO inserted, left_out;
  IF inserted + cardinality(left_out) <>
      (SELECT count(*) FROM {stage} WHERE NOT "ingest doubt") THEN
    RAISE EXCEPTION 'it is not known which rows were left out';
  END IF;
  FOR at IN
    SELECT unnest(left_out) UNION SELECT "ingest place" FROM {stage} WHERE "ingest doubt" ORDER BY 1
  LOOP
      BEGIN
        {insert} WHERE "ingest place" = at;
      EXCEPTION WHEN OTHERS THEN
        IF left(SQLSTATE, 2) = ANY ('{{{servers_own}}}'::text[]) THEN
          RAISE;
        END IF;
        {note}
        CONTINUE;
      END;
      RAISE EXCEPTION 'a row went in after all';
  END LOOP;
END
"""
_ONE_BY_ONE = """
DECLARE
  at int8 := 1;
  up_to int8;
  size int8 := {piece};
  final int8 := (SELECT coalesce(max("ingest place"), 0) FROM {stage});
  began xid := (SELECT xmin FROM pg_catalog.pg_type WHERE oid = '{stage}'::regtype);
  is_doubtful bool;
  is_ours bool;
  message text; detail text; constraint_name text; column_name text;
BEGIN
  FOREACH is_doubtful IN ARRAY ARRAY[false, true] LOOP
    at := 1;
    WHILE at <= final LOOP
      IF is_doubtful THEN
        SELECT min("ingest place") INTO at FROM {stage}
        WHERE "ingest place" >= at AND "ingest doubt";
        EXIT WHEN at IS NULL;
        size := 1;
      END IF;
      up_to := least(at + size - 1, final);
      BEGIN
        {insert} WHERE "ingest place" BETWEEN at AND up_to AND "ingest doubt" = is_doubtful
        ORDER BY "ingest place";
        at := up_to + 1;
        size := least(size * 2, {piece});
      EXCEPTION WHEN OTHERS THEN
        IF left(SQLSTATE, 2) = ANY ('{{{servers_own}}}'::text[]) THEN
          RAISE;
        END IF;
        IF at < up_to THEN
          size := (up_to - at + 1) / 2;
        ELSE
          {note}
          at := at + 1;
          size := 1;
        END IF;
      END;
    END LOOP;
  END LOOP;
END
"""
