"""Write the statements that try staged rows on the server and record the refused ones."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.postgres.citus import SAVEPOINTS
from ingest.postgres.errors import OF_STATEMENT, SERVERS_OWN, state_patterns
from ingest.postgres.quoting import quote_name, quote_text
from ingest.writing.staging import own_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.postgres.catalog import Table
    from ingest.writing.staging import StagedType, StagingTable

READ_ENTERED = "SELECT pg_catalog.current_setting('ingest.entered')::bigint"
"""A query for the number of rows that the last statement inserted, as counted by PostgreSQL."""
PIECE_ROWS = 4_096
"""The size of the first pieces: what a refused piece has inserted is lost."""

KEPT_OUT_STATE = "INGK1"
"""Stored instead of an SQLSTATE for a row that a trigger kept out without an error."""
KEPT_OUT = "The row was not written: a trigger on the table kept it out."


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniqueKey:
    """A unique key of the table."""

    name: str
    """The name that PostgreSQL reports, which a constraint and its index share."""
    expressions: tuple[str, ...]
    operators: tuple[str, ...]
    """The equality operator of each expression, with its schema."""
    predicate: str
    columns: tuple[str, ...]
    """The columns that the expressions and the predicate read."""
    plain: tuple[str, ...]
    """The columns that make up the key; empty if it has an expression."""
    parts: tuple[str, ...]
    """Its names in the partitions, which PostgreSQL reports."""

    @property
    def select(self) -> str:
        """The key's expressions for a SELECT, named k1, k2 and so on."""
        return ", ".join(f"({item}) AS k{place}" for place, item in enumerate(self.expressions, 1))

    def equal(self, one: str, other: str) -> str:
        """Return the condition that two such SELECTs with these aliases have the same key."""
        return " AND ".join(
            f"{one}.k{place} {operator} {other}.k{place}"
            for place, operator in enumerate(self.operators, 1)
        )


