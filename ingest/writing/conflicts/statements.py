"""The statement by which the server settles the rows of one batch; see ``Settling``.

All of it is one DO, so that a batch takes few round trips. What it works on:

- the stage has the batch's rows as they were sent, each with its record's number as its place;
- ``work`` has the rows that are being settled, with the row of the table that each one meets, and
  what is to become of it (``WHAT``);
- ``seen`` has the keys of the load's rows, each with the record that holds it now;
- ``repeated`` has the rows of the batch that wait for another one of the same key;
- ``todo`` has the places of the rows of the next round;
- ``refused`` has the rows that were refused, with what PostgreSQL said;
- ``fresh`` has the keys of the inserted rows.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name
from ingest.postgres.errors import OF_STATEMENT, SERVERS_OWN
from ingest.writing.conflicts.old_values import exactly_in_block
from ingest.writing.staging import own_prefix

if TYPE_CHECKING:
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.changes import Changes
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.options import ConflictOptions
    from ingest.writing.conflicts.tables import TemporaryTables
    from ingest.writing.staging import StagingTable

INSERT, UPDATE, UNCHANGED, IGNORED = "i", "u", "n", "g"
LOOK, MISSING, LACKING = "c", "m", "l"
"""What is to become of a row. ``LOOK``: another transaction may be changing the row of the table,
which is locked and looked at again. ``MISSING``: the table lacks its key, and nothing is inserted.
``LACKING``: it would be inserted, but a required column has no value."""
_SETTLED = f"{INSERT},{UPDATE},{UNCHANGED},{IGNORED}"
MISSING_STATE, LACKING_STATE, KEPT_OUT_STATE = "INGM1", "INGL1", "INGK1"
"""Written instead of an SQLSTATE for rows that no statement of PostgreSQL's has refused."""
ROUNDS = 10
"""How often a row is looked at again that other transactions insert and delete meanwhile; after
that a trigger or row security keeps it out."""
PIECE_ROWS = 4_096
"""Rows tried at a time once all of a batch were refused together."""


