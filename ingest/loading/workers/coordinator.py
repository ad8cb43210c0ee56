"""Workers that load the chunks of one source side by side, and commit them in the source's order.

What is in is at any moment what one worker alone would have put in by then: the chunks before some
record, and none after it. A chunk whose rows are sent waits, in its open transaction, for its turn.
If it keeps an earlier chunk waiting meanwhile (both have the same unique key), it is rolled back
and sent again.
"""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

from django.conf import settings

from ingest.conversion.slow_fields import add_up
from ingest.exceptions import NOTHING_LOADED, ConnectionFailed, IngestError, Outcome
from ingest.loading.workers.messages import Commit, Retry, Task
from ingest.loading.workers.process import WorkerProcess, assignment_of
from ingest.postgres.catalog import read_settled_table
from ingest.postgres.several_tables import models_of_rows
from ingest.results import Counts
from ingest.sources import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.conversion.slow_fields import SlowField
    from ingest.ledger.entry import Entry, Settled
    from ingest.loading.attempt import LoadAttempt, Marks
    from ingest.loading.options import LoadSpec
    from ingest.loading.workers.messages import Committed
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.sources import Source

LOOK_SECONDS = 0.2
"""How often it is looked whether one chunk stands in another's way."""


def why_alone(job: LoadSpec, source: Source, session: Session, entry: Entry) -> str | None:
    """Return why one worker must do it all, or give None."""
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
    if not source.paths or source.find_ends(Position(), 1) is None:
        return f"{source.name} must be read from its beginning to be cut into chunks."
    return None


