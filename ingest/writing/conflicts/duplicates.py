"""Records of one source that have the same key, and what became of them."""

from __future__ import annotations

from ingest.writing.conflicts.plan import SETTLED, Plan


class Duplicates(Plan):
    """Finds records that repeat a key, and lets them in where the other one was refused."""

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
    WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{SETTLED}}}'::pg_catalog.text[])
    ON CONFLICT ({keys}) DO UPDATE SET {set_};"""

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