class RowByRow:
    """Writes the DO statements for the rows of a staging table."""

    def __init__(  # noqa: PLR0913 - what the statements name, each once
        self,
        table: Table,
        names: Sequence[str],
        keys: Sequence[UniqueKey],
        stage: StagingTable,
        *,
        refused: str,
        mark: str,
        check: str,
        types: Mapping[str, StagedType],
        ends_at_first: bool,
    ) -> None:
        """Prepare the statements: rows go from the stage into the table, or into ``refused``.

        ``mark`` is the statement that marks the subtransaction of inserted rows. ``check`` is a
        statement that checks deferred constraints and whose effect is rolled back. With
        ``ends_at_first``, no row is tried after the first refused one.
        """
        # PL/pgSQL confuses variables and columns with the same name, so no name that we choose may
        # be a column's. FOUND and SQLERRM cannot be renamed; there the column has precedence.
        self._own = own_prefix(table)
        self._table, self._stage, self._refused = table, stage, refused
        self._names = ", ".join(map(quote_name, names))
        self._mark = mark
        self._check = _CHECK.format(check=check) if check else ""
        self._after_refused = _END if ends_at_first else ""
        self._types_of = {name: types[name] for name in names}
        self._read = ", ".join(types[name].read for name in names)
        self._refusing = [(name, types[name]) for name in names if types[name].is_read]
        self._keys, self._types = keys, types

    @property
    def in_pieces(self) -> str:
        """The statement that tries the stage's rows, many at a time."""
        return self._do(_IN_PIECES)

    @property
    def singly(self) -> str:
        """The statement that tries the stage's rows one by one."""
        return self._do(_SINGLY)

    def _do(self, body: str) -> str:
        own = {"own": self._own, "stage": self._stage.name, "place": self._stage.place}
        note = _NOTE.format(
            **own,
            refused=self._refused,
            tell_apart="\n        ELS".join(map(self._tell_apart, self._keys)) + "\n        END IF;"
            if self._keys
            else "",
            find_column="".join(map(self._find_column, self._refusing)),
            of_statement=state_patterns(OF_STATEMENT),
            probe=f"INSERT INTO {self._table.qualified_name} ({self._names}) "
            f"OVERRIDING SYSTEM VALUE SELECT {self._read} FROM {self._stage.name} WHERE false",
        )
        text = (_DECLARE + body).format(
            **own,
            insert_one=self._insert_one,
            begin_outer=begin_outer(self._table),
            end_outer=end_outer(self._table),
            end_one="END IF;" if self._insert_one else "",
            insert=f"INSERT INTO {self._table.qualified_name} ({self._names}) "
            f"OVERRIDING SYSTEM VALUE SELECT {self._read} FROM {self._stage.name}",
            piece=PIECE_ROWS,
            note=note,
            is_short=_IS_SHORT.format(**own),
            mark=self._mark,
            check=self._check,
            after_refused=self._after_refused.format(own=self._own),
            servers_own=state_patterns(SERVERS_OWN),
        )
        return f"DO {quote_text(text)}"

    @property
    def _insert_one(self) -> str:
        """The statements that try a single row, if that is done differently than for many.

        Citus sends a row of VALUES to its shard in a statement, whose errors come back with their
        SQLSTATE. Rows of a SELECT are sent by COPY, whose errors come back as a message only.
        """
        if self._table.distribution is None:
            return ""
        own, stage = self._own, self._stage
        names = [quote_name(name) for name in self._types_of]
        read = ", ".join(
            f"{item.read} AS {name}"
            for name, item in zip(names, self._types_of.values(), strict=True)
        )
        values = ", ".join(f"{own}row.{name}" for name in names)
        return f"""
        IF {own}at OPERATOR(pg_catalog.=) {own}up_to THEN
          FOR {own}row IN SELECT {read} FROM {stage.name}
              WHERE {stage.place} OPERATOR(pg_catalog.=) {own}at LOOP
            INSERT INTO {self._table.qualified_name} ({self._names}) OVERRIDING SYSTEM VALUE
            VALUES ({values});
            GET DIAGNOSTICS {own}added = ROW_COUNT;
          END LOOP;
        ELSE"""

    def _tell_apart(self, key: UniqueKey) -> str:
        """Write the code that finds out whether the row with the same key is the load's own."""
        own, stage = self._own, self._stage
        read = ", ".join(f"{self._types[name].read} AS {quote_name(name)}" for name in key.columns)
        names = ", ".join(map(quote_text, (key.name, *key.parts)))
        return f"""IF {own}constraint OPERATOR(pg_catalog.=) ANY (ARRAY[{names}]) THEN
          SELECT pg_catalog.bool_or({_IS_OURS.format(own=own)}) INTO {own}is_ours
          FROM (SELECT xmin AS inserted_by, {key.select} FROM {self._table.qualified_name}
                WHERE {key.predicate}) AS there,
               (SELECT {key.select} FROM
                 (SELECT {read} FROM {stage.name}
                  WHERE {stage.place} OPERATOR(pg_catalog.=) {own}at) AS typed) AS refused
          WHERE {key.equal("there", "refused")};"""

    def _find_column(self, column: tuple[str, StagedType]) -> str:
        """Write the code that finds out whether this column's type refused its value."""
        name, said = column
        own, stage = self._own, self._stage
        return f"""
          IF {own}column OPERATOR(pg_catalog.=) '' THEN
            BEGIN
              PERFORM {said.read}::{said.declared} FROM {stage.name}
              WHERE {stage.place} OPERATOR(pg_catalog.=) {own}at;
            EXCEPTION WHEN OTHERS THEN
              {own}column := {quote_text(name)};
            END;
          END IF;"""


def begin_outer(table: Table) -> str:
    """Return PL/pgSQL that begins an outer savepoint and a loop over pieces, or ""."""
    if table.distribution is None:
        return ""
    own = own_prefix(table)
    return f"""
    BEGIN
    {own}failed := 0;
    WHILE {own}at OPERATOR(pg_catalog.<=) {own}final
      AND {own}failed OPERATOR(pg_catalog.<) {SAVEPOINTS} LOOP"""


def end_outer(table: Table) -> str:
    """Return PL/pgSQL that ends it: a block that catches errors is a savepoint."""
    if table.distribution is None:
        return ""
    return """
    END LOOP;
    EXCEPTION WHEN SQLSTATE 'ZIN02' THEN  -- which nobody raises
      NULL;
    END;"""


# A visible row whose transaction is in progress is the load's own, unless the caller inserted it
# before the stage was created. xmin lacks the epoch.
_IS_OURS = """
            pg_catalog.age(there.inserted_by)
              OPERATOR(pg_catalog.<=) pg_catalog.age({own}began)
            AND pg_catalog.pg_xact_status((
              {own}this OPERATOR(pg_catalog.-) (
                ({own}this OPERATOR(pg_catalog.-) there.inserted_by::pg_catalog.text::bigint)
                OPERATOR(pg_catalog.%) 4294967296)
            )::pg_catalog.text::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'in progress'"""