class Coordinator:
    """One try at a load by several workers, from what is committed of it to its end."""

    def __init__(self, attempt: LoadAttempt) -> None:
        self._try = attempt
        self._job = attempt.job
        self._session = attempt.session
        self._entry = attempt.entry
        self._reporter = attempt.reporter
        self._decisions: dict[str, None] = {}
        self._slow_fields: tuple[SlowField, ...] = ()
        self._members: list[WorkerProcess] = []
        self._tasks: Iterator[Task] = iter(())
        self._turn = 0
        self._marks: Marks = {}
        self.table: Table

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided on the way, a sentence each."""
        return (*self._decisions, *(field.told() for field in self._slow_fields))

    def go(self, settled: Settled) -> None:
        """Load what is left, and commit it; the reporter then has the counts."""
        self._reporter.start_from(settled.counts)
        with self._session.transaction():
            self.table = read_settled_table(self._session, self._job.model)
            self._entry.tell(self._session, fingerprint=str(self._try.fingerprint))
        if settled.is_finished:
            return
        self._turn = settled.chunks + 1
        self._tasks = self._cut(settled)
        try:
            with self._reporter.stages.stage("workers"):
                self._work()
        except BaseException:
            self._end_members()
            # One of them may have committed a chunk without our hearing of it.
            with suppress(IngestError), self._session.transaction():
                self._reporter.start_from(self._entry.settle(self._session).counts)
            raise
        self._end_members()
        with self._session.transaction():
            self._try.finish(self._reporter.counts, self.table, self.decisions)

    def _end_members(self) -> None:
        for member in self._members:
            member.end()
            if member.is_committing and member.backend is not None:
                with suppress(IngestError):
                    self._session.end_backend(member.backend)

    def _cut(self, settled: Settled) -> Iterator[Task]:
        start, read = settled.position, settled.counts.read
        rows = cast("int", self._job.how.records_of_chunk)
        ends = self._try.source.find_ends(start, rows) or ()
        for ordinal, stop in enumerate(ends, self._turn):
            records = stop.record - (start.record if stop.file == start.file else 0)
            yield Task(ordinal=ordinal, start=start, stop=stop, records=records, read_before=read)
            start, read = stop, read + records

    def _work(self) -> None:
        while self._hand_out():
            for pipe in wait([member.pipe for member in self._members], LOOK_SECONDS):
                member = next(item for item in self._members if item.pipe is pipe)
                try:
                    committed = member.hear()
                except (EOFError, ConnectionResetError):
                    self._replace(member)
                    continue
                if committed is not None:
                    self._take(member, committed)
            self._give_turn()
            self._clear_the_way()
            self._tell()

    def _hand_out(self) -> bool:
        """Return everybody something to do; gives whether anybody has."""
        while len(self._members) < self._job.how.workers:
            task = next(self._tasks, None)
            if task is None:
                break
            self._members.append(self._hire())
            self._members[-1].give(task)
        for member in self._members:
            task = None if member.task is not None else next(self._tasks, None)
            if task is not None:
                member.give(task)
        return any(member.task is not None for member in self._members)

    def _hire(self) -> WorkerProcess:
        load = self._entry.load
        if load is None:
            raise RuntimeError("A load that is not recorded has one worker: see why_alone().")
        return WorkerProcess(assignment_of(load.pk, self._job.alias, self._session.state))

    def _of_turn(self) -> WorkerProcess | None:
        """Return the worker whose chunk is the next to be committed."""
        for member in self._members:
            if member.task is not None and member.task.ordinal == self._turn:
                return member
        return None

    def _give_turn(self) -> None:
        """Let the chunk whose turn it is be committed, if its rows are sent."""
        member = self._of_turn()
        if member is None:
            return
        if member.failed is not None:
            self._judge(member)
        elif member.sent is not None and not member.is_committing:
            self._marks = self._try.mark()
            read = self._reporter.counts.read + member.sent.counts.read
            self._try.log.add(member.sent.rejects, read)
            if self._try.file is not None:
                self._try.file.append(member.sent.refused)
            member.is_committing = True
            kept = self._entry.rejects_kept
            member.tell(Commit(marks=self._try.mark(), rejects_kept=kept))

    def _take(self, member: WorkerProcess, committed: Committed) -> None:
        """Count a chunk that is in."""
        if member.sent is None:
            raise RuntimeError("A worker committed what it had not sent.")
        self._decisions.update(dict.fromkeys(member.sent.decisions))
        self._slow_fields = add_up((*self._slow_fields, *member.sent.slow_fields))
        self._reporter.stages.add(committed.stages)
        self._entry.count_kept(len(member.sent.rejects))
        self._reporter.committed(self._reporter.counts + member.sent.counts, self._turn)
        member.task = None
        self._turn += 1

    def _judge(self, member: WorkerProcess) -> None:
        """Give a chunk that failed another try, or give up."""
        failed, task = member.failed, member.task
        if failed is None or task is None or isinstance(failed.error, ConnectionFailed):
            return  # without a connection the worker ends, and is replaced
        if member.is_committing:
            self._try.rewind(self._marks)
        if not failed.is_passing or member.tries >= self._job.how.retries:
            raise failed.error
        member.give(task, member.tries + 1)

    def _replace(self, member: WorkerProcess) -> None:
        """Put another worker in the place of one that has died."""
        member.end()
        self._members.remove(member)
        if member.backend is not None:
            self._session.end_backend(member.backend)
        task = member.task
        if member.failed is not None and not member.failed.is_passing:
            raise member.failed.error
        if task is None:
            return
        if member.is_committing and member.sent is not None:
            with self._session.transaction():
                settled = self._entry.settle(self._session)
            if settled.chunks >= task.ordinal:  # it died after its commit
                self._reporter.committed(self._reporter.counts + member.sent.counts, None)
                self._turn += 1
                return
            self._try.rewind(self._marks)
        if member.tries >= self._job.how.retries:
            raise IngestError(
                f"Workers died {member.tries + 1} times over records {task.read_before + 1:,} to "
                f"{task.read_before + task.records:,}: see whether memory is short."
            ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)
        heir = self._hire()
        self._members.append(heir)
        heir.give(task, member.tries + 1)

    def _clear_the_way(self) -> None:
        """Let chunks make way that the chunk whose turn it is waits for."""
        first = self._of_turn()
        others = [item for item in self._members if item is not first and item.sent is not None]
        if first is None or first.sent is not None or first.backend is None or not others:
            return
        pids = {pid for (pid,) in self._session.fetch(_BLOCKING, first.backend.pid)}
        for member in others:
            if member.backend is not None and member.backend.pid in pids:
                member.begin_again(Retry())

    def _tell(self) -> None:
        at_work = [item for item in self._members if item.task is not None]
        bytes_read = max([item.task.start.byte or 0 for item in at_work if item.task], default=0)
        self._reporter.see(
            sum((item.seen.counts for item in at_work), Counts()),
            bytes_read,
            self._try.source.bytes_total,
        )


_BLOCKING = "SELECT * FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::integer))"
