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
        self.counts = Counts()
        """Records of the chunks that are committed."""
        self.entry: Entry | None = None
        """Where others can see it; None where they cannot until the end."""
        self._progress = progress
        self._noted = time.monotonic()

    def see(self, counts: Counts, bytes_read: int, bytes_total: int | None) -> None:
        """Tell of a batch; the counts are of the chunks that are not committed.

        Raises ``LoadCancelled`` where somebody asked for the load's end.
        """
        counts += self.counts
        if self._progress is not None:
            self._progress(Progress(counts=counts, bytes_read=bytes_read, bytes_total=bytes_total))
        if self.entry is not None and time.monotonic() - self._noted >= SECONDS_BETWEEN_NOTES:
            self._note(self.entry, counts, bytes_read)

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
