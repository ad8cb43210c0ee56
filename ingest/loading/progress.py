"""Tells how a load goes: to the caller after each batch, to the ledger about once a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db import DatabaseError

from ingest.exceptions import LoadCancelled
from ingest.results import Counts, Progress
from ingest.writing.timings import Stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.ledger.entry import Entry
    from ingest.loading.events import Announcement

SECONDS_BETWEEN_NOTES = 1.0
"""How often the ledger is told: often enough for a person who watches a bar."""


class ProgressReporter:
    """Knows how far a load has come, over all of its tries."""

    def __init__(
        self, progress: Callable[[Progress], None] | None, announcement: Announcement
    ) -> None:
        self.announcement = announcement
        self.stages = Stages()
        self._counts = Counts()
        self._bytes_read = 0
        self._rows_before: int | None = None
        self._entry: Entry | None = None
        self._progress = progress
        self._noted = time.monotonic()

    @property
    def counts(self) -> Counts:
        """Records of the chunks that are committed."""
        return self._counts

    def show_in(self, entry: Entry | None) -> None:
        """Write progress to this entry from now on; None where others cannot see it."""
        self._entry = entry

    @property
    def bytes_read(self) -> int:
        """Bytes of the source whose records are committed, as far as that is known."""
        return self._bytes_read

    def start_from(self, counts: Counts, bytes_read: int = 0) -> None:
        """Count on from what the ledger has of the chunks that are committed."""
        self._counts, self._bytes_read = counts, bytes_read
        if self._rows_before is None:  # a later try counts on from what this load has committed
            self._rows_before = counts.read

    def committed(self, counts: Counts, chunk: int | None, bytes_read: int = 0) -> None:
        """Take in the counts of all that is committed now, and announce the chunk of this number.

        None where the load has no chunks, or another process has announced it.
        """
        if chunk is not None:
            self.announcement.committed(chunk, counts - self._counts)
        self._counts, self._bytes_read = counts, max(bytes_read, self._bytes_read)

    def finish(self, bytes_total: int | None) -> None:
        """Write down how long the stages took, and that the source was read to its end."""
        if self._entry is not None:
            bytes_read = self._bytes_read if bytes_total is None else bytes_total
            self._entry.note(stages=dict(self.stages.seconds), bytes_read=bytes_read)

    def see(self, counts: Counts, bytes_read: int, bytes_total: int | None) -> None:
        """Tell of the records that PostgreSQL has accepted; the counts are of the open chunk.

        ``bytes_read``: of the source, up to the last of these records. Raises ``LoadCancelled``
        where somebody asked for the load's end.
        """
        counts += self._counts
        if self._progress is not None:
            self._progress(
                Progress(
                    counts=counts,
                    bytes_read=bytes_read,
                    bytes_total=bytes_total,
                    rows_before=self._rows_before or 0,
                )
            )
        if self._entry is not None and time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            self._note(self._entry, counts, bytes_read)

    def _note(self, entry: Entry, counts: Counts, bytes_read: int) -> None:
        self._noted = time.monotonic()
        try:
            is_cancelled = entry.show_progress(
                bytes_read=bytes_read, stages=self.stages.seconds, **vars(counts)
            )
        except DatabaseError:
            return  # what is wrong the load's own connection will say
        if is_cancelled:
            raise LoadCancelled
