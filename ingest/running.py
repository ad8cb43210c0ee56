"""One try at a load: chunk after chunk over one session, each with its rows and its record."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from ingest import conf
from ingest.aftermath import Sequences
from ingest.exceptions import ConfigurationError, CountMismatch
from ingest.fingerprints import digest_of_part
from ingest.keys import Keys
from ingest.methods import Target, get_method
from ingest.methods.copy import CopyMethod
from ingest.methods.direct import DirectMethod
from ingest.pipeline import Chunks, Pipeline
from ingest.sending import Follower
from ingest.sources import Position
from ingest.table import read_settled_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ingest.conversion import TypedBatch
    from ingest.fingerprints import Fingerprint
    from ingest.job import Job
    from ingest.keys import Purpose
    from ingest.ledger import Entry, Settled
    from ingest.options import LoadOptions
    from ingest.reject_file import RejectFile
    from ingest.reject_log import RejectLog
    from ingest.rejects import Reject
    from ingest.reporting import Reporter
    from ingest.results import Counts
    from ingest.session import Session
    from ingest.sources import Source
    from ingest.stages import Stages
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
        self._decisions: dict[str, None] = {}
        self._plan: _Plan | None = None
        self._position = Position()
        self.table: Table

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided on the way, a sentence each."""
        return tuple(self._decisions)

    def go(self, settled: Settled) -> None:
        """Load what is left, and commit it; the reporter then has the counts."""
        self._reporter.counts = settled.counts
        self._position = settled.position
        if settled.is_finished:  # the answer to the COMMIT was lost, not the COMMIT
            with self._session.transaction():
                self.table = read_settled_table(self._session, self._job.model)
            return
        ordinal, is_over = settled.chunks, False
        while not is_over:
            ordinal += 1
            with self._stage("commit"), self._session.transaction() as transaction:
                with self._stage("prepare"):
                    plan = self._prepare()
                is_over, counts = self._load_chunk(plan, ordinal)
                if self._job.how.dry_run:
                    transaction.roll_back()
            if self._job.how.is_chunked:
                done = counts - self._reporter.counts
                self._reporter.announcement.committed(ordinal, done)
            self._reporter.counts = counts

    def _purpose(self) -> Purpose:
        if self._job.how.dry_run:
            return "spare"
        return "none" if self._entry.load is None else "record"

    def _decide(self, *sentences: str) -> None:
        self._decisions.update(dict.fromkeys(sentences))

    def _prepare(self) -> _Plan | None:
        """Look at the table at the start of each transaction; plan once.

        There is nothing to plan for an empty iterable, which has no columns.
        """
        self._entry.lock(self._session)
        table = read_settled_table(self._session, self._job.model)
        if not self._source.columns:
            self.table = table
        elif self._plan is None:
            self.table = table
            self._plan = _Plan(
                self._job,
                self._source,
                self._session,
                table=table,
                stages=self._reporter.stages,
                purpose=self._purpose(),
            )
            if self._plan.keys.reason is not None:
                self._decide(f"Rows: not to be told from others, for {self._plan.keys.reason}")
            self._plan.begin(self._position)
        elif table != self.table:
            raise ConfigurationError(
                f"The table {table.qualified_name} was changed while rows were loaded into it."
            )
        return self._plan

    def _load_chunk(self, plan: _Plan | None, ordinal: int) -> tuple[bool, Counts]:
        """Load one chunk; gives whether it is the last one, and the counts with it."""
        total = self._reporter.counts
        if plan is not None and plan.chunks.has_more():
            writer = _writer(self._job, plan.table)
            writer.stages = self._reporter.stages
            total += self._send(plan, writer, ordinal)
            self._decide(*writer.decisions)
        is_over = plan is None or plan.chunks.is_over
        if is_over:
            self._log.finish(total.read)
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
                **dataclasses.asdict(total),
            )
        return is_over, total

    def _send(self, plan: _Plan, writer: CopyMethod, ordinal: int) -> Counts:
        before = self._reporter.counts
        rejected_before = self._log.records
        key = self._entry.begin_chunk(self._session, ordinal, before.read + 1)
        kept: list[Reject] = []

        def refuse(rejects: Sequence[Reject], batch: TypedBatch) -> None:
            if self._file is not None and rejects:
                self._file.add(rejects, batch.batch)
            self._log.add(rejects, before.read + plan.chunks.read)
            kept.extend(rejects[: max(conf.rejects_kept() - len(kept), 0)])

        def seen(batches: Iterator[TypedBatch]) -> Iterator[TypedBatch]:
            for batch in batches:
                yield batch
                rejected = self._log.records - rejected_before
                self._reporter.see(plan.chunks.read, rejected, self._source)

        rows = writer.send(
            self._session,
            plan.keys.encoding,
            plan.keys.number(plan.sequences.watch(seen(plan.chunks.chunk()))),
            refuse if self._job.how.on_error == "reject" else None,
            _KeyWatcher(plan.keys, self._entry, self._session, key),
        )
        if not self._job.how.dry_run:
            plan.sequences.move()
        counts = plan.chunks.counts(rows, self._log.records - rejected_before)
        self._check(counts)
        self._source.check_unchanged()
        self._end_chunk(plan, key, counts, kept)
        return counts

    def _end_chunk(self, plan: _Plan, key: int, counts: Counts, kept: list[Reject]) -> None:
        start, stop = self._position, Position()
        facts: dict[str, Any] = {}
        if self._job.how.is_chunked:
            with self._stage("find position"):
                stop = plan.chunks.position()
                facts = _bytes_between(self._source, start, stop)
                if start == Position():
                    self._entry.tell(self._session, fingerprint=str(self._fingerprint))
        self._position = stop
        self._entry.end_chunk(
            self._session,
            key,
            ranges=plan.keys.take_ranges(),
            rejects=kept,
            last_record=self._reporter.counts.read + counts.read,
            position={"source": dataclasses.asdict(stop), "marks": self._marks()},
            rows=counts.loaded,
            rejected=counts.rejected,
            skipped=counts.skipped,
            **facts,
        )

    def _marks(self) -> dict[str, dict[str, int]]:
        marks = {"log": self._log.mark()}
        return marks if self._file is None else {**marks, "file": self._file.mark()}

    def _check(self, counts: Counts) -> None:
        if not counts.add_up:
            raise CountMismatch(
                f"{self._source.name} had {counts.read:,} records, {counts.rejected:,} were "
                f"rejected and {counts.skipped:,} skipped, but PostgreSQL counted "
                f"{counts.loaded:,} rows. Nothing was loaded."
            )