class Settling:
    """Writes the statements for one load."""

    def __init__(  # noqa: PLR0913 - what the statements name, each once
        self,
        table: Table,
        key: ConflictKey,
        changes: Changes,
        options: ConflictOptions,
        stage: StagingTable,
        names: tuple[str, ...],
        *,
        returned: str,
        lacks: bool,
        ends_at_first: bool,
        tables: TemporaryTables,
    ) -> None:
        """``names`` are the columns that are sent; ``returned`` the one of the primary key, if any.

        ``lacks``: no row can be inserted, because a required column has no value.
        """
        self._table, self._key, self._changes, self._options = table, key, changes, options
        self._stage, self._names, self._returned = stage, names, returned
        self._lacks, self._ends_at_first = lacks, ends_at_first
        self.tables = tables
        self.own = own_prefix(table)
        self._keys = [f"{self.own}k{place}" for place in range(1, len(key.expressions) + 1)]
        self.has_row_ids = table.kind == "r" and table.size is not None
        """Can rows be found by their ctid? Not among partitions, whose ctids are alike."""

    # Making the tables

    def create(self, session: Session, *, keeps_seen: bool, makes_seen: bool) -> None:
        """Make the temporary tables; with ``keeps_seen`` the keys outlive the transaction."""
        tables, own, stage = self.tables, self.own, self._stage
        place = stage.place
        keys = ", ".join(
            f"({item}) AS {name}"
            for item, name in zip(self._key.expressions, self._keys, strict=True)
        )
        columns = ", ".join(map(quote_name, self._names))
        key_type = quote_name(self._returned) if self._returned else "0"
        session.execute(
            f"CREATE TEMPORARY TABLE {_bare(tables.work)} ON COMMIT DROP AS SELECT {columns}, "
            f"{place}, {', '.join(self._keys)}, NULL::pg_catalog.tid AS {own}tid, "
            f"''::pg_catalog.text AS {own}what, ''::pg_catalog.text AS {own}earlier "
            f"FROM (SELECT *, {keys} FROM {stage.name}) s WITH NO DATA; "
            f"CREATE TEMPORARY TABLE {_bare(tables.fresh)} ON COMMIT DROP AS "
            f"SELECT {key_type} AS key FROM {self._table.qualified_name} WITH NO DATA"
        )
        session.execute(
            _CREATE.format(**{name: _bare(table) for name, table in vars(tables).items()})
        )
        if not makes_seen:
            return
        lasts = "PRESERVE ROWS" if keeps_seen else "DROP"
        nulls = " NULLS NOT DISTINCT" if self._key.nulls_are_equal else ""
        session.execute(
            f"CREATE TEMPORARY TABLE {_bare(tables.seen)} ON COMMIT {lasts} AS "
            f"SELECT {', '.join(self._keys)}, 0::bigint AS {own}seen_file, "
            f"0::bigint AS {own}seen_place, ''::pg_catalog.text AS {own}what "
            f"FROM (SELECT {keys} FROM {stage.name}) s WITH NO DATA; "
            f"CREATE UNIQUE INDEX ON {tables.seen} ({', '.join(self._keys)}){nulls}"
        )

    @property
    def emptying(self) -> str:
        """The statements that empty the tables of one batch, outside savepoints."""
        tables = self.tables
        names = (tables.work, tables.repeated, tables.todo, tables.refused, tables.fresh)
        return f"TRUNCATE {', '.join(names)}"

    # The parts of the statement

    @property
    def _keyed(self) -> str:
        """Rows of the stage with the expressions of the key, and whether they can meet a row."""
        keys = ", ".join(
            f"({item}) AS {name}"
            for item, name in zip(self._key.expressions, self._keys, strict=True)
        )
        return (
            f"(SELECT *, {keys}, ({self._key.predicate or 'true'}) AS {self.own}in "
            f"FROM {self._stage.name})"
        )

    def _is_keyed(self, row: str) -> str:
        present = (
            ""
            if self._key.nulls_are_equal
            else "".join(f" AND {row}.{name} IS NOT NULL" for name in self._keys)
        )
        return f"{row}.{self.own}in{present}"

    def _same_key(self, one: str, other: str) -> str:
        """Compare two keys whose expressions have the names of ``_keys`` in both."""
        parts = []
        for name, operator in zip(self._keys, self._key.operators, strict=True):
            part = f"{one}.{name} {operator} {other}.{name}"
            if self._key.nulls_are_equal:
                part = f"({part} OR {one}.{name} IS NULL AND {other}.{name} IS NULL)"
            parts.append(part)
        return " AND ".join(parts)

    def _order(self, row: str) -> str:
        return ", ".join(
            f"{row}.{name}{' COLLATE pg_catalog.' + quote_name('C') if can else ''}"
            for name, can in zip(self._keys, self._key.collatable, strict=True)
        )

    def _meet(self, *, only_todo: bool) -> str:
        """Find the row of the table that each row of the stage meets."""
        own, key = self.own, self._key
        keys = ", ".join(
            f"({item}) AS {name}" for item, name in zip(key.expressions, self._keys, strict=True)
        )
        columns = ", ".join(map(quote_name, self._names))
        looked_at = dict.fromkeys((*self._changes.columns, self._changes.newest))
        old = "".join(f", {quote_name(name)}" for name in looked_at if name is not None)
        is_moved = f"pg_catalog.age(t.{own}moved) OPERATOR(pg_catalog.<=) {own}since"
        what = self._judge("t", "s", f"e.{own}what", f"WHEN {is_moved} THEN '{LOOK}' ")
        absent = INSERT if self._options.inserts else MISSING
        if self._lacks and self._options.inserts:
            absent = LACKING
        found = (
            f"SELECT t.{own}tid, {what} AS {own}what FROM ("
            f"SELECT ctid AS {own}tid, xmax AS {own}moved, {keys}{old} "
            f"FROM {self._table.qualified_name} WHERE {key.predicate or 'true'}) t "
            f"WHERE {self._is_keyed('s')} AND {self._same_key('t', 's')} LIMIT 1"
        )
        earlier, joined = "''", ""
        if self._tracks_outcomes:
            earlier = f"coalesce(e.{own}what, '')"
            joined = (
                f"LEFT JOIN LATERAL (SELECT n.{own}what FROM {self.tables.seen} n "
                f"WHERE {self._is_keyed('s')} AND {self._same_key('n', 's')} LIMIT 1) e ON true "
            )
        return (
            f"INSERT INTO {self.tables.work} ({columns}, {self._stage.place}, "
            f"{', '.join(self._keys)}, {own}tid, {own}what, {own}earlier) "
            f"SELECT {', '.join(f's.{quote_name(name)}' for name in self._names)}, "
            f"s.{self._stage.place}, {', '.join(f's.{name}' for name in self._keys)}, m.{own}tid, "
            f"coalesce(m.{own}what, '{absent}'), {earlier} "
            f"FROM {self._keyed} s {joined}LEFT JOIN LATERAL ({found}) m ON true "
            f"{'WHERE ' + self._is_todo('s') if only_todo else ''}"
        )

    def _judge(self, row: str, record: str, earlier: str, looked: str = "") -> str:
        """Say what is to become of a record that meets a row.

        ``looked`` is a branch of a CASE for a row that is not to be updated.
        """
        differ, newer = self._changes.differ(row, record), self._changes.is_newer(row, record)
        if self._changes.newest is None:
            changed = f"CASE WHEN {differ} THEN '{UPDATE}' {looked}ELSE '{UNCHANGED}' END"
        else:
            changed = (
                f"CASE WHEN ({differ}) AND {newer} THEN '{UPDATE}' {looked}"
                f"WHEN {differ} THEN '{IGNORED}' ELSE '{UNCHANGED}' END"
            )
        if self._options.updates:
            return changed
        ignored = f"CASE {looked}ELSE '{IGNORED}' END" if looked else f"'{IGNORED}'"
        if not self._tracks_outcomes:
            return ignored
        # The row is the load's own: of the records of its key the last one was to be inserted.
        return (
            f"CASE WHEN {earlier} OPERATOR(pg_catalog.=) '{INSERT}' THEN {changed} "
            f"ELSE {ignored} END"
        )

    @property
    def _tracks_outcomes(self) -> bool:
        return self._options.duplicates == "last"

    def _joined(self, row: str, record: str) -> str:
        """Compare a row of the table with the one that a row of ``work`` has met.

        A row that was changed since is another one: it is looked for again.
        """
        own, key = self.own, self._key
        parts = []
        if self.has_row_ids:
            parts.append(f"{row}.ctid OPERATOR(pg_catalog.=) {record}.{own}tid")
        mine = [f"{row}.{quote_name(name)}" for name in key.plain] or [
            f"(SELECT ({item}) FROM (SELECT {row}.*) {own}one)" for item in key.expressions
        ]
        for one, name, operator in zip(mine, self._keys, key.operators, strict=True):
            other = f"{record}.{name}"
            part = f"{one} {operator} {other}"
            if key.nulls_are_equal:
                part = f"({part} OR {one} IS NULL AND {other} IS NULL)"
            parts.append(part)
        if key.predicate is not None and not set(key.predicate_columns) <= set(key.plain):
            parts.append(f"(SELECT ({key.predicate}) FROM (SELECT {row}.*) {own}one)")
        return " AND ".join(parts)

    def _lock(self) -> str:
        """Lock the rows that others may be changing, in the order of the key, and judge them."""
        own, tables = self.own, self.tables
        row, record = f"{own}t", f"{own}w"
        judged = self._judge(row, record, f"{record}.{own}earlier")
        strength = "NO KEY UPDATE" if self._options.updates else "KEY SHARE"
        return (
            f"WITH {own}locked AS MATERIALIZED (SELECT {record}.{self._stage.place} AS place, "
            f"{judged} AS what FROM {tables.work} {record}, {self._table.qualified_name} {row} "
            f"WHERE {record}.{own}what OPERATOR(pg_catalog.=) '{LOOK}' "
            f"AND {self._joined(row, record)} ORDER BY {self._order(record)} FOR {strength} "
            f"OF {row}) UPDATE {tables.work} {record} SET {own}what = l.what "
            f"FROM {own}locked l WHERE l.place OPERATOR(pg_catalog.=) {record}.{self._stage.place}"
        )

    def _in_range(self, row: str) -> str:
        own, place = self.own, self._stage.place
        return (
            f"{row}.{place} OPERATOR(pg_catalog.>=) {own}at "
            f"AND {row}.{place} OPERATOR(pg_catalog.<=) {own}up_to"
        )

    def _updated(self) -> tuple[str, str, str]:
        """Return the table's row and the rows that an UPDATE changes: FROM and WHERE."""
        own = self.own
        row, record = f"{own}t", f"{own}w"
        work = (
            f"(SELECT * FROM {self.tables.work} w WHERE w.{own}what OPERATOR(pg_catalog.=) "
            f"'{UPDATE}' AND {self._in_range('w')} ORDER BY {self._order('w')}) {record}"
        )
        where = self._joined(row, record)
        if self._changes.newest is not None:
            # Another transaction may have brought a newer value since.
            where += f" AND {self._changes.is_newer(row, record)}"
        return row, work, where

    def _update(self) -> str:
        row, work, where = self._updated()
        values = self._changes.assignments(row, f"{self.own}w")
        if not values:
            return "NULL"
        return f"UPDATE {self._table.qualified_name} {row} SET {values} FROM {work} WHERE {where}"

    def _insert(self) -> str:
        own, tables = self.own, self.tables
        names = ", ".join(map(quote_name, self._names))
        arbiter = self._key.arbiter
        conflict = "" if arbiter is None else f" ON CONFLICT {arbiter} DO NOTHING"
        statement = (
            f"INSERT INTO {self._table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {names} FROM {tables.work} w WHERE w.{own}what OPERATOR(pg_catalog.=) "
            f"'{INSERT}' AND {self._in_range('w')} ORDER BY w.{self._stage.place}{conflict}"
        )
        if not self._returned:
            return statement
        return (
            f"WITH {own}new AS ({statement} RETURNING {quote_name(self._returned)} AS {own}key) "
            f"INSERT INTO {tables.fresh} SELECT {own}key FROM {own}new"
        )

    # The statement

    def statement(self, old_values: OldValues | None) -> str:
        """Return the statement that settles the rows of the stage."""
        own, tables, place = self.own, self.tables, self._stage.place
        keep = ""
        if old_values is not None and self._changes.set:
            row, work, where = self._updated()
            rows = f"{self._table.qualified_name} {row}, {work} WHERE {where}"
            if not self.has_row_ids:
                # Else the UPDATE finds a row that was changed since by its ctid to be another one.
                rows += f" FOR NO KEY UPDATE OF {row}"
            key = None
            if old_values.key in self._changes.columns:
                key = self._changes.value(old_values.key, row, f"{own}w")
            keep = exactly_in_block(old_values.keep_updated(row, rows, key))
        update = self._update()
        parts = {
            "own": own,
            "place": place,
            "stage": self._stage.name,
            **dataclasses.asdict(tables),
            "meet_all": self._meet(only_todo=False),
            "meet_todo": self._meet(only_todo=True),
            "lock": self._lock(),
            "keep": keep,
            "update": update,
            "insert": self._insert(),
            "first_duplicates": self._find_duplicates(),
            "later_duplicates": self._find_again(),
            "note_outcomes": self._note_outcomes(),
            "count_settled": self._count_settled(),
            "missing_state": MISSING_STATE,
            "lacking_state": LACKING_STATE,
            "kept_out_state": KEPT_OUT_STATE,
            "after_refused": f"{own}is_over := true; EXIT;" if self._ends_at_first else "",
            "servers_own": _patterns(SERVERS_OWN),
            "of_statement": _patterns(OF_STATEMENT),
            "probe": self._probe(),
            "forget_refused": self._forget_refused(),
            "piece": PIECE_ROWS,
            "rounds": ROUNDS,
        }
        return f"DO {_literal(_SETTLE.format(**parts))}"

    def _probe(self) -> str:
        """Run the statements without a row: an error that is about them is raised again."""
        row = f"{self.own}t"
        names = ", ".join(map(quote_name, self._names))
        insert = (
            f"INSERT INTO {self._table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {names} FROM {self._stage.name} WHERE false"
        )
        values = self._changes.assignments(row, f"{self.own}w")
        if not values or not self._options.updates:
            return insert
        return (
            f"{insert if self._options.inserts else 'NULL'}; UPDATE {self._table.qualified_name} "
            f"{row} SET {values} FROM {self.tables.work} {self.own}w WHERE false"
        )

    def _find_duplicates(self) -> str:
        """Part rows that repeat a key of the load from the others, and note the keys."""
        own, tables, place = self.own, self.tables, self._stage.place
        if self._options.duplicates == "last":
            keys = ", ".join(f"s.{name}" for name in self._keys)
            return f"""
  INSERT INTO {tables.repeated}
  SELECT r.place, {own}file, r.last FROM (
    SELECT s.{place} AS place, pg_catalog.max(s.{place}) OVER (PARTITION BY {keys}) AS last
    FROM {self._keyed} s WHERE {self._is_keyed("s")}) r
  WHERE r.place OPERATOR(pg_catalog.<>) r.last;
  GET DIAGNOSTICS {own}added = ROW_COUNT;
  IF {own}added OPERATOR(pg_catalog.>) 0 THEN
    {self._all_but_repeated()}
    {own}is_first := false;
  END IF;"""
        return f"""
  {self._note_keys(only_todo=False)};
  GET DIAGNOSTICS {own}added = ROW_COUNT;
  IF {own}added OPERATOR(pg_catalog.<>) (
    SELECT pg_catalog.count(*) FROM {self._keyed} s WHERE {self._is_keyed("s")}) THEN
    {self._find_repeated("")}
    {self._all_but_repeated()}
    {own}is_first := false;
  END IF;"""

    def _find_again(self) -> str:
        """Let rows come in whose key was held by a row that was refused."""
        own, tables, place = self.own, self.tables, self._stage.place
        todo = f"""
    DELETE FROM {tables.todo};
    WITH {own}freed AS (
      DELETE FROM {tables.repeated} r
      WHERE r.of_file OPERATOR(pg_catalog.=) {own}file AND EXISTS (
        SELECT FROM {tables.refused} f WHERE f.place OPERATOR(pg_catalog.=) r.of_place)
      RETURNING r.place)
    INSERT INTO {tables.todo} SELECT place FROM {own}freed;
    GET DIAGNOSTICS {own}added = ROW_COUNT;
    EXIT WHEN {own}added OPERATOR(pg_catalog.=) 0;"""
        if self._options.duplicates == "last":
            keys = ", ".join(f"s.{name}" for name in self._keys)
            return f"""{todo}
    INSERT INTO {tables.repeated}
    SELECT r.place, {own}file, r.last FROM (
      SELECT s.{place} AS place, pg_catalog.max(s.{place}) OVER (PARTITION BY {keys}) AS last
      FROM {self._keyed} s WHERE {self._is_todo("s")}) r
    WHERE r.place OPERATOR(pg_catalog.<>) r.last;
    DELETE FROM {tables.todo} d WHERE EXISTS (
      SELECT FROM {tables.repeated} r WHERE r.place OPERATOR(pg_catalog.=) d.place);"""
        return f"""{todo}
    {self._note_keys(only_todo=True)};
    {self._find_repeated(f"AND {self._is_todo('s')}")}
    DELETE FROM {tables.todo} d WHERE EXISTS (
      SELECT FROM {tables.repeated} r WHERE r.place OPERATOR(pg_catalog.=) d.place);"""

    def _is_todo(self, row: str) -> str:
        return (
            f"EXISTS (SELECT FROM {self.tables.todo} d "
            f"WHERE d.place OPERATOR(pg_catalog.=) {row}.{self._stage.place})"
        )

    def _note_keys(self, *, only_todo: bool) -> str:
        own, keys = self.own, ", ".join(f"s.{name}" for name in self._keys)
        todo = f" AND {self._is_todo('s')}" if only_todo else ""
        return (
            f"INSERT INTO {self.tables.seen} SELECT {keys}, {own}file, s.{self._stage.place}, '' "
            f"FROM {self._keyed} s WHERE {self._is_keyed('s')}{todo} "
            f"ORDER BY {keys}, s.{self._stage.place} ON CONFLICT DO NOTHING"
        )

    def _find_repeated(self, condition: str) -> str:
        own, place = self.own, self._stage.place
        return f"""INSERT INTO {self.tables.repeated}
    SELECT s.{place}, e.{own}seen_file, e.{own}seen_place FROM {self._keyed} s, {self.tables.seen} e
    WHERE {self._is_keyed("s")} AND {self._same_key("e", "s")} {condition}
      AND NOT (e.{own}seen_file OPERATOR(pg_catalog.=) {own}file
               AND e.{own}seen_place OPERATOR(pg_catalog.=) s.{place});"""

    def _all_but_repeated(self) -> str:
        tables, place = self.tables, self._stage.place
        return f"""INSERT INTO {tables.todo} SELECT s.{place} FROM {self._stage.name} s
    WHERE NOT EXISTS (SELECT FROM {tables.repeated} r
                      WHERE r.place OPERATOR(pg_catalog.=) s.{place});"""

    def _note_outcomes(self) -> str:
        """Note what became of the records whose keys are settled, for a later one of the key."""
        own, tables, place = self.own, self.tables, self._stage.place
        if not self._tracks_outcomes:
            return ""
        keys = ", ".join(self._keys)
        return f"""
    INSERT INTO {tables.seen} AS e
    SELECT {", ".join(f"w.{name}" for name in self._keys)}, {own}file, w.{place},
           {self._merged("w")}
    FROM {tables.work} w JOIN {self._keyed} s
      ON s.{place} OPERATOR(pg_catalog.=) w.{place} AND {self._is_keyed("s")}
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{_SETTLED}}}'::pg_catalog.text[])
    ON CONFLICT ({keys}) DO UPDATE SET
      {own}seen_file = EXCLUDED.{own}seen_file, {own}seen_place = EXCLUDED.{own}seen_place,
      {own}what = EXCLUDED.{own}what;"""

    def _merged(self, row: str) -> str:
        """Say what became of a key whose earlier record is left out for this one.

        What an earlier record has inserted or updated stays so, whatever the later one adds.
        """
        own = self.own
        return (
            f"CASE WHEN {row}.{own}earlier OPERATOR(pg_catalog.=) "
            f"ANY ('{{{INSERT},{UPDATE}}}'::pg_catalog.text[]) THEN {row}.{own}earlier "
            f"ELSE {row}.{own}what END"
        )

    def _count_settled(self) -> str:
        """Add up what became of the rows of ``work``."""
        own = self.own
        what = self._merged("w") if self._tracks_outcomes else f"w.{own}what"
        return f"""
    SELECT {own}inserted OPERATOR(pg_catalog.+) pg_catalog.count(*) FILTER (
             WHERE {_is("f.what", INSERT)})
             OPERATOR(pg_catalog.-) pg_catalog.count(*) FILTER (WHERE {_is("f.earlier", INSERT)}),
           {own}updated OPERATOR(pg_catalog.+) pg_catalog.count(*) FILTER (
             WHERE {_is("f.what", UPDATE)})
             OPERATOR(pg_catalog.-) pg_catalog.count(*) FILTER (WHERE {_is("f.earlier", UPDATE)}),
           {own}unchanged OPERATOR(pg_catalog.+) pg_catalog.count(*) FILTER (
             WHERE {_is("f.what", UNCHANGED)})
             OPERATOR(pg_catalog.-) pg_catalog.count(*) FILTER (
               WHERE {_is("f.earlier", UNCHANGED)}),
           {own}ignored OPERATOR(pg_catalog.+) pg_catalog.count(*) FILTER (
             WHERE {_is("f.what", IGNORED)})
             OPERATOR(pg_catalog.-) pg_catalog.count(*) FILTER (
               WHERE {_is("f.earlier", IGNORED)}),
           {own}skipped OPERATOR(pg_catalog.+) pg_catalog.count(*) FILTER (
             WHERE f.earlier OPERATOR(pg_catalog.<>) '')
    INTO {own}inserted, {own}updated, {own}unchanged, {own}ignored, {own}skipped
    FROM (SELECT {what} AS what, w.{own}earlier AS earlier FROM {self.tables.work} w
          WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{_SETTLED}}}'::pg_catalog.text[])) f;"""

    def _forget_refused(self) -> str:
        """Free the keys of rows that were refused: a refused record is no duplicate."""
        own, tables, place = self.own, self.tables, self._stage.place
        if self._tracks_outcomes:
            return ""
        return f"""
      DELETE FROM {tables.seen} e USING {self._keyed} s, {tables.refused} f
      WHERE f.place OPERATOR(pg_catalog.=) s.{place} AND {self._is_keyed("s")}
        AND {self._same_key("e", "s")} AND e.{own}seen_file OPERATOR(pg_catalog.=) {own}file
        AND e.{own}seen_place OPERATOR(pg_catalog.=) s.{place};"""


