"""Load records with ``on_conflict`` into a table of Citus, whose rows are in shards.

The table's rows for a batch are first copied into a temporary table: shards can be joined with the
rows of a session only in simple ways, and a shard's row versions mean nothing elsewhere. Citus
sends each written row to its shard. If another transaction has deleted a row since then, it is
looked up again; if it has changed the row, the row is updated.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import UnsupportedModelError
from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.statements import Settling
from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import ConflictOptions


def check_sharded(table: Table, key: ConflictKey, options: ConflictOptions) -> None:
    """Raise ``UnsupportedModelError`` if records cannot be matched with the rows of the shards."""
    reason = _why_not(table, key, options)
    if reason is not None:
        raise UnsupportedModelError(f"on_conflict={options.mode!r} cannot be used here: {reason}")


def _why_not(table: Table, key: ConflictKey, options: ConflictOptions) -> str | None:
    distribution = table.distribution
    if distribution is None:
        return None
    kind = distribution.describe(table.qualified_name)
    if options.mode == "sync":
        return f"{kind} Rows of shards are not deleted: use on_conflict='upsert'."
    if not key.plain:
        return f"{kind} The key {key.name!r} has an expression."
    if distribution.column is not None and distribution.column not in key.plain:
        return (
            f"{kind} The key {key.name!r} does not hold {distribution.column!r}: its rows may be "
            "in any shard. Use a unique key that holds it."
        )
    if not set(key.predicate_columns) <= set(key.plain):
        return f"{kind} The key {key.name!r} has a condition on other columns."
    if key.is_deferrable:
        return f"{kind} The key {key.name!r} is deferrable: make it NOT DEFERRABLE."
    return None


class ShardedSettling(Settling):
    """Writes the statements for one load into a table of Citus."""

    def __init__(self, table: Table, key: ConflictKey, *arguments: Any, **options: Any) -> None:
        # Constraints have other names in the shards, but columns have the same.
        super().__init__(table, dataclasses.replace(key, constraint=None), *arguments, **options)
        self.has_row_ids = self.has_versions = False
        self._there = temporary_name("there")
        self.looked_at = f"pg_temp.{self._there}"

    def create(self, session: Session, *, keeps_seen: bool, makes_seen: bool) -> None:
        super().create(session, keeps_seen=keeps_seen, makes_seen=makes_seen)
        session.execute(
            f"CREATE TEMPORARY TABLE {self._there} ON COMMIT DROP AS "
            f"SELECT * FROM {self._table.qualified_name} WITH NO DATA"
        )

    def _meet(self, *, only_todo: bool) -> str:
        return f"{self._fetch}; {super()._meet(only_todo=only_todo)}"

    def _meet_last(self, *, only_todo: bool) -> str:
        return f"{self._fetch}; {super()._meet_last(only_todo=only_todo)}"

    @property
    def _fetch(self) -> str:
        """The statements that copy the table's rows for the batch into the temporary table."""
        keys = ", ".join(f"s.{name}" for name in self._keys)
        return (
            f"TRUNCATE {self.looked_at}; "
            f"INSERT INTO {self.looked_at} SELECT {self.own}t.* "
            f"FROM {self._table.qualified_name} {self.own}t "
            f"JOIN (SELECT DISTINCT {keys} FROM {self._keyed} s WHERE {self._is_keyed('s')}) "
            f"{self.own}w ON {self._joined(f'{self.own}t', f'{self.own}w')}"
        )

    def _update(self) -> str:
        distribution = self._table.distribution
        if distribution is None or distribution.kind != "reference":
            return super()._update()
        return self._update_by_insert()

    def _update_by_insert(self) -> str:
        """Return an update by ON CONFLICT: Citus does not join a reference table in an UPDATE."""
        row, work, where = self._updated()
        record, set_ = f"{self.own}w", self.set_columns
        if not set_:
            return "NULL"
        names = [item.name for item in self._table.columns if not item.is_generated]
        values = {name: f"{row}.{quote_name(name)}" for name in names}
        for name in set_:
            is_whole = self._tracks_outcomes or name in self._changes.automatic
            values[name] = (
                f"{record}.{quote_name(name)}"
                if is_whole
                else self._changes.value(name, row, record)
            )
        set_to = ", ".join(f"{quote_name(name)} = EXCLUDED.{quote_name(name)}" for name in set_)
        condition = ""
        # EXCLUDED has the new value only of a field that is set.
        if self._changes.newest in set_ and not self._tracks_outcomes:
            condition = f" WHERE {self._changes.is_newer(row, 'EXCLUDED')}"
        return (
            f"INSERT INTO {self._table.qualified_name} AS {row} "
            f"({', '.join(map(quote_name, names))}) OVERRIDING SYSTEM VALUE "
            f"SELECT {', '.join(values[name] for name in names)} FROM {self.looked_at} {row}, "
            f"{work} WHERE {where} ON CONFLICT {self._key.arbiter} DO UPDATE SET {set_to}"
            f"{condition}"
        )

    def _probe(self) -> str:
        names = ", ".join(map(quote_name, self._names))
        return (
            f"INSERT INTO {self._table.qualified_name} ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {names} FROM {self._stage.name} WHERE false"
        )
