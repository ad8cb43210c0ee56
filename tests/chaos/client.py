"""The loader as a process of its own: `manage.py bulk_load`, and what the process is short of."""

import dataclasses
import datetime as dt
import os
import resource
import signal
import tempfile
import time
import weakref
from contextlib import suppress
from multiprocessing import forkserver, get_context
from pathlib import Path

import psutil
from django.utils import timezone

from tests.signals import answer_to_signals

ROOT = Path(__file__).parent.parent.parent
WAIT_SECONDS = 90
"""Who is not done by then hangs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under which a process has to work."""

    block_bytes: int = 16 << 10
    """Read at a time: a chunk is a few batches, and they do not end where it ends."""
    pause_seconds: float = 0.02
    """The first pause before it is tried again."""
    temporary_folder: str | None = None
    runs_twice: bool = False
    """Whether an executor gets each chunk twice."""
    clock_jumps: tuple[float, ...] = ()
    """By how many seconds the clock is wrong, from one look at it to the next."""

    def apply(self):
        import ingest.loading.loader
        import ingest.sources.delimited

        ingest.sources.delimited.BLOCK_BYTES = self.block_bytes
        ingest.loading.loader.FIRST_PAUSE_SECONDS = self.pause_seconds
        if self.runs_twice:
            _run_chunks_twice()
        if self.temporary_folder is not None:
            tempfile.tempdir = self.temporary_folder
        if self.clock_jumps:
            _let_the_clock_jump(list(self.clock_jumps))


def _run_chunks_twice():
    from ingest.loading.workers.executors import ChunkExecutor

    once = ChunkExecutor.submit

    def submit(self, load, chunk):
        once(self, load, chunk)
        return once(self, load, chunk)

    ChunkExecutor.submit = submit


def _let_the_clock_jump(jumps):
    right = timezone.now

    def now():
        jumps.append(jumps.pop(0))
        return right() + dt.timedelta(seconds=jumps[-1])

    timezone.now = now


def prepare(url):
    """Start the process that all clients are forked from; ``url`` is their database's."""
    before = dict(os.environ)
    os.environ |= {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    forkserver.set_forkserver_preload(["tests.chaos.preloaded"])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


class Client:
    """A process that runs the command with these arguments."""

    def __init__(self, arguments, output, conditions=None):
        self._output = output
        self._process = get_context("forkserver").Process(
            target=_work, args=(list(map(str, arguments)), str(output), conditions or Conditions())
        )
        self._process.start()
        self.pid = self._process.pid
        self._descriptor = os.pidfd_open(self.pid)
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def is_alive(self):
        return self._process.is_alive()

    def kill(self):
        """Kill it by SIGKILL, if it has not ended: its number may be another process's by then."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def interrupt(self):
        """Interrupt it as Ctrl-C does."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGINT)

    def limit_memory(self, spare):
        """Let it have no more than so many bytes of addresses beyond those that it has."""
        if self.is_alive:
            limit = psutil.Process(self.pid).memory_info().vms + spare
            resource.prlimit(self.pid, resource.RLIMIT_AS, (limit, limit))

    def wait(self):
        """Return its exit code; None where it hangs, and is killed."""
        self._process.join(WAIT_SECONDS)
        if self._process.is_alive():
            self.kill()
            self._process.join()
            return None
        return self._process.exitcode

    def sleep(self, seconds):
        """Wait so long, or until it ends."""
        deadline = time.monotonic() + seconds
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.002)

    def said(self):
        return Path(self._output).read_text(errors="replace")


def _work(arguments, output, conditions):
    from django.core.management import execute_from_command_line

    with Path(output).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    answer_to_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a program of its own
    conditions.apply()
    execute_from_command_line(["manage.py", "bulk_load", "--progress", "none", *arguments])
