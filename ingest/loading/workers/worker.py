"""Loads chunks in a process, over a connection that is kept for the next chunk."""

from __future__ import annotations

import io
import math
import pickle
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections

from ingest.exceptions import ConnectionFailed, SourceError
from ingest.ledger.entries import find_load
from ingest.ledger.shared import SharedEntry
from ingest.loading.chunks import ChunkLoader
from ingest.loading.events import Announcement
from ingest.loading.options import LoadSpec
from ingest.loading.progress import ProgressReporter
from ingest.loading.reject_file import RejectFile
from ingest.loading.reject_log import RejectLimit, RejectLog
from ingest.loading.workers.chunk import (
    FAILED,
    IN,
    UNWANTED,
    WAITING,
    Answer,
    Chunk,
    describe,
    identify,
)
from ingest.postgres.errors import is_passing, translate
from ingest.postgres.session import (
    AsyncpgSession,
    SessionState,
    open_session,
    put_django_in,
    read_state,
)
from ingest.sources import open_source
from ingest.sources.several import SeveralSource

if TYPE_CHECKING:
    from ingest.ledger.shared import Before
    from ingest.results import Counts
    from ingest.sources import Source

IDLE_SECONDS = 60.0
"""How long a connection is kept for another chunk."""
LOOK_SECONDS = (0.002, 0.05)
"""The first and the longest interval of checks whether the chunk before is committed."""
NEIGHBOURS_SECONDS = 0.2
"""The interval of checks which other processes run the load."""
PATIENCE_SECONDS = 2.0
"""How long a chunk waits while no process loads the first one, for which all others wait; and the
least time that it waits with rows on other servers, whose locks this one does not see."""
PAUSE_SECONDS = 0.2
"""The pause before a chunk is retried the first time; it doubles with each further retry."""

_handed: dict[str, SessionState] = {}
"""The states of the coordinator's sessions, by alias, in a process of our own pool."""
_of_thread = threading.local()
_all: set[Worker] = set()
_left_behind: list[Any] = []
"""Connections that must not be garbage-collected, which would close them."""


class _InTheWayError(Exception):
    """An earlier chunk waits for this one."""


class _NotNowError(Exception):
    """The chunk cannot be loaded now; the argument is the state to return."""


def hand_over(alias: str, state: SessionState) -> bytes:
    """Return what a process of our own pool needs: current settings, and secrets."""
    return pickle.dumps((alias, dict(connections[alias].settings_dict), state))


def take_over(handed: bytes) -> None:
    """Restore what ``hand_over`` returned."""
    alias, database, state = pickle.loads(handed)  # noqa: S301 - our own
    connections[alias].settings_dict.update(database)
    _handed[alias] = state


def load_or_say_why_not(load: int, text: str) -> str:
    """Load a chunk, and retry if that may help."""
    chunk, tries, waits_first = Chunk.from_json(text), 0, False
    while True:
        worker = None
        try:
            worker = _worker_of(load, chunk)
            return worker.do(chunk, waits_first=waits_first).to_json()
        except _InTheWayError:
            waits_first = True
        except _NotNowError as reason:
            return Answer(state=str(reason)).to_json()
        except Exception as error:  # noqa: BLE001 - reported to the coordinator
            tries += 1
            failure, may_pass = translate(error), is_passing(error)
            if isinstance(failure, ConnectionFailed | DatabaseError):
                forget()
            if not may_pass or tries > chunk.retries:
                told = describe(failure, may_pass=may_pass)
                if worker is None:
                    told["message"] = f"A worker could not begin: {told['message']}"
                return Answer(state=FAILED, error=told).to_json()
            waits_first = True
            time.sleep(PAUSE_SECONDS * 2 ** (tries - 1))


def forget() -> None:
    """Close the connections of this thread's worker."""
    worker: Worker | None = getattr(_of_thread, "worker", None)
    _of_thread.worker = None
    if worker is not None:
        worker.close()


def forget_all() -> None:
    """Close the connections of all workers of this process, or have it done after their chunks."""
    for worker in list(_all):
        worker.leave()


def leave_behind() -> None:
    """Forget all connections without closing them: another process shares their sockets."""
    for wrapper in connections.all(initialized_only=True):
        _left_behind.append(wrapper)
        del connections[wrapper.alias]
    _left_behind.extend(_all)
    _all.clear()
    _of_thread.worker = None


