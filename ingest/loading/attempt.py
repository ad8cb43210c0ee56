"""One attempt at a load: its source, its session and its entry in the ledger."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from ingest.exceptions import DeletesRefused
from ingest.loading.chunks import ChunkLoader
from ingest.postgres.catalog import lock_statement
from ingest.results import Counts
from ingest.writing.conflicts.options import NOTHING_TO_KEEP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.ledger.entry import Entry, Settled
    from ingest.loading.options import LoadSpec
    from ingest.loading.progress import ProgressReporter
    from ingest.loading.reject_file import RejectFile
    from ingest.loading.reject_log import RejectLog
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.sources import Source
    from ingest.sources.fingerprints import Fingerprint


Marks = dict[str, dict[str, Any]]
"""How far the reject ``log`` and the reject ``file`` are written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadAttempt:
    """One attempt at a load, from its committed part to its end."""

    job: LoadSpec
    source: Source
    session: Session
    entry: Entry
    """The load in the ledger."""
    log: RejectLog
    """The log of the reasons, as JSON Lines."""
    file: RejectFile | None
    """The file of the refused records."""
    fingerprint: Fingerprint
    """The source's fingerprint."""
    reporter: ProgressReporter

    def mark(self) -> Marks:
        """Return the positions up to which rejects are written now."""
        marks = {"log": self.log.mark()}
        return marks if self.file is None else {**marks, "file": self.file.mark()}

    def rewind(self, marks: Mapping[str, Mapping[str, Any]]) -> None:
        """Remove the rejects that were written after the marks."""
        self.log.rewind(marks["log"])
        if self.file is not None and "file" in marks:
            self.file.rewind(marks["file"])

    def write_pending(self, through: int | None = None) -> None:
        """Write the pending rejects of chunks to the files, in the source's order.

        ``through`` is the last chunk to write; None: all of them. The marks are updated in the same
        transaction in which the rejects cease to be pending. After a failure in between, a process
        that resumes the load cuts the files back to the earlier marks.
        """
        while True:
            with self.session.transaction():
                pending = self.entry.next_pending(self.session, through)
                if pending is None:
                    return
                rejects = self.log.append(pending.log)
                if self.file is not None:
                    self.file.append(pending.records)
                self.entry.end_pending(self.session, pending, rejects, self.mark())

    def finish(self, counts: Counts, table: Table, decisions: Sequence[str]) -> None:
        """Record in the open transaction that all rows are loaded.

        Raise ``TooManyRejects`` if more records were refused than the limit allows.
        """
        self.log.finish(counts.read)
        if self.job.how.conflicts is not None and self.job.how.is_chunked:
            self.entry.forget_keys(self.session)
        self.entry.tell(
            self.session,
            status="loaded",
            error="",
            ended_at=timezone.now(),
            decisions=decisions,
            driver=self.session.driver,
            fingerprint=str(self.fingerprint),
            stages=self.reporter.stages.seconds,
            table=table.qualified_name,
            reasons=[reason.told() for reason in self.log.reasons()],
            **dataclasses.asdict(counts),
        )
        # A file that has become shorter yields no further chunk after which this would be noticed.
        self.source.check_unchanged()


class Run:
    """An attempt at a load by one worker."""

    def __init__(self, attempt: LoadAttempt) -> None:
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
        """The decisions made on the way, a sentence each."""
        slow = (field.told() for field in self._loader.slow_fields)
        return (*self._loader.decisions, *slow, *self._try.source.notes)

    @property
    def table(self) -> Table:
        """The table, once ``go`` has read it."""
        return self._loader.table

    def go(self, settled: Settled) -> None:
        """Load and commit the rest; afterwards the reporter has the counts."""
        how, session = self._try.job.how, self._try.session
        self._reporter.start_from(settled.counts, settled.bytes_read)
        if settled.chunks:
            self._reporter.see(Counts(), settled.bytes_read, self._try.source.bytes_total)
        self._loader.read_from(self._try.source, settled.position, how.records_of_chunk)
        if settled.is_finished:  # the answer to the COMMIT was lost, not the COMMIT
            with session.transaction():
                self._loader.prepare()
            return
        ordinal, is_over = settled.chunks, False
        while not is_over:
            ordinal += 1
            first = lock_statement(self._try.job.model) if self._try.entry.is_brief else ""
            with self._stage("commit"), session.transaction(first) as transaction:
                with self._stage("prepare"):
                    self._loader.prepare()
                counts = self._load_chunk(ordinal)
                is_over = self._loader.is_over
                if is_over:
                    self._try.finish(counts, self.table, self.decisions)
                self._loader.move_sequences()
                if how.dry_run:
                    transaction.roll_back()
            self._reporter.committed(
                counts, ordinal if self._is_chunked else None, self._loader.bytes_read
            )

    def _load_chunk(self, ordinal: int) -> Counts:
        """Load one chunk, if there is another; return the counts including it."""
        before = self._reporter.counts
        if not self._loader.has_more():
            conflicts = self._try.job.how.conflicts
            if conflicts is not None and conflicts.mode == "sync":
                raise DeletesRefused(NOTHING_TO_KEEP)
            return before
        counts = self._loader.send(ordinal, before.read)
        if self._is_chunked and ordinal == 1:
            fingerprint = str(self._try.fingerprint)
            self._try.entry.tell(self._try.session, fingerprint=fingerprint)
        self._loader.record(counts, before.read, {"marks": self._try.mark()})
        return before + counts
