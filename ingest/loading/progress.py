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

    def start_from(self, counts: Counts) -> None:
        """Count on from what the ledger has of the chunks that are committed."""
        self._counts = counts

    def committed(self, counts: Counts, chunk: int | None) -> None:
        """Take in the counts of all that is committed now, and announce the chunk of this number.

        None where the load has no chunks, or another process has announced it.
        """
        if chunk is not None:
            self.announcement.committed(chunk, counts - self._counts)
        self._counts = counts

    def finish(self, bytes_read: int) -> None:
        """Write down how long the stages took, and how far the source was read."""
        if self._entry is not None:
            self._entry.note(stages=dict(self.stages.seconds), bytes_read=bytes_read)

    def see(self, counts: Counts, bytes_read: int, bytes_total: int | None) -> None:
        """Tell of a batch; the counts are of the chunks that are not committed.

        Raises ``LoadCancelled`` where somebody asked for the load's end.
        """
        counts += self._counts
        if self._progress is not None:
            self._progress(Progress(counts=counts, bytes_read=bytes_read, bytes_total=bytes_total))
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
