"""Find records of one source with the same key, and note their outcomes."""

from __future__ import annotations

from ingest.writing.conflicts.plan import SETTLED, Plan

TIMES_AGAIN = 8
"""How many rounds try only the next row of each key whose holder was refused, before all rows."""


class Duplicates(Plan):
    """Writes the SQL that finds repeated keys, and retries a record if the other was refused."""

    def _find_duplicates(self) -> str:
        """Return the SQL that separates rows that repeat a key of the load, and notes the keys."""
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
        # Most batches repeat no key, and an INSERT without ON CONFLICT is faster.
        return f"""
  BEGIN
    {self._note_keys()};
  EXCEPTION WHEN unique_violation THEN
    {self._note_keys()} ON CONFLICT DO NOTHING;
    {self._find_repeated()}
    {self._all_but_repeated()}
    {own}is_first := false;
  END;"""

    def _find_again(self) -> str:
        """Return the SQL that retries rows whose key was held by a row that was refused.

        The next row of each key is tried, and then holds the key. After several such rounds, all
        rows of a key are tried in one round, one at a time, until one is accepted. Otherwise each
        refused row would need a round over all the others.
        """
        own, tables = self.own, self.tables
        order = "DESC" if self._options.duplicates == "last" else "ASC"
        window = f"OVER (PARTITION BY f.of_place ORDER BY f.place {order})"
        noted = "" if self._tracks_outcomes else f"{self._note_keys(self._is_todo('s'))};"
        return f"""
    {own}is_again := {own}times_again OPERATOR(pg_catalog.=) {TIMES_AGAIN};
    {own}times_again := least({own}times_again OPERATOR(pg_catalog.+) 1, {TIMES_AGAIN});
    DELETE FROM {tables.todo};
    WITH {own}freed AS (
      DELETE FROM {tables.repeated} r
      WHERE r.of_file OPERATOR(pg_catalog.=) {own}file AND EXISTS (
        SELECT FROM {tables.refused} f WHERE f.place OPERATOR(pg_catalog.=) r.of_place)
      RETURNING r.place, r.of_place), {own}numbered AS (
      SELECT f.place, f.of_place, pg_catalog.row_number() {window} AS nth,
             pg_catalog.first_value(f.place) {window} AS holder FROM {own}freed f), {own}held AS (
      INSERT INTO {tables.repeated} SELECT n.place, {own}file, n.holder FROM {own}numbered n
      WHERE n.nth OPERATOR(pg_catalog.>) 1 AND NOT {own}is_again)
    INSERT INTO {tables.todo}
    SELECT n.place, n.of_place, pg_catalog.row_number() OVER (ORDER BY n.nth, n.place)
    FROM {own}numbered n WHERE n.nth OPERATOR(pg_catalog.=) 1 OR {own}is_again;
    GET DIAGNOSTICS {own}added = ROW_COUNT;
    EXIT WHEN {own}added OPERATOR(pg_catalog.=) 0;
    IF NOT {own}is_again THEN
      {noted or "NULL;"}
    END IF;"""

    def _next_again(self) -> str:
        """Return the SQL that chooses the next row to try."""
        own = self.own
        return f"""SELECT d.place, d.turn INTO {own}at, {own}tried FROM {self.tables.todo} d
        WHERE d.turn OPERATOR(pg_catalog.>) {own}tried ORDER BY d.turn LIMIT 1;"""

    def _hold_key(self) -> str:
        """Return the SQL that gives the key to the row just tried; the others then repeat it."""
        own, tables = self.own, self.tables
        return f"""WITH {own}alike AS (
            DELETE FROM {tables.todo} d
            WHERE d.of_place OPERATOR(pg_catalog.=) (
                SELECT h.of_place FROM {tables.todo} h
                WHERE h.turn OPERATOR(pg_catalog.=) {own}tried)
              AND d.turn OPERATOR(pg_catalog.>) {own}tried
            RETURNING d.place)
          INSERT INTO {tables.repeated} SELECT l.place, {own}file, {own}at FROM {own}alike l;"""

    def _note_again(self) -> str:
        """Return the SQL that removes rows that repeat another one, and notes its key."""
        tables, place = self.tables, self._stage.place
        left_out = f"""DELETE FROM {tables.work} w WHERE EXISTS (
        SELECT FROM {tables.repeated} r WHERE r.place OPERATOR(pg_catalog.=) w.{place});"""
        if self._tracks_outcomes:  # outcomes are noted with their keys
            return left_out
        held = f"""{self._is_todo("s")} AND NOT EXISTS (
        SELECT FROM {tables.refused} f WHERE f.place OPERATOR(pg_catalog.=) s.{place})"""
        return f"{left_out}\n      {self._note_keys(held)} ON CONFLICT DO NOTHING;"

    def _note_keys(self, condition: str = "true") -> str:
        own, keys = self.own, ", ".join(f"s.{name}" for name in self._keys)
        return (
            f"INSERT INTO {self.tables.seen} SELECT {keys}, {own}file, s.{self._stage.place}, '' "
            f"FROM {self._keyed} s WHERE {self._is_keyed('s')} AND {condition} "
            f"ORDER BY {keys}, s.{self._stage.place}"
        )

    def _find_repeated(self) -> str:
        own, place = self.own, self._stage.place
        return f"""INSERT INTO {self.tables.repeated}
    SELECT s.{place}, e.{own}seen_file, e.{own}seen_place FROM {self._keyed} s, {self.tables.seen} e
    WHERE {self._is_keyed("s")} AND {self._same_key("e", "s")}
      AND NOT (e.{own}seen_file OPERATOR(pg_catalog.=) {own}file
               AND e.{own}seen_place OPERATOR(pg_catalog.=) s.{place});"""

    def _all_but_repeated(self) -> str:
        tables, place = self.tables, self._stage.place
        return f"""INSERT INTO {tables.todo} SELECT s.{place} FROM {self._stage.name} s
    WHERE NOT EXISTS (SELECT FROM {tables.repeated} r
                      WHERE r.place OPERATOR(pg_catalog.=) s.{place});"""

    def _note_outcomes(self) -> str:
        """Return the SQL that notes the outcomes of records, for later records of the same key."""
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
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{SETTLED}}}'::pg_catalog.text[])
    ON CONFLICT ({keys}) DO UPDATE SET {set_};"""

    def _forget_refused(self) -> str:
        """Return the SQL that frees the keys of refused rows, which later rows may then use."""
        own, tables, place = self.own, self.tables, self._stage.place
        if self._tracks_outcomes:
            return ""
        return f"""
      DELETE FROM {tables.seen} e USING {self._keyed} s, {tables.refused} f
      WHERE f.place OPERATOR(pg_catalog.=) s.{place} AND {self._is_keyed("s")}
        AND {self._same_key("e", "s")} AND e.{own}seen_file OPERATOR(pg_catalog.=) {own}file
        AND e.{own}seen_place OPERATOR(pg_catalog.=) s.{place};"""
