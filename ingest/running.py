"""One worker, which is this process: chunk after chunk over the session of the try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.chunk_loader import ChunkLoader

if TYPE_CHECKING:
    from ingest.ledger import Settled
    from ingest.results import Counts
    from ingest.table import Table
    from ingest.tries import Try


class Run:
    """A try at a load by one worker."""

    def __init__(self, attempt: Try) -> None:
        self._try = attempt
        self._reporter = attempt.reporter
        self._stage = attempt.reporter.stages.stage
        self._is_chunked = attempt.job.how.is_chunked
        self._loader = ChunkLoader(
            attempt.job,
            attempt.session,
            entry=attempt.entry,
            log=attempt.log,
            file=attempt.file,
            reporter=attempt.reporter,
        )

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
        how, session = self._try.job.how, self._try.session
        self._reporter.counts = settled.counts
        self._loader.read_from(self._try.source, settled.position, how.records_of_chunk)
        if settled.is_finished:  # the answer to the COMMIT was lost, not the COMMIT
            with session.transaction():
                self._loader.prepare()
            return
        ordinal, is_over = settled.chunks, False
        while not is_over:
            ordinal += 1
            with self._stage("commit"), session.transaction() as transaction:
                with self._stage("prepare"):
                    self._loader.prepare()
                counts = self._load_chunk(ordinal)
                is_over = self._loader.is_over
                if is_over:
                    self._try.finish(counts, self.table, self.decisions)
                self._loader.move_sequences()
                if how.dry_run:
                    transaction.roll_back()
            if self._is_chunked:
                done = counts - self._reporter.counts
                self._reporter.announcement.committed(ordinal, done)
            self._reporter.counts = counts

    def _load_chunk(self, ordinal: int) -> Counts:
        """Load one chunk, if there is one; gives the counts with it."""
        before = self._reporter.counts
        if not self._loader.has_more():
            return before
        counts = self._loader.send(ordinal, before.read)
        if self._is_chunked and ordinal == 1:
            fingerprint = str(self._try.fingerprint)
            self._try.entry.tell(self._try.session, fingerprint=fingerprint)
        self._loader.record(counts, before.read, self._try.mark())
        return before + counts
