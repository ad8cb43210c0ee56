"""A worker as the coordinator sees it: a process, a pipe to it, and what it is at."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections

from ingest.loading.workers.messages import Assignment, Committed, Failed, Ready, Seen, Sent
from ingest.results import Counts

if TYPE_CHECKING:
    from ingest.loading.workers.messages import Task
    from ingest.postgres.session import Backend, SessionState

GOODBYE_SECONDS = 5.0
"""How long a worker may take to end once its pipe has."""


class WorkerProcess:
    """One worker."""

    def __init__(self, assignment: Assignment) -> None:
        """Start the process; it is ready later."""
        self.pipe, theirs = Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(  # noqa: S603 - it is this very program
            [sys.executable, "-m", "ingest.loading.workers", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()
        self.backend: Backend | None = None
        """The process of the server that serves it, once it has one."""
        self.task: Task | None = None
        self._begin()
        self.tries = 0
        """How often its task has failed."""
        self._send(settings.SETTINGS_MODULE)
        self._send(assignment)

    def _begin(self) -> None:
        self.seen = Seen(counts=Counts())
        self.sent: Sent | None = None
        self.failed: Failed | None = None
        self.is_committing = False

    def give(self, task: Task, tries: int = 0) -> None:
        """Let it load a chunk."""
        self.task, self.tries = task, tries
        self._begin()
        self._send(task)

    def tell(self, word: Any) -> None:
        """Say that the chunk is to be committed, or to be sent again."""
        self._send(word)

    def begin_again(self, word: Any) -> None:
        """Let it roll its chunk back and send it again."""
        self._begin()
        self._send(word)

    def _send(self, word: Any) -> None:
        """Say something; whether it is dead is heard, and not noticed here."""
        # Not send(): what it pickles into cannot be let go of while an error still holds it.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send_bytes(pickle.dumps(word))

    def hear(self) -> Committed | None:
        """Take in what it says; gives the end of its chunk. ``EOFError`` where it has died."""
        word = self.pipe.recv()
        if isinstance(word, Ready):
            self.backend = word.backend
        elif isinstance(word, Seen):
            self.seen = word
        elif isinstance(word, Sent):
            self.sent = word
        elif isinstance(word, Failed):
            self.failed = word
        return word if isinstance(word, Committed) else None

    def end(self) -> None:
        """Let it go; what it has not committed is rolled back."""
        self.pipe.close()
        self._process.terminate()
        try:
            self._process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def assignment_of(load: int, alias: str, state: SessionState) -> Assignment:
    """Return what a worker must know before its first chunk."""
    database = dict(connections[alias].settings_dict)
    return Assignment(load=load, alias=alias, database=database, state=state)
