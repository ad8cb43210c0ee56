"""Executors of chunks: processes of this machine, an executor of the caller's, or Dask."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ingest.exceptions import NOTHING_LOADED, ConfigurationError, IngestError, Outcome
from ingest.loading.workers.execution import begin_process, load_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from ingest.postgres.session import SessionState

CONNECT_SECONDS = 10
CHECK_SECONDS = 1.0
"""The interval of checks for the scheduler's workers while no chunk is finished."""
LOST_SECONDS = 5.0
"""How long a scheduler may be unreachable."""
WORKERLESS_SECONDS = 30.0
"""How long a scheduler may have no workers: they may be starting or restarting."""
LOGGERS = ("distributed.client", "distributed.batched", "tornado.application")
"""Dask's loggers that write a traceback for a lost connection, which our error reports."""
USUAL_WORKERS = 4
"""The number of parallel chunks assumed for an executor that does not report it."""


class ChunkExecutor:
    """An executor that the caller has created and will shut down."""

    by_content = True
    """Whether its workers may have copies of the files."""
    cure = "Give a new executor."
    """What to do if it takes no chunks any more."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.name = f"The executor, a {type(executor).__name__},"
        self.workers: int = getattr(executor, "_max_workers", None) or USUAL_WORKERS

    def submit(self, load: int, chunk: str) -> Future[str]:
        """Submit a chunk."""
        return self._executor.submit(load_chunk, load, chunk)

    def renew(self) -> bool:
        """Replace workers that have died; return whether this is possible."""
        return False

    def check(self) -> None:
        """Raise ``IngestError`` if it is known that no worker will load the chunks any more."""

    def describe(self, error: BaseException, *, by_worker: bool = False) -> str:
        """Return what happened to an executor that raised this error, and the cure.

        ``by_worker``: a worker raised it, before it could load a chunk.
        """
        if isinstance(error, CancelledError):
            return f"{self.name} cancelled a chunk."
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if not by_worker:
            return f"{self.name} failed: {said}. {self.cure}".rstrip()
        cure = ""
        if isinstance(error, ImportError | RuntimeError | ImproperlyConfigured):
            cure = " Its workers must have the code and the settings of this project."
        return f"{self.name} could not run a chunk: {said}.{cure}"

    def end(self) -> None:
        """Release the workers."""
        from ingest.loading.workers.worker import forget_all

        forget_all()


class OwnProcesses(ChunkExecutor):
    """Processes of this machine for a single load."""

    by_content = False
    cure = ""

    def __init__(self, workers: int, alias: str, state: SessionState) -> None:
        from ingest.loading.workers.worker import hand_over

        self.name = "The pool of processes"
        self.workers = workers
        self._arguments = (settings.SETTINGS_MODULE, hand_over(alias, state))
        self._begin()

    def _begin(self) -> None:
        self._executor = self._pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=begin_process,
            initargs=self._arguments,
        )
        with suppress(OSError), _without_main():  # the first chunk will report the error
            for _ in range(self.workers):
                self._pool.submit(int)  # so that they start while the first chunks are cut

    def submit(self, load: int, chunk: str) -> Future[str]:
        with _without_main():
            return super().submit(load, chunk)

    def renew(self) -> bool:
        self.end()
        self._begin()
        return True

    def end(self) -> None:
        """Kill the processes: what is not committed is rolled back."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)


class DaskWorkers(ChunkExecutor):
    """The workers of a Dask scheduler."""

    cure = ""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ConfigurationError(
                "scheduler (--scheduler) needs Dask, which is not installed here: "
                "pip install 'django-ingest[dask]'."
            ) from error
        self.name = f"The Dask scheduler at {address}"
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            raise ConfigurationError(
                f"{self.name} cannot be reached: {error}. Start one with `dask scheduler`, or "
                "load by processes of this machine, with workers (--workers)."
            ) from error
        with suppress(TimeoutError):
            self._client.wait_for_workers(1, timeout=WORKERLESS_SECONDS)
        threads = sum(self._client.nthreads().values())
        if not threads:
            self._client.close()
            raise ConfigurationError(f"{self.name} has no workers: start one with `dask worker`.")
        for name in LOGGERS:
            logging.getLogger(name).addFilter(_is_no_traceback_of_dask)
        super().__init__(self._client.get_executor(pure=False))
        self.name = f"The Dask scheduler at {address}"
        self.workers = threads
        self._lost_at: float | None = None
        self._checked_at = 0.0

    def check(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        is_there = self._client.status == "running" and self._client.scheduler_comm is not None
        with suppress(OSError, TimeoutError):
            if is_there and self._client.nthreads():
                self._lost_at = None
                return
        self._lost_at = self._lost_at or now
        if now - self._lost_at > (WORKERLESS_SECONDS if is_there else LOST_SECONDS):
            raise IngestError(
                f"{self.name} {'has no workers any more' if is_there else 'went away'}."
            ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)

    def describe(self, error: BaseException, *, by_worker: bool = False) -> str:
        if self._client.status != "running":
            return f"{self.name} went away."
        if isinstance(error, CancelledError):  # also if a new scheduler is running already
            return f"{self.name} went away or was restarted: it has no chunks any more."
        return super().describe(error, by_worker=by_worker)

    def end(self) -> None:
        super().end()
        self._client.close(timeout=CONNECT_SECONDS)
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(_is_no_traceback_of_dask)


def _is_no_traceback_of_dask(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return True
    # Other code of this process may use tornado, too.
    return not any("distributed" in name for name in (record.name, type(error).__module__))


@contextmanager
def _without_main() -> Iterator[None]:
    """Prevent new processes from running the program's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
