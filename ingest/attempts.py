"""The statements that try the rows of the stage in the server, and write down the refused ones."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.refusals import SERVERS_OWN
from ingest.staging import PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.table import Table

STAGE_NAME = "ingest_stage"
STAGE = f"pg_temp.{STAGE_NAME}"
READ_ENTERED = "SELECT pg_catalog.current_setting('ingest.entered')::int8"
"""How many rows the last statement has put in, as PostgreSQL counts them."""
PIECE_ROWS = 4_096
"""Rows first tried at a time: a refused piece costs what it inserted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniqueKey:
    """A unique key of the table."""

    name: str
    """The name that PostgreSQL reports: the constraint's and its index's are the same."""
    expressions: str
    predicate: str
    columns: tuple[str, ...]
    """The columns that the expressions and the predicate look at."""
    plain: tuple[str, ...]
    """The columns that make up the key; none where it has an expression."""


def attempt_in_pieces(table: Table, names: str, keys: Sequence[UniqueKey]) -> str:
    """Give the DO statement that tries the stage's rows, many at a time."""
    return _do(_IN_PIECES, table, names, keys)


def attempt_singly(table: Table, names: str, keys: Sequence[UniqueKey]) -> str:
    """Give the DO statement that tries the stage's rows one by one."""
    return _do(_SINGLY, table, names, keys)


def _do(body: str, table: Table, names: str, keys: Sequence[UniqueKey]) -> str:
    told_apart = "".join(
        f"""
        WHEN {_literal(key.name)} THEN
          SELECT bool_or({_IS_OURS}) INTO is_ours FROM {table.qualified_name}
          WHERE ({key.predicate}) AND ({key.expressions}) =
            (SELECT {key.expressions} FROM {STAGE} WHERE "{PLACE}" = at);"""
        for key in keys
    )
    if keys:
        told_apart = f"CASE constraint_name {told_apart}\n        ELSE NULL;\n        END CASE;"
    text = (_DECLARE + body).format(
        insert=f"INSERT INTO {table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
        f"SELECT {names} FROM {STAGE}",
        stage=STAGE,
        place=f'"{PLACE}"',
        piece=PIECE_ROWS,
        note=_NOTE.format(told_apart=told_apart),
        servers_own=f"'{{{','.join(SERVERS_OWN)}}}'::text[]",
    )
    return f"DO {_literal(text)}"


def _literal(text: str) -> str:
    """Quote a constant for SQL, whatever standard_conforming_strings is."""
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


# A row that is seen though its transaction goes on is the load's own, or its caller's from before
# the stage was made. xmin lacks the epoch.
_IS_OURS = (
    "age(xmin) <= age(began) AND pg_catalog.pg_xact_status("
    "(this - (this - xmin::text::int8) % 4294967296)::text::xid8) = 'in progress'"
)
# The stage's row type is as old as the load, whatever TRUNCATE makes of its file.
_DECLARE = """
DECLARE
  at int8 := 0;
  up_to int8;
  size int8 := {piece};
  final int8 := (SELECT coalesce(max({place}), -1) FROM {stage});
  began xid := (SELECT xmin FROM pg_catalog.pg_type WHERE oid = '{stage}'::regtype);
  this int8 := pg_catalog.pg_current_xact_id()::text::int8;
  entered int8 := 0;
  added int8;
  is_ours bool;
  message text; detail text; constraint_name text; column_name text;
"""
_IN_PIECES = """
BEGIN
  WHILE at <= final LOOP
    up_to := least(at + size - 1, final);
    BEGIN
      {insert} WHERE {place} BETWEEN at AND up_to
      ORDER BY {place};
      GET DIAGNOSTICS added = ROW_COUNT;
      entered := entered + added;
      at := up_to + 1;
      size := least(size * 2, {piece});
    EXCEPTION WHEN OTHERS THEN
      IF left(SQLSTATE, 2) = ANY ({servers_own}) THEN
        RAISE;
      ELSIF at < up_to THEN
        size := (up_to - at + 1) / 2;
      ELSE
        {note}
        at := at + 1;
        size := 1;
      END IF;
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.entered', entered::text, true);
END
"""
_SINGLY = """
BEGIN
  FOR at IN SELECT {place} FROM {stage} ORDER BY 1 LOOP
    BEGIN
      {insert} WHERE {place} = at;
      GET DIAGNOSTICS added = ROW_COUNT;
      entered := entered + added;
    EXCEPTION WHEN OTHERS THEN
      IF left(SQLSTATE, 2) = ANY ({servers_own}) THEN
        RAISE;
      END IF;
      {note}
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.entered', entered::text, true);
END
"""
# Writes down the row that was just refused.
_NOTE = """
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
          constraint_name = CONSTRAINT_NAME, column_name = COLUMN_NAME;
        is_ours := NULL;
        IF SQLSTATE = '23505' THEN
          {told_apart}
        END IF;
        INSERT INTO pg_temp.ingest_refused
        VALUES (at, SQLSTATE, message, detail, constraint_name, column_name, is_ours);
"""
