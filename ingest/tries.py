"""What one try at a load has to do with: its source, its session, and where it is written down."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.fingerprints import Fingerprint
    from ingest.job import Job
    from ingest.ledger import Entry
    from ingest.reject_file import RejectFile
    from ingest.reject_log import RejectLog
    from ingest.reporting import Reporter
    from ingest.results import Counts
    from ingest.session import Session
    from ingest.sources import Source
    from ingest.table import Table

Marks = dict[str, dict[str, Any]]
"""How far the ``log`` and the ``file`` of rejects are written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Try:
    """One try at a load, from what is committed of it to its end."""

    job: Job
    source: Source
    session: Session
    entry: Entry
    """The load in the ledger."""
    log: RejectLog
    """Where the reasons go, as JSON Lines."""
    file: RejectFile | None
    """Where the refused records go."""
    fingerprint: Fingerprint
    """The source's."""
    reporter: Reporter

    def mark(self) -> Marks:
        """Give the places up to which rejects are written now."""
        marks = {"log": self.log.mark()}
        return marks if self.file is None else {**marks, "file": self.file.mark()}

    def rewind(self, marks: Mapping[str, Mapping[str, Any]]) -> None:
        """Forget the rejects that were written after the marks."""
        self.log.rewind(marks["log"])
        if self.file is not None:
            self.file.rewind(marks["file"])

    def finish(self, counts: Counts, table: Table, decisions: Sequence[str]) -> None:
        """Write down that all is in, in the open transaction.

        Raises ``TooManyRejects`` where more were refused than the limit allows.
        """
        self.log.finish(counts.read)
        self.entry.tell(
            self.session,
            status="loaded",
            error="",
            ended_at=timezone.now(),
            decisions=list(decisions),
            driver=self.session.driver,
            fingerprint=str(self.fingerprint),
            stages=self.reporter.stages.seconds,
            table=table.qualified_name,
            **dataclasses.asdict(counts),
        )
        # A file that ends sooner than it did gives no chunk after which it would be noticed.
        self.source.check_unchanged()
