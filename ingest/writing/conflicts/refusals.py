"""Make the errors and rejects for refused records."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from ingest.exceptions import RecordsRefused
from ingest.postgres.errors import RowError
from ingest.writing.conflicts.plan import LACKING_STATE, MISSING_STATE
from ingest.writing.refused_rows import (
    RefusedRow,
    describe,
    own_refusal,
    reject_of,
    value_of,
)
from ingest.writing.row_by_row import KEPT_OUT_STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import Given
    from ingest.writing.conflicts.tables import SeenKeys

DUPLICATE_STATE = "23505"


class Refusals:
    """Makes the errors and rejects for the rows that the server has refused."""

    def __init__(self, table: Table, key: ConflictKey, given: Given, seen: SeenKeys) -> None:
        self._table, self._key, self._given, self._seen = table, key, given, seen

    def row(self, batch: TypedBatch, said: RowError) -> RefusedRow:
        """Return the row of a batch that was refused, by the number of its record."""
        # The table of refusals has NULLs if PostgreSQL itself did not refuse the row.
        state, place, *texts = said
        row = own_refusal(RowError(state, place, *(str(text or "") for text in texts)), self._table)
        return RefusedRow.of(row, bisect_left(batch.records, said.place or 0))

    def raise_first(
        self, batch: TypedBatch, refused: Sequence[RefusedRow], repeats: Sequence[Reject]
    ) -> None:
        """Raise the error of the first record that was refused, if any was."""
        first = min((reject.record for reject in repeats), default=None)
        row = refused[0] if refused else None
        if row is not None and (first is None or batch.records[row.place] < first):
            if row.state in {MISSING_STATE, LACKING_STATE, KEPT_OUT_STATE}:
                own = (MISSING_STATE, LACKING_STATE, KEPT_OUT_STATE)
                raise RecordsRefused(
                    [self.reject(batch, row) for row in refused if row.state in own]
                )
            raise describe(
                RowError(row.state, row.place, row.message, row.detail, row.constraint, row.column),
                self._table,
                batch,
                cure=(
                    f"Another row has this value, and the key {self._key.name!r} decides which row "
                    "is meant: take the record out, or change the value."
                    if row.state == DUPLICATE_STATE
                    else ""
                ),
            )
        if repeats:
            raise RecordsRefused(list(repeats))

    def reject(self, batch: TypedBatch, row: RefusedRow) -> Reject:
        """Return the reject for a refused row."""
        if row.state == MISSING_STATE:
            return self._reject_key(
                batch,
                row.place,
                f"{self._table.qualified_name} has no row with this key, and on_conflict='update' "
                "inserts none: use 'upsert' to insert it.",
                "missing",
            )
        if row.state == LACKING_STATE:
            field, reason = next(iter(self._given.lacking.items()))
            return batch.reject(
                row.place,
                f"The table has no row with this key, and none can be inserted: {reason}",
                "value",
                column=None,
                field=field,
                value=None,
            )
        if row.state == KEPT_OUT_STATE:
            hidden = ""
            if self._table.row_security:
                hidden = "row security hides a row with the same key, or "
            return self._reject_key(
                batch,
                row.place,
                f"The row was not written to {self._table.qualified_name}: {hidden}a trigger or a "
                "rule keeps it out or changes its key.",
                "constraint",
            )
        return reject_of(batch, row, self._table, "")

    def reject_repeated(self, batch: TypedBatch, record: int, file: int, of: int) -> Reject:
        """Return the reject for a record that repeats the key of another record."""
        source = self._seen.sources[file]
        where = "" if source == batch.source else f" of {source}"
        return self._reject_key(
            batch,
            bisect_left(batch.records, record),
            f"Record {of:,}{where} has the same key: take one of them out, or choose one with "
            "duplicates='first' or 'last' (--duplicates).",
            "duplicate",
            constraint=self._key.name,
        )

    def _reject_key(
        self,
        batch: TypedBatch,
        place: int,
        reason: str,
        kind: Any,
        constraint: str | None = None,
    ) -> Reject:
        """Return a reject that shows the source's values of the key."""
        row = RefusedRow(
            place=place,
            state="",
            message=reason,
            detail="",
            constraint="",
            column=self._key.columns[0] if len(self._key.columns) == 1 else "",
            is_in_source=None,
        )
        reject = reject_of(batch, row, self._table, "")
        if len(self._key.columns) > 1:
            shown = _values_of(batch, place, self._key.columns)
            reject = dataclasses.replace(reject, reason=f"{shown}: {reject.reason}")
        return dataclasses.replace(reject, kind=kind, constraint=constraint)


def _values_of(batch: TypedBatch, place: int, columns: Sequence[str]) -> str:
    """Return the source's values of several columns, for a message."""
    fed = [name for name in columns if name in batch.origins]
    return ", ".join(
        f"{batch.origins[name][0]}={value_of(batch, name, batch.records[place])}" for name in fed
    )