def _worker_of(load: int, chunk: Chunk) -> Worker:
    worker: Worker | None = getattr(_of_thread, "worker", None)
    if worker is None or worker.key != (load, chunk.alias, chunk.run) or worker.is_closed:
        forget()
        worker = _of_thread.worker = Worker(load, chunk)
    return worker


class Worker:
    """Loads chunks of one load in one thread."""

    def __init__(self, load: int, chunk: Chunk) -> None:
        self.key = (load, chunk.alias, chunk.run)
        self.is_closed = False
        self._is_leaving = False
        self._busy = threading.Lock()
        self._stack = ExitStack()
        self._timer: threading.Timer | None = None
        self._idle_since = 0.0
        self._alias = chunk.alias
        self._thread, self._django = threading.get_ident(), connections[chunk.alias]
        _all.add(self)
        try:
            with self._busy:  # so that leave() closes what is opened, afterwards
                self._open(load, chunk)
        except BaseException:
            self.close()
            raise

    def _open(self, load: int, chunk: Chunk) -> None:
        alias = self._alias
        state = _handed.get(alias)
        if state is None:
            state = read_state(alias).again(chunk.state, f"Load {load}")
        put_django_in(alias, state)
        found = find_load(load, alias)
        self._job = job = LoadSpec.again(found, alias)
        self._entry = SharedEntry(found, alias, chunk.run)
        self._session = self._stack.enter_context(open_session(alias, state))
        self._pid = self._session.backend().pid
        self._limit = RejectLimit.parse(job.how.reject_limit)
        self._reporter = ProgressReporter(None, Announcement(model=job.model, using=alias))
        self._log = RejectLog(None, RejectLimit())
        self._empty_log = self._log.mark()
        self._refused = io.BytesIO()
        self._files: SeveralSource | None = None
        self._notes: tuple[str, ...] = ()
        """The notes of the source about the current chunk."""
        file = None
        if job.how.reject_file is not None:
            with open_source(job.given, job.reading) as source:
                file = RejectFile(self._refused, source.writer())
        self._head = self._refused.tell()
        self._loader = ChunkLoader(
            job,
            self._session,
            entry=self._entry,
            log=self._log,
            file=file,
            reporter=self._reporter,
        )

    def close(self) -> bool:
        """Close the connections, unless a chunk is being loaded; return whether they are closed."""
        if not self._busy.acquire(blocking=False):
            return False
        try:
            if self.is_closed:
                return True
            self.is_closed = True
            _all.discard(self)
            if self._timer is not None:
                self._timer.cancel()
            session = getattr(self, "_session", None)
            if isinstance(session, AsyncpgSession):
                with suppress(Exception):
                    session.close()  # not kept for other loads of this thread
            with suppress(Exception):
                self._stack.close()
            if threading.get_ident() != self._thread:
                self._django.inc_thread_sharing()
                self._django.close()
        finally:
            self._busy.release()
        return True

    def leave(self) -> None:
        """Close the connections, at the latest when the current chunk has ended."""
        self._is_leaving = True
        self.close()

    def _close_all(self) -> None:
        """Close Django's connection too, in the worker's own thread."""
        if self.close() and not self._django.in_atomic_block:
            self._django.close()

    def do(self, chunk: Chunk, *, waits_first: bool) -> Answer:
        """Load the chunk; ``waits_first``: only when the chunk before is committed."""
        try:
            with self._busy:
                try:
                    return self._do(chunk, waits_first=waits_first)
                except _NotNowError as reason:
                    self._is_leaving |= str(reason) == UNWANTED  # the load has ended
                    raise
                finally:
                    self._idle_since = time.monotonic()
                    if self._timer is None and not self._is_leaving:
                        self._watch(IDLE_SECONDS)
        finally:
            if self._is_leaving:
                self._close_all()

    def _watch(self, seconds: float) -> None:
        """Check after this many seconds whether there was another chunk."""
        self._timer = threading.Timer(seconds, self._close_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _close_if_idle(self) -> None:
        left = self._idle_since + IDLE_SECONDS - time.monotonic()
        if left <= 0 and self.close():
            return
        self._watch(max(left, 1.0))

    def _do(self, chunk: Chunk, *, waits_first: bool) -> Answer:
        ordinal = chunk.cut.ordinal
        stages = self._reporter.stages.seconds
        stages.update(dict.fromkeys(stages, 0.0))
        if waits_first and chunk.is_ordered:
            with self._session.transaction(self._entry.lock_of(ordinal)) as transaction:
                self._wait(chunk, holds_rows=False)
                transaction.roll_back()  # its snapshot may be older than the chunk before
        with self._session.transaction(self._entry.lock_of(ordinal)) as transaction:
            found = self._entry.look(ordinal, asks_run=True)
            known = found.own
            if known is None:
                if not found.is_wanted:
                    raise _NotNowError(UNWANTED)
                counts = self._load(chunk)
            else:
                transaction.roll_back()
                counts = known
        return Answer(
            state=IN,
            counts=counts,
            decisions=(*self._loader.decisions, *self._notes) if known is None else (),
            slow_fields=self._loader.slow_fields if known is None else (),
            stages=dict(stages) if known is None else {},
        )

    def _load(self, chunk: Chunk) -> Counts:
        """Send the chunk's rows, wait for its turn, and record the results."""
        cut = chunk.cut
        self._log.rewind(self._empty_log)
        self._refused.truncate(self._head)
        self._refused.seek(self._head)
        with ExitStack() as stack:
            source = self._open_source(stack)
            if identify(source.places, cut, by_content=chunk.by_content) != list(chunk.files):
                raise SourceError(
                    f"{source.name} is not the file here that it is where the load was started: "
                    "every worker must find the same files under the same names."
                )
            self._loader.read_from(source, cut.start, cut.records, cut.stop)
            self._loader.prepare()
            self._loader.has_more()
            began = time.monotonic()
            # An unknown number is not 0, so that the chunk is not taken for the first one.
            counts = self._loader.send(cut.ordinal, _known(cut.read_before, 1))
            at_most = math.inf
            if self._loader.table.is_elsewhere:
                at_most = max(PATIENCE_SECONDS, time.monotonic() - began)
            before = self._wait(chunk, holds_rows=True, at_most=at_most)
            refused: int | None = None
            if before is not None:
                known = chunk.known_refused if before.refused is None else before.refused
                refused = known + counts.rejected
            self._check_limit(chunk, counts, before, refused)
            read_before = _known(cut.read_before, 0) if before is None else before.read
            said = {} if refused is None else {"refused": refused}
            self._loader.record(counts, read_before, said, cut.stop)
            self._notes = source.notes
        if self._job.how.on_error == "reject":
            refused_records = self._refused.getvalue()[self._head :]
            self._entry.keep_rejects(self._session, self._log.text(), refused_records)
        self._loader.move_sequences()
        return counts

    def _open_source(self, stack: ExitStack) -> Source:
        """Open the source; for many files, the list and the current file are kept open."""
        if self._files is not None:
            return self._files
        source = open_source(self._job.given, self._job.reading)
        if isinstance(source, SeveralSource):
            self._files = self._stack.enter_context(source)
        else:
            stack.enter_context(source)
        return source

    def _check_limit(
        self, chunk: Chunk, counts: Counts, before: Before | None, refused: int | None
    ) -> None:
        if not counts.rejected:
            return
        first = next(iter(self._log), None)
        if before is None or refused is None:
            refused, read = chunk.known_refused + counts.rejected, chunk.known_read + counts.read
            self._limit.check_number(refused, read, first)
        else:
            self._limit.check(refused, before.read + counts.read, first)

    def _wait(self, chunk: Chunk, *, holds_rows: bool, at_most: float = math.inf) -> Before | None:
        """Wait until the chunk before is committed; if ordered, return the totals then.

        ``at_most``: the seconds after which this chunk gives way to an earlier one.
        """
        ordinal = chunk.cut.ordinal
        pause, most = LOOK_SECONDS
        began = looked = missed = time.monotonic()
        while True:
            found = self._entry.look(ordinal)
            self._entry.refuse_undone(found.status)
            if not chunk.is_ordered:
                return None
            if found.before is not None:
                return found.before
            time.sleep(pause)
            pause = min(2 * pause, most)
            now = time.monotonic()
            if now - looked < NEIGHBOURS_SECONDS:
                continue
            looked = now
            neighbours = self._entry.neighbours(ordinal, self._pid)
            if not neighbours.is_wanted:
                raise _NotNowError(UNWANTED)
            if holds_rows and (neighbours.is_in_the_way or now - began > at_most):
                raise _InTheWayError
            if neighbours.is_first_loaded:
                missed = now
            if now - missed > PATIENCE_SECONDS:
                raise _NotNowError(WAITING)


def _known(number: int | None, otherwise: int) -> int:
    return otherwise if number is None else number
