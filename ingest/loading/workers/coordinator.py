"""Runs the chunks of a load on an executor and records their results.

In the source's order, the committed rows are at any moment those that a single process would have
committed by then: the chunks before some record, and none after it. A chunk whose rows were sent
waits in its open transaction until the chunk before is committed, according to the ledger.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, wait
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, cast

from django.conf import settings

from ingest.conversion.slow_fields import add_up
from ingest.exceptions import NOTHING_LOADED, ConfigurationError, IngestError, Outcome, SourceError
from ingest.ledger.shared import begin_run, end_run
from ingest.loading.reject_log import RejectLimit
from ingest.loading.workers.chunk import (
    IN,
    UNWANTED,
    WAITING,
    Answer,
    Chunk,
    cut,
    error_of,
    identify,
)
from ingest.loading.workers.executors import ChunkExecutor, DaskWorkers, OwnProcesses
from ingest.postgres.catalog import read_settled_table
from ingest.postgres.several_tables import models_of_rows
from ingest.results import Counts
from ingest.sources import Position
from ingest.sources.addresses import has_credentials
from ingest.sources.fingerprints import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from ingest.conversion.slow_fields import SlowField
    from ingest.ledger.entry import Entry, Settled
    from ingest.ledger.models import Load
    from ingest.loading.attempt import LoadAttempt
    from ingest.loading.options import LoadSpec
    from ingest.loading.workers.chunk import Cut
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.sources import Source

LOOK_SECONDS = 0.1
"""The interval of progress reports while no chunk is finished."""


def why_alone(job: LoadSpec, source: Source, session: Session, entry: Entry) -> str | None:
    """Return why one process must do the whole load, or None if it need not."""
    if job.how.conflicts is not None:
        return "with on_conflict a record may have the key of another one in any chunk."
    if session.is_callers:
        return "the rows must go over the caller's connection."
    if entry.load is None:
        return "the load is not recorded."
    if not getattr(settings, "SETTINGS_MODULE", None):
        return "other processes would not find the settings: DJANGO_SETTINGS_MODULE is not set."
    if session.isolation_level == "serializable":
        return "at the isolation level SERIALIZABLE each chunk would be refused for the one before."
    if job.layout is not None and job.layout.continuation is not None:
        return "the layout puts records together, which might be cut apart."
    if len(models_of_rows(job.model)) > 1:
        return f"a record of {job.model._meta.label} is a row of several tables."
    if not source.places or source.find_ends(Position(), 1) is None:
        return f"{source.name} must be read from its beginning to be cut into chunks."
    if any(isinstance(place, str) and has_credentials(place) for place in source.places):
        return (
            f"the address of {source.name} has credentials, which only this process knows: give "
            "them in the environment, for each worker."
        )
    return None


class Coordinator:
    """One attempt at a load by several processes, from its committed part to its end."""

    def __init__(self, attempt: LoadAttempt) -> None:
        self._try = attempt
        self._job, self._session = attempt.job, attempt.session
        self._entry, self._reporter = attempt.entry, attempt.reporter
        self._load = cast("Load", attempt.entry.load)  # see why_alone()
        self._is_ordered = attempt.job.how.is_ordered
        self._decisions: dict[str, None] = {}
        self._slow_fields: tuple[SlowField, ...] = ()
        self._executor: ChunkExecutor
        self._run = 0
        self._attempts = count(1)
        self._left: Iterator[Cut] = iter(())
        self._again: dict[int, Cut] = {}
        """Chunks to be loaded again, by their ordinals."""
        self._running: dict[Future[str], Cut] = {}
        self._failed: dict[int, IngestError] = {}
        self._in: set[int] = set()
        """Committed chunks after the first gap."""
        self._bytes_read = 0
        self._through = 0
        """The last chunk up to which all are committed."""
        self._breaks = 0
        """How often the executor broke since a chunk was committed."""
        self._is_pending = False
        self._unknown = False
        """Whether the number of records before some chunk was unknown."""
        self.table: Table

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions made on the way, a sentence each."""
        return (*self._decisions, *(field.told() for field in self._slow_fields))

    def go(self, settled: Settled) -> None:
        """Load and commit the rest; afterwards the reporter has the counts."""
        self._reporter.start_from(settled.counts)
        self._marks_before = settled.marks, self._try.mark()
        self._stamps = self._try.source.stamps()
        with self._session.transaction():
            self.table = read_settled_table(self._session, self._job.model)
            self._entry.tell(self._session, fingerprint=str(self._try.fingerprint))
        if settled.is_finished:
            return
        self._plan(settled)
        self._run = begin_run(self._session)
        try:
            self._executor = self._open_executor()
            with self._reporter.stages.stage("workers"):
                self._work()
        except BaseException:
            self._stop()
            raise
        self._executor.end()
        with self._session.transaction():
            self._reporter.start_from(self._entry.settle(self._session).counts)
            if self._unknown and not self._is_ordered:
                self._entry.number_records(self._session)
            self._try.finish(self._reporter.counts, self.table, self.decisions)

    def _open_executor(self) -> ChunkExecutor:
        how = self._job.how
        if how.executor is not None:
            return ChunkExecutor(how.executor)
        if how.scheduler is not None:
            return DaskWorkers(how.scheduler)
        return OwnProcesses(how.workers, self._job.alias, self._session.state)

    def _plan(self, settled: Settled) -> None:
        """Cut the rest into chunks; in any order, that is all chunks that are not committed."""
        rows = cast("int", self._job.how.records_of_chunk)
        if self._is_ordered:
            self._through = settled.chunks
            self._left = cut(
                self._try.source,
                rows,
                start=settled.position,
                ordinal=settled.chunks + 1,
                read_before=settled.counts.read,
            )
            return
        with self._session.transaction():
            self._in = self._entry.ordinals(self._session)
        self._move_on()
        known = frozenset(range(1, self._through + 1)) | self._in
        every = cut(self._try.source, rows, start=Position(), ordinal=1, read_before=0)
        self._left = (piece for piece in every if piece.ordinal not in known)

    def _work(self) -> None:
        while self._submit():
            done, _ = wait(self._running, LOOK_SECONDS, FIRST_COMPLETED)
            if not done:
                self._executor.check()
            for future in done:
                if future in self._running:
                    self._hear(future, self._running.pop(future))
            self._give_up_in_turn()
            self._tell()
        if self._failed:
            raise self._failed[min(self._failed)]
        self._write_pending()

    def _submit(self) -> bool:
        """Submit the next chunks; return whether any are running."""
        while len(self._running) < 2 * self._executor.workers:
            piece = self._next()
            if piece is None:
                break
            self._unknown |= piece.read_before is None
            text = self._chunk(piece).to_json()
            try:
                future = self._executor.submit(self._load.pk, text)
                self._running[future] = piece
                if future.done():  # run in this thread: read its result before submitting more
                    break
            except BrokenExecutor as error:
                self._renew(piece, error)
            except Exception as error:
                raise self._broken(error) from error
        return bool(self._running)

    def _next(self) -> Cut | None:
        first_failed = min(self._failed, default=None)
        if self._again:
            ordinal = min(self._again)
            if first_failed is None or ordinal < first_failed:
                return self._again.pop(ordinal)
        return None if self._failed else next(self._left, None)

    def _chunk(self, piece: Cut) -> Chunk:
        places, by_content = self._try.source.places, self._executor.by_content
        for number in piece.files:
            place = places[number]
            if isinstance(place, Path) and stamp(place) != self._stamps[number]:
                raise SourceError(
                    f"{place} was changed while it was read: load it when nobody writes to it."
                )
        return Chunk(
            cut=piece,
            files=identify(places, piece, by_content=by_content, known=self._stamps),
            known_read=self._reporter.counts.read,
            known_refused=self._reporter.counts.rejected,
            run=self._run,
            alias=self._job.alias,
            settings=settings.SETTINGS_MODULE,
            state=self._session.state.to_json(),
            is_ordered=self._is_ordered,
            by_content=by_content,
            retries=self._job.how.retries,
            attempt=next(self._attempts),
        )

    def _hear(self, future: Future[str], piece: Cut) -> None:
        """Process the result of a chunk."""
        try:
            answer = Answer.from_json(future.result())
        except (BrokenExecutor, CancelledError) as error:
            self._renew(piece, error)
            return
        except Exception as error:
            # Each library's executor reports the death of a worker in its own way.
            raise self._broken(error, by_worker=True) from error
        if answer.state == IN:
            self._take(answer, piece)
        elif answer.state == WAITING:
            self._again[piece.ordinal] = piece
        elif answer.state == UNWANTED:
            self._session.fetch("SELECT 1")  # fails if the connection, and so the lock, is lost
            raise ConfigurationError(
                f"A worker found no load {self._load.pk} at work in its database: "
                f"{self._job.alias!r} is another one there. Give the workers the same DATABASES."
            )
        else:
            self._failed[piece.ordinal] = error_of(answer.error or {})

    def _take(self, answer: Answer, piece: Cut) -> None:
        """Count a committed chunk."""
        self._breaks = 0
        self._decisions.update(dict.fromkeys(answer.decisions))
        self._slow_fields = add_up((*self._slow_fields, *answer.slow_fields))
        self._reporter.stages.add(answer.stages)
        self._reporter.committed(self._reporter.counts + answer.counts, piece.ordinal)
        self._in.add(piece.ordinal)
        self._is_pending |= bool(answer.counts.rejected)
        if self._move_on() and self._is_pending:
            self._write_pending()
        if not self._is_ordered and answer.counts.rejected:
            counts = self._reporter.counts
            limit = RejectLimit.parse(self._job.how.reject_limit)
            limit.check(counts.rejected, counts.read, next(iter(self._try.log), None))

    def _move_on(self) -> bool:
        before = self._through
        while self._through + 1 in self._in:
            self._through += 1
            self._in.discard(self._through)
        return self._through > before

    def _write_pending(self) -> None:
        self._try.write_pending(self._through)
        self._is_pending = bool(self._in)

    def _give_up_in_turn(self) -> None:
        """Raise the first error, once all chunks before it are committed: these may fail, too."""
        if self._failed and (not self._is_ordered or self._through + 1 in self._failed):
            raise self._failed[min(self._failed)]

    def _renew(self, piece: Cut, error: BaseException) -> None:
        """Replace workers that have died, and submit their chunks again."""
        pieces = [piece, *self._running.values()]
        self._running.clear()
        self._again.update({each.ordinal: each for each in pieces})
        self._breaks += 1
        first = self._again[min(self._again)]
        if self._breaks > self._job.how.retries:
            where = (
                ""
                if first.read_before is None or first.records is None
                else f" over records {first.read_before + 1:,} to "
                f"{first.read_before + first.records:,}"
            )
            raise IngestError(
                f"Workers died {self._breaks} times{where}: check whether memory is short."
            ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)
        if not self._executor.renew():
            raise self._broken(error) from error

    def _broken(self, error: BaseException, *, by_worker: bool = False) -> IngestError:
        told = self._executor.describe(error, by_worker=by_worker)
        return IngestError(told).with_outcome(Outcome.NOTHING, NOTHING_LOADED)

    def _stop(self) -> None:
        """Prevent further commits, and count what is committed."""
        for future in self._running:
            future.cancel()
        with suppress(Exception):  # the error that stopped the load is what to report
            end_run(self._session, self._load, self._run)
        if hasattr(self, "_executor"):
            self._executor.end()
        with suppress(Exception):
            with self._session.transaction():
                settled = self._entry.settle(self._session)
                self._reporter.start_from(settled.counts, self._bytes_read)
            in_ledger, in_files = self._marks_before
            # Ctrl-C may have come after rejects were written and before that was committed.
            self._try.rewind(in_files if settled.marks == in_ledger else settled.marks)
            self._try.write_pending(None if self._is_ordered else self._through)

    def _tell(self) -> None:
        """Report the records up to the first chunk that is not committed yet."""
        starts = [piece.start for piece in (*self._running.values(), *self._again.values())]
        if starts:
            at = min(starts, key=_place)
            before = sum(size or 0 for size, *_ in self._stamps[: at.file])
            self._bytes_read = max(self._bytes_read, before + (at.byte or 0))
        self._reporter.see(Counts(), self._bytes_read, self._try.source.bytes_total)


def _place(position: Position) -> tuple[int, int]:
    return position.file, position.byte or 0
