"""The statement by which the server settles the rows of one batch; see ``Settling``.

All of it is one DO, so that a batch takes few round trips. What it works on:

- the stage has the batch's rows as they were sent, each with its record's number as its place;
- ``work`` has the rows that are being settled, with the row of the table that each one meets, and
  what is to become of it (``WHAT``);
- ``seen`` has the keys of the load's rows, each with the record that holds it now;
- ``repeated`` has the rows of the batch that wait for another one of the same key;
- ``todo`` has the places of the rows of the next round;
- ``refused`` has the rows that were refused, with what PostgreSQL said;
- ``fresh`` has the keys of the inserted rows;
- ``noted`` has rows of ``seen`` as text, for the ledger, where a load is committed in chunks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name
from ingest.postgres.errors import OF_STATEMENT, SERVERS_OWN
from ingest.writing.conflicts.old_values import exactly_in_block
from ingest.writing.row_by_row import begin_outer, end_outer
from ingest.writing.staging import own_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

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
        """Whether rows can be found by their ctid: not among partitions, whose ctids are alike."""
        self.has_versions = True
        """Whether the xmin of a row tells its versions apart."""
        self.looked_at = table.qualified_name
        """Where the rows that a batch meets are looked for."""

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
            f"NULL::pg_catalog.xid AS {own}xmin, ''::pg_catalog.text AS {own}final, "
            f"''::pg_catalog.text AS {own}what, ''::pg_catalog.text AS {own}earlier"
            f"{self._originals(self._base, 's', ', ')} "
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
            f"0::bigint AS {own}seen_place, ''::pg_catalog.text AS {own}what"
            f"{self._originals(self._base, 's', ', ')} "
            f"FROM (SELECT *, {keys} FROM {stage.name}) s WITH NO DATA; "
            f"CREATE UNIQUE INDEX ON {tables.seen} ({', '.join(self._keys)}){nulls}"
        )

    @property
    def emptying(self) -> str:
        """The statements that empty the tables of one batch, outside savepoints."""
        tables = self.tables
        names = (tables.work, tables.repeated, tables.todo, tables.refused, tables.fresh)
        return f"TRUNCATE {', '.join(names)}"

    @property
    def index_columns(self) -> str:
        """The columns of the unique index of ``seen``."""
        return ", ".join(self._keys)

    @property
    def noting(self) -> str:
        """The statement that notes the keys of a batch for the ledger, once it is settled."""
        own, tables = self.own, self.tables
        return (
            f"INSERT INTO {tables.noted} (row) SELECT (e)::pg_catalog.text "
            f"FROM {self._keyed} s, {tables.seen} e WHERE {self._is_keyed('s')} "
            f"AND {self._same_key('e', 's')} AND e.{own}seen_place OPERATOR(pg_catalog.=) "
            f"s.{self._stage.place} AND e.{own}seen_file OPERATOR(pg_catalog.=) "
            "pg_catalog.current_setting('ingest.file')::bigint"
        )

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

    def _base(self, place: int) -> str:
        """Name the column that has the original value of the given column at this place."""
        return f"{self.own}b{place}"

    def _originals(self, name_of: Callable[[int], str], row: str, before: str) -> str:
        """Select the given columns under other names, where the originals are kept."""
        if not self._tracks_outcomes:
            return ""
        return "".join(
            f"{before}{row}.{quote_name(name)} AS {name_of(place)}"
            for place, name in enumerate(self._changes.given)
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
        what = self._judge("t", "s", f"WHEN {is_moved} THEN '{LOOK}' ")
        found = (
            f"SELECT t.{own}tid, {what} AS {own}what FROM ("
            f"SELECT ctid AS {own}tid, xmax AS {own}moved, {keys}{old} "
            f"FROM {self.looked_at} WHERE {key.predicate or 'true'}) t "
            f"WHERE {self._is_keyed('s')} AND {self._same_key('t', 's')} LIMIT 1"
        )
        return (
            f"INSERT INTO {self.tables.work} ({columns}, {self._stage.place}, "
            f"{', '.join(self._keys)}, {own}tid, {own}what, {own}earlier) "
            f"SELECT {', '.join(f's.{quote_name(name)}' for name in self._names)}, "
            f"s.{self._stage.place}, {', '.join(f's.{name}' for name in self._keys)}, m.{own}tid, "
            f"coalesce(m.{own}what, '{self._absent}'), '' "
            f"FROM {self._keyed} s LEFT JOIN LATERAL ({found}) m ON true "
            f"{'WHERE ' + self._is_todo('s') if only_todo else ''}"
        )

    @property
    def _absent(self) -> str:
        """What becomes of a record without a row."""
        if not self._options.inserts:
            return MISSING
        return LACKING if self._lacks else INSERT

    def _meet_last(self, *, only_todo: bool) -> str:
        """Find the row that each row of the stage meets, where the last record of a key counts.

        An earlier record of the key may have changed the row already. What counts is how the row
        was before the load: that is compared, and what the earlier record changed is put back. So
        it makes no difference which records come in one batch. ``work`` gets the values that the
        row is to have, all of them, and says in ``final`` what becomes of the record.
        """
        own, key, changes = self.own, self._key, self._changes
        keys = ", ".join(
            f"({item}) AS {name}" for item, name in zip(key.expressions, self._keys, strict=True)
        )
        given = changes.given
        bases = {name: self._base(place) for place, name in enumerate(given)}
        old = "".join(f", {quote_name(name)} AS {own}o{at}" for at, name in enumerate(given))
        of_table = (
            f"SELECT ctid AS {own}tid, xmin AS {own}xmin, {keys}{old} "
            f"FROM {self.looked_at} WHERE {key.predicate or 'true'}"
        )
        was_there = f"e.{own}what OPERATOR(pg_catalog.<>) '{INSERT}'"
        base = ", ".join(
            f"CASE WHEN {was_there} THEN e.{bases[name]} ELSE t.{own}o{at} END "
            f"AS {quote_name(name)}"
            for at, name in enumerate(given)
        )
        base = base or "NULL"
        judged = self._judge("b", "s") if self._options.updates else f"'{IGNORED}'"
        final = (
            f"CASE WHEN t.{own}tid IS NULL THEN '{self._absent}' "
            f"WHEN e.{own}what OPERATOR(pg_catalog.=) '{INSERT}' THEN '{INSERT}' ELSE {judged} END"
        )
        values = []
        for name in self._names:
            if name not in bases:
                values.append(f"s.{quote_name(name)}")
                continue
            kept = f"b.{quote_name(name)}"
            new = changes.value(name, "b", "s") if name in changes.columns else kept
            values.append(
                f"CASE WHEN {_is('f.what', INSERT)} THEN s.{quote_name(name)} "
                f"WHEN {_is('f.what', UPDATE)} THEN {new} ELSE {kept} END"
            )
        written = {
            name: value for name, value in zip(self._names, values, strict=True) if name in bases
        }
        differs = " OR ".join(
            changes.differs(name, f"t.{own}o{at}", f"({written[name]})")
            for at, name in enumerate(given)
        )
        what = (
            f"CASE WHEN t.{own}tid IS NULL THEN f.what "
            f"WHEN {differs or 'false'} THEN '{UPDATE}' ELSE '{UNCHANGED}' END"
        )
        columns = [quote_name(name) for name in self._names]
        columns += [self._stage.place, *self._keys]
        columns += [f"{own}{name}" for name in ("tid", "xmin", "what", "final", "earlier")]
        columns += bases.values()
        selected = [*values, f"s.{self._stage.place}", *(f"s.{name}" for name in self._keys)]
        selected += [f"t.{own}tid", f"t.{own}xmin", what, "f.what", f"coalesce(e.{own}what, '')"]
        selected += [f"b.{quote_name(name)}" for name in given]
        return (
            f"INSERT INTO {self.tables.work} ({', '.join(columns)}) SELECT {', '.join(selected)} "
            f"FROM {self._keyed} s "
            f"LEFT JOIN LATERAL (SELECT * FROM {self.tables.seen} n WHERE {self._is_keyed('s')} "
            f"AND {self._same_key('n', 's')} LIMIT 1) e ON true "
            f"LEFT JOIN LATERAL (SELECT * FROM ({of_table}) t WHERE {self._is_keyed('s')} "
            f"AND {self._same_key('t', 's')} LIMIT 1) t ON true "
            f"CROSS JOIN LATERAL (SELECT {base} OFFSET 0) b "
            f"CROSS JOIN LATERAL (SELECT {final} AS what OFFSET 0) f "
            f"{'WHERE ' + self._is_todo('s') if only_todo else ''}"
        )

    def _judge(self, row: str, record: str, looked: str = "") -> str:
        """Say what is to become of a record that meets a row.

        ``looked`` is a branch of a CASE for a row that is not to be updated.
        """
        if not self._options.updates:
            return f"CASE {looked}ELSE '{IGNORED}' END" if looked else f"'{IGNORED}'"
        differ, newer = self._changes.differ(row, record), self._changes.is_newer(row, record)
        if self._changes.newest is None:
            return f"CASE WHEN {differ} THEN '{UPDATE}' {looked}ELSE '{UNCHANGED}' END"
        return (
            f"CASE WHEN ({differ}) AND {newer} THEN '{UPDATE}' {looked}"
            f"WHEN {differ} THEN '{IGNORED}' ELSE '{UNCHANGED}' END"
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
        # What is written depends on the row as it was seen.
        if self._tracks_outcomes and self.has_versions:
            parts.append(f"{row}.xmin OPERATOR(pg_catalog.=) {record}.{own}xmin")
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
        judged = self._judge(row, record)
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
        if self._changes.newest is not None and not self._tracks_outcomes:
            # Another transaction may have brought a newer value since.
            where += f" AND {self._changes.is_newer(row, record)}"
        return row, work, where

    def _update(self) -> str:
        row, work, where = self._updated()
        values = self._assignments(row)
        if not values:
            return "NULL"
        return f"UPDATE {self._table.qualified_name} {row} SET {values} FROM {work} WHERE {where}"

    def _assignments(self, row: str) -> str:
        record, changes = f"{self.own}w", self._changes
        if not self._tracks_outcomes:
            return changes.assignments(row, record)
        return ", ".join(
            f"{quote_name(name)} = {record}.{quote_name(name)}" for name in self.set_columns
        )

    @property
    def set_columns(self) -> tuple[str, ...]:
        """The columns that an UPDATE sets."""
        if self._tracks_outcomes:
            return (*self._changes.given, *self._changes.automatic)
        return self._changes.set

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
        if old_values is not None and self.set_columns:
            row, work, where = self._updated()
            rows = f"{self._table.qualified_name} {row}, {work} WHERE {where}"
            if not self.has_row_ids:
                # Else the UPDATE finds a row that was changed since by its ctid to be another one.
                rows += f" FOR NO KEY UPDATE OF {row}"
            key = None
            if self._tracks_outcomes and old_values.key in self.set_columns:
                key = f"{own}w.{quote_name(old_values.key)}"
            elif old_values.key in self._changes.columns:
                key = self._changes.value(old_values.key, row, f"{own}w")
            keep = exactly_in_block(old_values.keep_updated(row, rows, key))
        update = self._update()
        meet = self._meet_last if self._tracks_outcomes else self._meet
        parts = {
            "own": own,
            "place": place,
            "stage": self._stage.name,
            **dataclasses.asdict(tables),
            "meet_all": meet(only_todo=False),
            "meet_todo": meet(only_todo=True),
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
            "begin_outer": begin_outer(self._table),
            "end_outer": end_outer(self._table),
            "after_refused": _END.format(own=own) if self._ends_at_first else "",
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
        values = self._assignments(row)
        if not values or not (self._options.updates or self._tracks_outcomes):
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
        # Most batches repeat no key, and to insert without a look at conflicts is faster.
        return f"""
  BEGIN
    {self._note_keys(only_todo=False)};
  EXCEPTION WHEN unique_violation THEN
    {self._note_keys(only_todo=False)} ON CONFLICT DO NOTHING;
    {self._find_repeated("")}
    {self._all_but_repeated()}
    {own}is_first := false;
  END;"""

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
    {self._note_keys(only_todo=True)} ON CONFLICT DO NOTHING;
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
            f"ORDER BY {keys}, s.{self._stage.place}"
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
        bases = [self._base(at) for at in range(len(self._changes.given))]
        set_ = ", ".join(
            f"{name} = EXCLUDED.{name}"
            for name in (f"{own}seen_file", f"{own}seen_place", f"{own}what", *bases)
        )
        selected = [f"w.{name}" for name in self._keys]
        selected += [f"{own}file", f"w.{place}", f"w.{own}final", *(f"w.{it}" for it in bases)]
        return f"""
    INSERT INTO {tables.seen} AS e
    SELECT {", ".join(selected)}
    FROM {tables.work} w JOIN {self._keyed} s
      ON s.{place} OPERATOR(pg_catalog.=) w.{place} AND {self._is_keyed("s")}
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{_SETTLED}}}'::pg_catalog.text[])
    ON CONFLICT ({keys}) DO UPDATE SET {set_};"""

    def _count_settled(self) -> str:
        """Add up what became of the rows of ``work``."""
        own = self.own
        what = f"w.{own}{'final' if self._tracks_outcomes else 'what'}"
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


_END = "{own}is_over := true; {own}at := {own}final OPERATOR(pg_catalog.+) 1; EXIT;"
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
CREATE TEMPORARY TABLE {noted} (
  place bigint GENERATED ALWAYS AS IDENTITY, row pg_catalog.text
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
  {own}failed integer := 0;
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
      {begin_outer}
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
        {own}failed := {own}failed OPERATOR(pg_catalog.+) 1;
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
      {end_outer}
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
