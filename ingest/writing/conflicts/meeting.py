"""Find the row of the table that has a record's key, and decide what to do with the record."""

from __future__ import annotations

from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.plan import (
    IGNORED,
    INSERT,
    LACKING,
    LOOK,
    MISSING,
    UNCHANGED,
    UPDATE,
    Plan,
    equals,
)


class Meeting(Plan):
    """Writes the SQL that looks up rows of the table."""

    def _meet(self, *, only_todo: bool) -> str:
        """Return the statement that finds the row of the table for each row of the stage."""
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
        place = self._stage.place
        into = (
            f"INSERT INTO {self.tables.work} ({columns}, {place}, {', '.join(self._keys)}, "
            f"{own}tid, {own}what, {own}earlier) "
        )
        selected = (
            f"SELECT {', '.join(f's.{quote_name(name)}' for name in self._names)}, s.{place}, "
            f"{', '.join(f's.{name}' for name in self._keys)}, m.{own}tid, "
            f"coalesce(m.{own}what, '{self._absent}'), '' "
        )
        condition = f"WHERE {self._is_todo('s')}" if only_todo else ""
        # In the order of the key, so that adjacent index entries are looked up together.
        ordered = f"ORDER BY {self._order('s')}"
        if not self.counts_ignored:
            return (
                f"{into}{selected}FROM (SELECT * FROM {self._keyed} s {condition} {ordered}) s "
                f"LEFT JOIN LATERAL ({found}) m ON true"
            )
        # Most rows are unchanged, so only the columns that find them are sorted.
        names = ", ".join((place, *self._keys, f"{own}in"))
        looked = (
            f"SELECT s.{place}, m.{own}tid, m.{own}what FROM (SELECT {names} FROM {self._keyed} s "
            f"{condition} {ordered}) s LEFT JOIN LATERAL ({found}) m ON true "
            f"WHERE {own}is_again OR m.{own}what IS NULL "
            f"OR m.{own}what OPERATOR(pg_catalog.<>) '{IGNORED}' OFFSET 0"
        )
        return (
            f"{into}{selected}FROM ({looked}) m JOIN {self._keyed} s "
            f"ON s.{place} OPERATOR(pg_catalog.=) m.{place}"
        )

    def _count_ignored(self) -> str:
        """Return the SQL that counts unchanged and ignored rows right after the look-up."""
        if not self.counts_ignored:
            return ""
        own, tables = self.own, self.tables
        return f"""GET DIAGNOSTICS {own}added = ROW_COUNT;
    IF NOT {own}is_again THEN
      IF {own}is_first THEN
        SELECT pg_catalog.count(*) INTO {own}looks FROM {self._stage.name};
      ELSE
        SELECT pg_catalog.count(*) INTO {own}looks FROM {tables.todo};
      END IF;
      {own}ignored := {own}ignored OPERATOR(pg_catalog.+) {own}looks
        OPERATOR(pg_catalog.-) {own}added;
    END IF;"""

    @property
    def _absent(self) -> str:
        """The outcome for a record without a row in the table."""
        if not self._options.inserts:
            return MISSING
        return LACKING if self._lacks else INSERT

    def _meet_last(self, *, only_todo: bool) -> str:
        """Return the same statement for a load in which the last record of a key counts.

        An earlier record of the key may already have changed the row. The record is compared with
        the row as it was before the load, and changes of the earlier record are reverted, so that
        the division into batches makes no difference. ``work`` gets all values that the row must
        have in the end, and its column ``final`` the outcome of the record.
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
                f"CASE WHEN {equals('f.what', INSERT)} THEN s.{quote_name(name)} "
                f"WHEN {equals('f.what', UPDATE)} THEN {new} ELSE {kept} END"
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
        """Return the SQL for the outcome of a record with a row in the table.

        ``looked`` is an additional branch of the CASE, for a row that would not be updated.
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

    def _lock(self) -> str:
        """Return the statement that locks rows that others may be changing, and judges them again.

        The rows are locked in the order of the key.
        """
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
