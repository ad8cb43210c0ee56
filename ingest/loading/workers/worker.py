"""Where a worker loads chunks: each is sent, waits for its turn, and is committed."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from django.db import connections

from ingest.exceptions import ConnectionFailed, IngestError
from ingest.ledger.entries import SharedEntry, find_load
from ingest.loading.chunks import ChunkLoader
from ingest.loading.events import Announcement
from ingest.loading.options import LoadSpec
from ingest.loading.progress import ProgressReporter
from ingest.loading.reject_file import RejectFile
from ingest.loading.reject_log import RejectLimit, RejectLog
from ingest.loading.workers.messages import Commit, Committed, Failed, Ready, Seen, Sent
from ingest.postgres.errors import is_passing, translate
from ingest.postgres.session import open_session, put_django_in
from ingest.sources import open_source

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ingest.loading.workers.messages import Assignment, Task
    from ingest.postgres.session import Session
    from ingest.results import Counts, Progress

PIPE_ENDS = (EOFError, BrokenPipeError, ConnectionResetError)


def work(pipe: Connection[Any, Any]) -> None:
    """Take an assignment, and then tasks until there are no more or the connection is lost."""
    assignment: Assignment = pipe.recv()
    alias = assignment.alias
    connections[alias].settings_dict.update(assignment.database)
    try:
        put_django_in(alias, assignment.state)
        load = find_load(assignment.load, alias)
        with open_session(alias, assignment.state) as session:
            _take_tasks(pipe, LoadSpec.again(load, alias), SharedEntry(load, alias), session)
    except PIPE_ENDS:
        raise
    except Exception as error:  # noqa: BLE001 - the coordinator is to hear of it
        pipe.send(Failed(error=_whole(translate(error)), is_passing=is_passing(error)))


def _take_tasks(
    pipe: Connection[Any, Any], job: LoadSpec, entry: SharedEntry, session: Session
) -> None:
    worker = _Worker(pipe, job, entry, session)
    pipe.send(Ready(backend=session.backend()))
    while worker.do(pipe.recv()):
        pass


class _Worker:
    def __init__(
        self, pipe: Connection[Any, Any], job: LoadSpec, entry: SharedEntry, session: Session
    ) -> None:
        self._pipe = pipe
        self._job = job
        self._entry = entry
        self._session = session
        self._reporter = ProgressReporter(
            self._tell, Announcement(model=job.model, using=job.alias)
        )
        self._log = RejectLog(None, RejectLimit())
        self._empty_log = self._log.mark()
        self._refused = io.BytesIO()
        file = None
        if job.how.reject_file is not None:
            with open_source(job.given, job.reading) as source:
                file = RejectFile(self._refused, source.writer())
        self._head = self._refused.tell()
        self._loader = ChunkLoader(
            job, session, entry=entry, log=self._log, file=file, reporter=self._reporter
        )

    def do(self, task: Task) -> bool:
        """Load a chunk, as often as it stands in another's way; gives whether to go on."""
        stages = self._reporter.stages.seconds
        try:
            while not self._load(task):
                pass
        except PIPE_ENDS:
            raise
        except Exception as error:  # noqa: BLE001 - the coordinator judges it in its turn
            failure = _whole(translate(error))
            self._pipe.send(Failed(error=failure, is_passing=is_passing(error)))
            return not isinstance(error, ConnectionFailed)
        self._pipe.send(Committed(stages=dict(stages)))
        stages.update(dict.fromkeys(stages, 0.0))
        return True

    def _load(self, task: Task) -> bool:
        """Load the chunk; gives whether it was committed, and else stood in another's way."""
        self._forget()
        with open_source(self._job.given, self._job.reading) as source:
            self._loader.read_from(source, task.start, task.records)
            with self._session.transaction() as transaction:
                self._loader.prepare()
                self._loader.has_more()
                counts = self._loader.send(task.ordinal, task.read_before)
                answer = self._wait_for_turn(counts)
                if not isinstance(answer, Commit):
                    transaction.roll_back()
                    return False
                self._entry.follow(self._session, answer.rejects_kept)
                self._loader.record(counts, task.read_before, answer.marks, task.stop)
                self._loader.move_sequences()
        return True

    def _wait_for_turn(self, counts: Counts) -> Any:
        self._pipe.send(
            Sent(
                counts=counts,
                rejects=tuple(self._log),
                refused=self._refused.getvalue()[self._head :],
                decisions=self._loader.decisions,
                slow_fields=self._loader.slow_fields,
            )
        )
        return self._pipe.recv()

    def _forget(self) -> None:
        """Forget what was refused of the chunk before."""
        self._log.rewind(self._empty_log)
        self._refused.truncate(self._head)
        self._refused.seek(self._head)

    def _tell(self, progress: Progress) -> None:
        self._pipe.send(Seen(counts=progress.counts))


def _whole(error: Exception) -> Exception:
    """Return an error that is still the same at the other end of the pipe."""
    try:
        is_same = str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever the error's class does
        is_same = False
    if is_same:
        return error
    if isinstance(error, IngestError):
        return IngestError(error.message).with_outcome(error.outcome, error.outcome_text)
    return IngestError(str(error))