_END = "{own}at := {own}final OPERATOR(pg_catalog.+) 1; EXIT;"
# The stage's row type was created at the start of the load; TRUNCATE changes only the stage's file.
_DECLARE = """
#variable_conflict use_column
DECLARE
  {own}at bigint := 0;
  {own}up_to bigint;
  {own}size bigint := {piece};
  {own}final bigint := (SELECT coalesce(pg_catalog.max({place}), -1) FROM {stage});
  {own}began pg_catalog.xid := (SELECT t.xmin FROM pg_catalog.pg_type t
    WHERE t.oid OPERATOR(pg_catalog.=) '{stage}'::pg_catalog.regtype);
  {own}this bigint := pg_catalog.pg_current_xact_id()::pg_catalog.text::bigint;
  {own}entered bigint := 0;
  {own}added bigint;
  {own}is_ours boolean;
  {own}message pg_catalog.text;
  {own}detail pg_catalog.text;
  {own}constraint pg_catalog.text;
  {own}column pg_catalog.text;
  {own}row record;
  {own}failed integer := 0;
"""
_IN_PIECES = """
BEGIN
  WHILE {own}at OPERATOR(pg_catalog.<=) {own}final LOOP
    {begin_outer}
    {own}up_to := least({own}at OPERATOR(pg_catalog.+) {own}size OPERATOR(pg_catalog.-) 1,
                        {own}final);
    BEGIN
      {insert_one}
      {insert} WHERE {place} OPERATOR(pg_catalog.>=) {own}at
        AND {place} OPERATOR(pg_catalog.<=) {own}up_to
      ORDER BY {place};
      GET DIAGNOSTICS {own}added = ROW_COUNT;
      {end_one}
      {is_short}
      {mark};
      {check}
      {own}entered := {own}entered OPERATOR(pg_catalog.+) {own}added;
      {own}at := {own}up_to OPERATOR(pg_catalog.+) 1;
      {own}size := least({own}size OPERATOR(pg_catalog.*) 2, {piece});
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({servers_own}) THEN
        RAISE;
      ELSIF {own}at OPERATOR(pg_catalog.<) {own}up_to THEN
        {own}size := ({own}up_to OPERATOR(pg_catalog.-) {own}at OPERATOR(pg_catalog.+) 1)
                     OPERATOR(pg_catalog./) 2;
      ELSE
        {note}
        {after_refused}
        {own}at := {own}at OPERATOR(pg_catalog.+) 1;
        {own}size := 1;
      END IF;
      {own}failed := {own}failed OPERATOR(pg_catalog.+) 1;
    END;
    {end_outer}
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.entered', {own}entered::pg_catalog.text, true);
END
"""
_SINGLY = """
BEGIN
  FOR {own}at IN SELECT {place} FROM {stage} ORDER BY 1 LOOP
    {own}up_to := {own}at;
    BEGIN
      {insert} WHERE {place} OPERATOR(pg_catalog.=) {own}at;
      GET DIAGNOSTICS {own}added = ROW_COUNT;
      {is_short}
      {mark};
      {check}
      {own}entered := {own}entered OPERATOR(pg_catalog.+) {own}added;
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
      IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({servers_own}) THEN
        RAISE;
      END IF;
      {note}
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.entered', {own}entered::pg_catalog.text, true);
END
"""
# A trigger that returns NULL keeps a row out without an error.
_IS_SHORT = f"""IF {{own}}added OPERATOR(pg_catalog.<>) (
        SELECT pg_catalog.count(*) FROM {{stage}} WHERE {{place}} OPERATOR(pg_catalog.>=) {{own}}at
          AND {{place}} OPERATOR(pg_catalog.<=) {{own}}up_to
      ) THEN
        RAISE EXCEPTION USING ERRCODE = '{KEPT_OUT_STATE}', MESSAGE = '{KEPT_OUT}';
      END IF;"""
# If a block ends with an exception, the constraints are set again as they were before it.
_CHECK = """
      BEGIN
        {check};
        RAISE SQLSTATE 'ZIN01';
      EXCEPTION WHEN SQLSTATE 'ZIN01' THEN
        NULL;
      END;
"""
# Records the row that was just refused.
_NOTE = """
        GET STACKED DIAGNOSTICS {own}message = MESSAGE_TEXT, {own}detail = PG_EXCEPTION_DETAIL,
          {own}constraint = CONSTRAINT_NAME, {own}column = COLUMN_NAME;
        IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({of_statement}) THEN
          {probe};  -- if it is about the statement, no row is needed for it
        END IF;
        IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ('{{22%,23514}}'::pg_catalog.text[]) THEN
          {find_column}
        END IF;
        {own}is_ours := NULL;
        IF SQLSTATE OPERATOR(pg_catalog.=) '23505' THEN
          {tell_apart}
        END IF;
        INSERT INTO {refused}
        VALUES ({own}at, SQLSTATE, pg_catalog.left({own}message, 1000),
                pg_catalog.left({own}detail, 1000), {own}constraint, {own}column, {own}is_ours);
"""
