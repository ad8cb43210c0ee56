"""Names and conditions that all statements of a load with ``on_conflict`` use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name
from ingest.writing.staging import own_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.postgres.catalog import Constraint, Table
    from ingest.writing.conflicts.changes import Changes
    from ingest.writing.conflicts.insert_order import KeyOrder
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import ConflictOptions
    from ingest.writing.conflicts.tables import TemporaryTables
    from ingest.writing.staging import StagingTable

INSERT, UPDATE, UNCHANGED, IGNORED = "i", "u", "n", "g"
LOOK, MISSING, LACKING = "c", "m", "l"
"""The outcomes of a row. ``LOOK``: another transaction may be changing the row of the table, which
must be locked and read again. ``MISSING``: its key is not in the table, and nothing is inserted.
``LACKING``: it would be inserted, but a required column has no value."""
SETTLED = f"{INSERT},{UPDATE},{UNCHANGED},{IGNORED}"
MISSING_STATE, LACKING_STATE = "INGM1", "INGL1"
"""Stored instead of an SQLSTATE for rows that PostgreSQL itself did not refuse."""


class Plan:
    """The table, key, columns and options of a load with ``on_conflict``."""

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
        """``names`` are the columns that are sent; ``returned`` is that of the primary key, or "".

        ``lacks``: no row can be inserted, because a required column has no value.
        """
        self._table, self._key, self._changes, self._options = table, key, changes, options
        self._stage, self._names, self._returned = stage, names, returned
        self._lacks, self._ends_at_first = lacks, ends_at_first
        self.tables = tables
        self.own = own_prefix(table)
        self._keys = [f"{self.own}k{place}" for place in range(1, len(key.expressions) + 1)]
        self.has_row_ids = table.kind == "r" and table.size is not None
        """Whether rows can be found by their ctid, which is not unique across partitions."""
        self.has_versions = True
        """Whether the xmin of a row identifies its version."""
        self.references: Sequence[Constraint] = ()
        """The foreign keys that are checked as a set."""
        self.firing = ""
        """The statements of the block that fire deferred constraint triggers."""
        self.insert_order: KeyOrder | None = None
        """How to insert all rows of a batch in the order of the key; None keeps the source's."""
        self.looked_at = table.qualified_name
        """The table in which the rows for a batch are looked up."""

    @property
    def _keyed(self) -> str:
        """The stage's rows with the expressions of the key, and whether the key covers them."""
        keys = ", ".join(
            f"({item}) AS {name}"
            for item, name in zip(self._key.expressions, self._keys, strict=True)
        )
        return (
            f"(SELECT *, {keys}, ({self._key.predicate or 'true'}) AS {self.own}in "
            f"FROM {self._stage.name})"
        )

    def _base(self, place: int) -> str:
        """Return the name of the column with the original value of the given column at a place."""
        return f"{self.own}b{place}"

    def _originals(self, name_of: Callable[[int], str], row: str, before: str) -> str:
        """Return the given columns under other names for a SELECT, if the originals are kept."""
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
        """Return the condition that two rows have equal keys, in columns named as in ``_keys``."""
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

    @property
    def _tracks_outcomes(self) -> bool:
        return self._options.duplicates == "last"

    @property
    def counts_ignored(self) -> bool:
        """Whether unchanged and ignored rows are only counted, and not copied to ``work``."""
        return self._options.mode == "ignore" and not self._tracks_outcomes

    @property
    def set_columns(self) -> tuple[str, ...]:
        """The columns that an UPDATE sets."""
        if self._tracks_outcomes:
            return (*self._changes.given, *self._changes.automatic)
        return self._changes.set

    def _joined(self, row: str, record: str) -> str:
        """Return the condition that a row of the table is the one found for a row of ``work``.

        A row that was changed since then does not match: it is looked up again.
        """
        own, key = self.own, self._key
        parts = []
        # No index can be searched by (… = …) IS TRUE, so the row is found by its ctid, which is
        # cheaper. After the row is locked, PostgreSQL checks all conditions again, except the one
        # on the ctid by which it was found: so that condition is repeated.
        alone = ""
        if self.has_row_ids:
            is_there = f"{row}.ctid OPERATOR(pg_catalog.=) {record}.{own}tid"
            alone = " IS TRUE"
            parts += [is_there, f"({is_there}){alone}"]
        # What is written depends on the row as it was read.
        if self._tracks_outcomes and self.has_versions:
            parts.append(f"{row}.xmin OPERATOR(pg_catalog.=) {record}.{own}xmin")
        mine = [f"{row}.{quote_name(name)}" for name in key.plain] or [
            f"(SELECT ({item}) FROM (SELECT {row}.*) {own}one)" for item in key.expressions
        ]
        for one, name, operator in zip(mine, self._keys, key.operators, strict=True):
            other = f"{record}.{name}"
            part = f"{one} {operator} {other}"
            if key.nulls_are_equal:
                part = f"{part} OR {one} IS NULL AND {other} IS NULL"
            parts.append(f"({part}){alone}")
        if key.predicate is not None and not set(key.predicate_columns) <= set(key.plain):
            parts.append(f"(SELECT ({key.predicate}) FROM (SELECT {row}.*) {own}one)")
        return " AND ".join(parts)

    def _is_todo(self, row: str) -> str:
        return (
            f"EXISTS (SELECT FROM {self.tables.todo} d "
            f"WHERE d.place OPERATOR(pg_catalog.=) {row}.{self._stage.place})"
        )

    def _in_range(self, row: str) -> str:
        own, place = self.own, self._stage.place
        return (
            f"{row}.{place} OPERATOR(pg_catalog.>=) {own}at "
            f"AND {row}.{place} OPERATOR(pg_catalog.<=) {own}up_to"
        )


def equals(expression: str, value: str) -> str:
    return f"{expression} OPERATOR(pg_catalog.=) '{value}'"
