"""Write the statements that change the table: UPDATE and INSERT."""

from __future__ import annotations

from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.plan import INSERT, UPDATE, Plan
from ingest.writing.conflicts.references import leave_out_triggers


class Changing(Plan):
    """Writes the SQL that moves rows of ``work`` into the table."""

    def _updated(self) -> tuple[str, str, str]:
        """Return the alias of the table's row, and the FROM and WHERE of the UPDATE."""
        own = self.own
        row, record = f"{own}t", f"{own}w"
        work = (
            f"(SELECT * FROM {self.tables.work} w WHERE w.{own}what OPERATOR(pg_catalog.=) "
            f"'{UPDATE}' AND {self._in_range('w')} ORDER BY {self._order('w')}) {record}"
        )
        where = self._joined(row, record)
        if self._changes.newest is not None and not self._tracks_outcomes:
            # Another transaction may have stored a newer value since then.
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
        arbiter = self._key.arbiter
        conflict = "" if arbiter is None else f" ON CONFLICT {arbiter} DO NOTHING"
        names = ", ".join(map(quote_name, self._names))
        rows = f"SELECT {names} FROM {self._inserted} ORDER BY w.{self._stage.place}"
        return self._inserting(names, rows, conflict)

    def _insert_whole(self) -> str:
        """Return the INSERT of all rows; it fails if another transaction has inserted a key.

        Without ON CONFLICT, and in the order of the key, this takes half the time.
        """
        order = self.insert_order
        names = ", ".join(map(quote_name, self._names))
        if order is None:
            rows = f"SELECT {names} FROM {self._inserted} ORDER BY w.{self._stage.place}"
            return self._inserting(names, rows)
        if order.drawn is None:
            rows = f"SELECT {names} FROM {self._inserted} ORDER BY {self._order('w')}"
            return self._inserting(names, rows)
        number = f"{self.own}number"
        rows = (
            f"SELECT {number}, {names} FROM (SELECT pg_catalog.nextval({order.sequence}"
            f"::pg_catalog.oid::pg_catalog.regclass) AS {number}, n.* FROM ("
            f"SELECT * FROM {self._inserted} ORDER BY w.{self._stage.place}) n) w "
            f"ORDER BY {self._order('w')}"
        )
        return self._inserting(f"{quote_name(order.drawn)}, {names}", rows)

    @property
    def _inserted(self) -> str:
        """The FROM clause of the rows to insert."""
        return (
            f"{self.tables.work} w WHERE w.{self.own}what OPERATOR(pg_catalog.=) "
            f"'{INSERT}' AND {self._in_range('w')}"
        )

    def _inserting(self, names: str, rows: str, conflict: str = "") -> str:
        own = self.own
        statement = (
            f"INSERT INTO {self._table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
            f"{rows}{conflict}"
        )
        if not self._returned:
            return statement
        return (
            f"WITH {own}new AS ({statement} RETURNING {quote_name(self._returned)} AS {own}key) "
            f"INSERT INTO {self.tables.fresh} SELECT {own}key FROM {own}new"
        )

    def _leave_out_triggers(self) -> str:
        if not self.references:
            return ""
        return leave_out_triggers(self.references, self._inserted, self.own)

    def _probe(self) -> str:
        """Return the statements without rows: they fail again if an error is not about a row."""
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
