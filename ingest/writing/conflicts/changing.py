"""The statements that change the table: UPDATE and INSERT."""

from __future__ import annotations

from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.plan import INSERT, UPDATE, Plan
from ingest.writing.conflicts.references import leave_out_triggers


class Changing(Plan):
    """Writes rows of ``work`` to the table."""

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

    def _leave_out_triggers(self) -> str:
        if not self.references:
            return ""
        rows = (
            f"{self.tables.work} w WHERE w.{self.own}what OPERATOR(pg_catalog.=) '{INSERT}' "
            f"AND {self._in_range('w')}"
        )
        return leave_out_triggers(self.references, rows, self.own)

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
