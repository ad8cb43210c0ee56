"""The result of one batch, which each writer yields."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.results import Counts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.conversion import TypedBatch
    from ingest.results.rejects import Reject


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchResult:
    """The result of one batch."""

    batch: TypedBatch
    """The batch as it was sent: without the records that were refused before."""
    inserted: int = 0
    """How many of its rows are new in the table."""
    updated: int = 0
    """How many changed an existing row of the table."""
    unchanged: int = 0
    """How many have the same values as the table's row, which was not written."""
    ignored: int = 0
    """How many left the table's row unchanged, as requested."""
    skipped: int = 0
    """How many were left out in favour of another record with the same key. Negative if a record
    of an earlier batch, which was counted otherwise there, is left out for one of this batch."""
    refused: Collection[int] = ()
    """The places of its rows that PostgreSQL refused."""
    rejects: Sequence[Reject] = ()
    """All reasons for all refused records, by record, also for those refused before sending."""
    keys: list[str] = dataclasses.field(default_factory=list)
    """The keys of inserted rows that are not in ranges, as text; see ``PrimaryKeys.note``."""

    @property
    def counts(self) -> Counts:
        """The counts of the batch's records, except those that were refused."""
        return Counts(
            inserted=self.inserted,
            updated=self.updated,
            unchanged=self.unchanged,
            ignored=self.ignored,
            skipped=self.skipped,
        )
