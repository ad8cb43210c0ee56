"""Find rows without parents before they are sent to the shards of Citus.

Django's foreign keys are deferred, and the shards check them when the transaction ends: too late to
refuse a record alone, or to name it. SET CONSTRAINTS does not reach the shards. So the distinct
keys of each batch are looked up first. They are not locked: the shards still check them at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from ingest.exceptions import UnsupportedModelError
from ingest.postgres.catalog import quote_name
from ingest.postgres.session import Query
from ingest.writing.foreign_keys import MissingReference
from ingest.writing.refused_rows import explain_missing
from ingest.writing.staging import StagingTable

if TYPE_CHECKING:
    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Constraint, Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Script, Session

LOOKED_UP = (
    "References: looked up for each batch before it is sent, because the shards check them only "
    "when the transaction ends."
)


class ShardReferences:
    """Looks up the rows to which the batches of one load refer."""

    def __init__(
        self, session: Session, table: Table, encoding: CopyEncoding, *, skips_refused: bool
    ) -> None:
        """Plan the look-ups.

        Raises ``UnsupportedModelError`` if the load should continue without refused records, but a
        record could not be refused alone.
        """
        self._session = session
        self._keys = [
            _Key(session, table, encoding, item)
            for item in table.foreign_keys
            if item.is_enforced
            and item.references_oid != table.oid
            and set(item.columns) <= set(encoding.names)
        ]
        self._waiting: list[TypedBatch] = []
        self.decisions = [LOOKED_UP] if self._keys else []
        known = {key.constraint.name for key in self._keys}
        late = [
            item.name
            for item in table.constraints
            if item.is_deferred
            and item.name not in known
            and not (item.kind == "f" and _is_null(item, table, encoding))
        ]
        if late and skips_refused:
            raise UnsupportedModelError(
                f"Records of {table.qualified_name} cannot be refused alone: the shards check the "
                f"constraint {late[0]!r} only when the transaction ends. Make it NOT DEFERRABLE, "
                "or load with on_error='abort' (--on-error abort)."
            )

    def missing(self, rows: pa.RecordBatch) -> list[MissingReference]:
        """Return the references to missing rows, sorted by place."""
        found: list[MissingReference] = []
        for key in self._keys:
            found += self._session.start(key.missing(rows)).result()
        return sorted(found, key=lambda item: item.place)

    def may_wait(self, batch: TypedBatch, missing: list[MissingReference]) -> bool:
        """Return whether the caller may still insert the parents of a batch in its transaction."""
        can = self._session.is_callers and all(item.constraint.is_deferrable for item in missing)
        if can:
            self._waiting.append(batch)
        return can

    def check(self) -> None:
        """Look up the awaited parents again; raise ``ConstraintRefused`` if one is missing."""
        for batch in self._waiting:
            missing = self.missing(batch.rows)
            if missing:
                raise explain_missing(missing, batch)


def _is_null(key: Constraint, table: Table, encoding: CopyEncoding) -> bool:
    """Return whether a foreign key has a column that is NULL in all rows of the load."""
    return any(
        column.name in key.columns
        and column.name not in encoding.names
        and not (column.has_default or column.is_generated)
        for column in table.columns
    )


class _Key:
    """One foreign key."""

    def __init__(
        self, session: Session, table: Table, encoding: CopyEncoding, constraint: Constraint
    ) -> None:
        self.constraint = constraint
        self._names = list(constraint.columns)
        self._stage = StagingTable(session, table, encoding, "parents", self._names)
        pairs = zip(constraint.columns, constraint.referenced_columns, strict=True)
        same = " AND ".join(
            f"p.{quote_name(parent)} {table.column(quote_name(own)).equal} s.{quote_name(own)}"
            for own, parent in pairs
        )
        self._found = (
            f"SELECT s.{self._stage.place} FROM {self._stage.name} s "
            f"JOIN {constraint.references} p ON {same}"
        )

    def missing(self, rows: pa.RecordBatch) -> Script[list[MissingReference]]:
        cells = pa.table({name: rows.column(name) for name in self._names})
        cells = cells.append_column("", pa.arange(0, rows.num_rows))
        keys = cells.drop_null().group_by(self._names).aggregate([("", "list")])
        if not len(keys):
            return []
        places = keys.column("_list").to_pylist()
        distinct = keys.select(self._names).combine_chunks().to_batches()[0]
        refused = yield from self._stage.fill(distinct, pa.arange(0, distinct.num_rows))
        known = {place for (place,) in (yield Query(self._found))}
        known |= {row.place for row in refused}  # the table's type will refuse them again
        values = distinct.to_pylist()
        return [
            MissingReference(
                place=place,
                value=", ".join(str(values[at][name]) for name in self._names),
                constraint=self.constraint,
            )
            for at, all_places in enumerate(places)
            if at not in known
            for place in all_places
        ]