def _bare(name: str) -> str:
    return name.removeprefix("pg_temp.")


def _patterns(states: tuple[str, ...]) -> str:
    return f"'{{{','.join(f'{state}%' for state in states)}}}'::pg_catalog.text[]"


def _literal(text: str) -> str:
    """Quote a constant for SQL, whatever standard_conforming_strings is."""
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _is(expression: str, value: str) -> str:
    return f"{expression} OPERATOR(pg_catalog.=) '{value}'"


# The plan of the UPDATE and of the lock: row by row, by ctid or by the key's index. The planner
# knows nothing of the temporary tables and might read the whole table instead.
_NESTED = """PERFORM pg_catalog.set_config('ingest.hashjoin',
          pg_catalog.current_setting('enable_hashjoin'), true),
        pg_catalog.set_config('ingest.mergejoin',
          pg_catalog.current_setting('enable_mergejoin'), true),
        pg_catalog.set_config('enable_hashjoin', 'off', true),
        pg_catalog.set_config('enable_mergejoin', 'off', true);"""
_AS_BEFORE = """PERFORM pg_catalog.set_config('enable_hashjoin',
          pg_catalog.current_setting('ingest.hashjoin'), true),
        pg_catalog.set_config('enable_mergejoin',
          pg_catalog.current_setting('ingest.mergejoin'), true);"""
