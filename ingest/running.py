"""One try at a load: chunk after chunk over one session, each with its rows and its record."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.utils import timezone

from ingest.chunk_loader import ChunkLoader

if TYPE_CHECKING:
    from ingest.fingerprints import Fingerprint
    from ingest.job import Job
    from ingest.ledger import Entry, Settled
    from ingest.reject_file import RejectFile
    from ingest.reject_log import RejectLog
    from ingest.reporting import Reporter
    from ingest.results import Counts
    from ingest.session import Session
    from ingest.sources import Source
    from ingest.table import Table


class Run:
    """One try at a load, from what is committed of it to its end."""

    def __init__(  # noqa: PLR0913 - whom the rows meet, and who is told of them
        self,
        job: Job,
        source: Source,
        session: Session,
        *,
        entry: Entry,
        log: RejectLog,
        file: RejectFile | None,
        fingerprint: Fingerprint,
        reporter: Reporter,
    ) -> None:
        self._job = job
        self._source = source
        self._session = session
        self._entry = entry
        self._log = log
        self._file = file
        self._fingerprint = fingerprint
        self._reporter = reporter
        self._stage = reporter.stages.stage
        self._loader = ChunkLoader(job, session, entry=entry, log=log, file=file, reporter=reporter)

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided on the way, a sentence each."""
        return self._loader.decisions

    @property
    def table(self) -> Table:
        """The table, once ``go`` has looked at it."""
        return self._loader.table

    def go(self, settled: Settled) -> None:
        """Load what is left, and commit it; the reporter then has the counts."""
        self._reporter.counts = settled.counts
        self._loader.read_from(self._source, settled.position, self._job.how.records_of_chunk)
        if settled.is_finished:  # the answer to the COMMIT was lost, not the COMMIT
            with self._session.transaction():
                self._loader.prepare()
            return
        ordinal, is_over = settled.chunks, False
        while not is_over:
            ordinal += 1
            with self._stage("commit"), self._session.transaction() as transaction:
                with self._stage("prepare"):
                    self._loader.prepare()
                counts = self._load_chunk(ordinal)
                is_over = self._loader.is_over
                if is_over:
                    self._finish(counts)
                if self._job.how.dry_run:
                    transaction.roll_back()
            if self._job.how.is_chunked:
                done = counts - self._reporter.counts
                self._reporter.announcement.committed(ordinal, done)
            self._reporter.counts = counts

    def _load_chunk(self, ordinal: int) -> Counts:
        """Load one chunk, if there is one; gives the counts with it."""
        before = self._reporter.counts
        if not self._loader.has_more():
            return before
        counts = self._loader.send(ordinal, before.read)
        if self._job.how.is_chunked and ordinal == 1:
            self._entry.tell(self._session, fingerprint=str(self._fingerprint))
        self._loader.record(counts, before.read, self._marks())
        return before + counts

    def _finish(self, counts: Counts) -> None:
        """Write down that all is in, in the transaction of the last rows."""
        self._log.finish(counts.read)
        self._entry.tell(
            self._session,
            status="loaded",
            error="",
            ended_at=timezone.now(),
            decisions=self.decisions,
            driver=self._session.driver,
            fingerprint=str(self._fingerprint),
            stages=self._reporter.stages.seconds,
            table=self.table.qualified_name,
            **dataclasses.asdict(counts),
        )
        # A file that ends sooner than it did gives no chunk after which it would be noticed.
        self._source.check_unchanged()

    def _marks(self) -> dict[str, dict[str, int]]:
        marks = {"log": self._log.mark()}
        return marks if self._file is None else {**marks, "file": self._file.mark()}