class _Plan:
    """What is made once for a try: it outlives the transactions of the chunks."""

    def __init__(
        self,
        job: Job,
        source: Source,
        session: Session,
        *,
        table: Table,
        stages: Stages,
        purpose: Purpose,
    ) -> None:
        self._how: LoadOptions = job.how
        self.table = table
        self._pipeline = Pipeline(
            job.model,
            source,
            job.layout,
            session=session,
            alias=job.alias,
            table=table,
            stages=stages,
        )
        encoding = self._pipeline.encoding
        self.keys = Keys(session, table, job.model, encoding, purpose=purpose)
        self.sequences = Sequences(session, table, encoding.names)
        self.chunks: Chunks

    def begin(self, position: Position) -> None:
        rows = self._how.records_of_chunk
        batches = self._pipeline.batches(position, rows)
        self.chunks = Chunks(batches, position, rows, aborts=self._how.on_error == "abort")


class _KeyWatcher(Follower):
    """Keeps the keys of the rows that are in."""

    def __init__(self, keys: Keys, entry: Entry, session: Session, chunk: int) -> None:
        self._keys = keys
        self._entry = entry
        self._session = session
        self._chunk = chunk

    def idle(self, batch: TypedBatch) -> None:
        self._keys.reserve(len(batch.records))

    def landed(self, batch: TypedBatch, refused: Collection[int]) -> None:
        keys = self._keys.note(batch, refused)
        if keys:
            self._entry.keep_keys(self._session, self._chunk, keys)


def _writer(job: Job, table: Table) -> CopyMethod:
    how = job.how
    target = Target(model=job.model, alias=job.alias, table=table, fields=())
    if how.method == DirectMethod.name:
        return DirectMethod(
            target, references=how.references, indexes=how.indexes, is_chunk=how.is_chunked
        )
    if how.method == CopyMethod.name:
        return CopyMethod(target)
    get_method(how.method)  # says what is wrong with an unknown name
    raise ConfigurationError(
        f"The method {how.method!r} is there to be compared with: a load uses 'direct' or 'copy'."
    )


def _bytes_between(source: Source, start: Position, stop: Position) -> dict[str, Any]:
    """Give the bytes of a chunk and their digest, where it lies in one file that can be sought."""
    if stop.byte is None or start.file != stop.file or stop.file >= len(source.paths):
        return {}
    first = start.byte or 0
    digest = digest_of_part(source.paths[stop.file], first, stop.byte)
    return {"first_byte": first, "last_byte": stop.byte, "fingerprint": digest}
