"""Reports a load's progress: to the caller after each batch, to the ledger once a second."""

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
"""The interval of updates in the ledger: often enough for a person who watches a progress bar."""


class ProgressReporter:
    """Tracks and reports the progress of a load, over all of its attempts."""

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
        """The counts of the committed chunks."""
        return self._counts

    def show_in(self, entry: Entry | None) -> None:
        """Write progress to this entry from now on; None if others cannot see it."""
        self._entry = entry

    @property
    def bytes_read(self) -> int:
        """Bytes of the source whose records are committed, as far as known."""
        return self._bytes_read

    def start_from(self, counts: Counts, bytes_read: int = 0) -> None:
        """Continue counting from the committed chunks of the ledger."""
        self._counts, self._bytes_read = counts, bytes_read
        if self._rows_before is None:  # a later attempt counts from what this load has committed
            self._rows_before = counts.read

    def committed(self, counts: Counts, chunk: int | None, bytes_read: int = 0) -> None:
        """Record the counts of all committed rows, and announce the chunk with this number.

        ``chunk`` is None if the load has no chunks, or if another process has announced it.
        """
        if chunk is not None:
            self.announcement.committed(chunk, counts - self._counts)
        self._counts, self._bytes_read = counts, max(bytes_read, self._bytes_read)

    def finish(self, bytes_total: int | None) -> None:
        """Record the duration of the stages, and that the source was read to its end."""
        if self._entry is not None:
            bytes_read = self._bytes_read if bytes_total is None else bytes_total
            self._entry.note(stages=dict(self.stages.seconds), bytes_read=bytes_read)

    def see(self, counts: Counts, bytes_read: int, bytes_total: int | None) -> None:
        """Report the records that PostgreSQL has accepted; ``counts`` are those of the open chunk.

        ``bytes_read`` is the position in the source after the last of these records. Raise
        ``LoadCancelled`` if somebody asked to cancel the load.
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
            return  # the load's own connection will report the error
        if is_cancelled:
            raise LoadCancelled