_COUNT = """SELECT pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'i'),
           pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'u'),
           pg_catalog.count(*) FILTER (WHERE w.{own}what OPERATOR(pg_catalog.=) 'c'),
           pg_catalog.count(*) FILTER (
             WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{m,l}}'::pg_catalog.text[]))"""
_CREATE = """
CREATE TEMPORARY TABLE {repeated} (place bigint, of_file bigint, of_place bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE {todo} (place bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE {refused} (
  place bigint, state pg_catalog.text, message pg_catalog.text, detail pg_catalog.text,
  constraint_name pg_catalog.text, column_name pg_catalog.text
) ON COMMIT DROP;
CREATE TEMPORARY TABLE {marks} () ON COMMIT DROP
"""
_SETTLE = (
    """
#variable_conflict use_column
DECLARE
  {own}file bigint := pg_catalog.current_setting('ingest.file')::bigint;
  {own}since integer := pg_catalog.age((
    pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text::bigint
      OPERATOR(pg_catalog.%) 4294967296)::pg_catalog.text::pg_catalog.xid);
  {own}is_first boolean := true;
  {own}is_whole boolean;
  {own}is_over boolean := false;
  {own}round integer := 0;
  {own}inserts bigint;
  {own}updates bigint;
  {own}looks bigint;
  {own}misses bigint;
  {own}added bigint;
  {own}at bigint;
  {own}up_to bigint;
  {own}final bigint;
  {own}size bigint;
  {own}inserted bigint := 0;
  {own}updated bigint := 0;
  {own}unchanged bigint := 0;
  {own}ignored bigint := 0;
  {own}skipped bigint := 0;
  {own}message pg_catalog.text;
  {own}detail pg_catalog.text;
  {own}constraint pg_catalog.text;
  {own}column pg_catalog.text;
BEGIN
  {first_duplicates}
  LOOP
    {own}round := {own}round OPERATOR(pg_catalog.+) 1;
    IF {own}is_first THEN
      {meet_all};
    ELSE
      {meet_todo};
    END IF;
    """
    + _COUNT
    + """, pg_catalog.min(w.{place}), pg_catalog.max(w.{place})
    INTO {own}inserts, {own}updates, {own}looks, {own}misses, {own}at, {own}final
    FROM {work} w;
    IF {own}looks OPERATOR(pg_catalog.>) 0 THEN
      """
    + _NESTED
    + """
      {lock};
      """
    + _AS_BEFORE
    + """
      """
    + _COUNT
    + """ INTO {own}inserts, {own}updates, {own}looks, {own}misses FROM {work} w;
    END IF;
    IF {own}misses OPERATOR(pg_catalog.>) 0 THEN
      INSERT INTO {refused} (place, state) SELECT w.{place},
        CASE WHEN w.{own}what OPERATOR(pg_catalog.=) 'm' THEN '{missing_state}'
             ELSE '{lacking_state}' END
      FROM {work} w WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{m,l}}'::pg_catalog.text[]);
      WITH {own}alike AS (
        DELETE FROM {repeated} r USING {refused} f
        WHERE r.of_file OPERATOR(pg_catalog.=) {own}file
          AND r.of_place OPERATOR(pg_catalog.=) f.place
          AND f.state OPERATOR(pg_catalog.=)
            ANY ('{{{missing_state},{lacking_state}}}'::pg_catalog.text[])
        RETURNING r.place, f.state)
      INSERT INTO {refused} (place, state) SELECT place, state FROM {own}alike;
    END IF;
    {own}is_whole := true;
    {own}size := {own}final OPERATOR(pg_catalog.-) {own}at OPERATOR(pg_catalog.+) 1;
    IF {own}inserts OPERATOR(pg_catalog.+) {own}updates OPERATOR(pg_catalog.=) 0 THEN
      {own}at := {own}final OPERATOR(pg_catalog.+) 1;
    END IF;
    WHILE {own}at OPERATOR(pg_catalog.<=) {own}final LOOP
      {own}up_to := least({own}at OPERATOR(pg_catalog.+) {own}size OPERATOR(pg_catalog.-) 1,
                          {own}final);
      IF NOT {own}is_whole THEN
        """
    + _COUNT
    + """ INTO {own}inserts, {own}updates, {own}looks, {own}misses
        FROM {work} w WHERE w.{place} OPERATOR(pg_catalog.>=) {own}at
          AND w.{place} OPERATOR(pg_catalog.<=) {own}up_to;
      END IF;
      BEGIN
        IF {own}updates OPERATOR(pg_catalog.>) 0 THEN
          """
    + _NESTED
    + """
          {keep}
          {update};
          GET DIAGNOSTICS {own}added = ROW_COUNT;
          """
    + _AS_BEFORE
    + """
          IF {own}added OPERATOR(pg_catalog.<>) {own}updates THEN
            RAISE EXCEPTION USING ERRCODE = '{kept_out_state}';
          END IF;
        END IF;
        IF {own}inserts OPERATOR(pg_catalog.>) 0 THEN
          {insert};
          GET DIAGNOSTICS {own}added = ROW_COUNT;
          IF {own}added OPERATOR(pg_catalog.<>) {own}inserts THEN
            RAISE EXCEPTION USING ERRCODE = '{kept_out_state}';
          END IF;
        END IF;
        INSERT INTO {marks} DEFAULT VALUES;
        {own}at := {own}up_to OPERATOR(pg_catalog.+) 1;
        {own}size := least({own}size OPERATOR(pg_catalog.*) 2, {piece});
      EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({servers_own}) THEN
          RAISE;
        ELSIF {own}at OPERATOR(pg_catalog.<) {own}up_to THEN
          IF {own}is_whole THEN
            CREATE INDEX ON {work} ({place});
            {own}is_whole := false;
          END IF;
          {own}size := least(({own}up_to OPERATOR(pg_catalog.-) {own}at OPERATOR(pg_catalog.+) 1)
                             OPERATOR(pg_catalog./) 2, {piece});
        ELSIF SQLSTATE OPERATOR(pg_catalog.=) '{kept_out_state}' THEN
          UPDATE {work} w SET {own}what = 'a' WHERE w.{place} OPERATOR(pg_catalog.=) {own}at;
          {own}at := {own}at OPERATOR(pg_catalog.+) 1;
          {own}size := 1;
        ELSE
          GET STACKED DIAGNOSTICS {own}message = MESSAGE_TEXT,
            {own}detail = PG_EXCEPTION_DETAIL, {own}constraint = CONSTRAINT_NAME,
            {own}column = COLUMN_NAME;
          IF SQLSTATE OPERATOR(pg_catalog.~~) ANY ({of_statement}) THEN
            {probe};  -- if it is about the statement, no row is needed for it
          END IF;
          INSERT INTO {refused} VALUES ({own}at, SQLSTATE, pg_catalog.left({own}message, 1000),
            pg_catalog.left({own}detail, 1000), {own}constraint, {own}column);
          UPDATE {work} w SET {own}what = 'r' WHERE w.{place} OPERATOR(pg_catalog.=) {own}at;
          {after_refused}
          {own}at := {own}at OPERATOR(pg_catalog.+) 1;
          {own}size := 1;
        END IF;
      END;
    END LOOP;
    EXIT WHEN {own}is_over;
    {note_outcomes}
    {count_settled}
    DELETE FROM {todo};
    INSERT INTO {todo} SELECT w.{place} FROM {work} w
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{a,c}}'::pg_catalog.text[]);
    GET DIAGNOSTICS {own}added = ROW_COUNT;
    {own}is_first := false;
    IF {own}added OPERATOR(pg_catalog.>) 0 AND {own}round OPERATOR(pg_catalog.<) {rounds} THEN
      DELETE FROM {work};
      CONTINUE;
    END IF;
    INSERT INTO {refused} (place, state) SELECT d.place, '{kept_out_state}' FROM {todo} d;
    EXIT WHEN NOT EXISTS (SELECT FROM {refused});
    {forget_refused}
    EXIT WHEN NOT EXISTS (SELECT FROM {repeated});
    {later_duplicates}
    DELETE FROM {work};
    {own}round := 0;
  END LOOP;
  PERFORM pg_catalog.set_config('ingest.settled', pg_catalog.concat_ws(',', {own}inserted,
    {own}updated, {own}unchanged, {own}ignored, {own}skipped), true);
END
"""
)
