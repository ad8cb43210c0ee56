"""Who loads the chunks: processes of this machine, an executor of the caller's, or Dask."""

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

from ingest.exceptions import NOTHING_LOADED, ConfigurationError, IngestError, Outcome
from ingest.loading.workers.execution import begin_process, load_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from ingest.postgres.session import SessionState

CONNECT_SECONDS = 10
CHECK_SECONDS = 1.0
"""How often the scheduler is asked for its workers while no chunk comes in."""
LOST_SECONDS = 5.0
"""How long a scheduler may be away."""
WORKERLESS_SECONDS = 30.0
"""How long it may be without workers: they may be starting, or be started again."""
LOGGERS = ("distributed.client", "distributed.batched")
"""Of Dask, in the coordinator: a lost connection is a traceback there, and a sentence in ours."""
USUAL_WORKERS = 4
"""How many chunks an executor is taken to run at once that does not say it."""


class ChunkExecutor:
    """An executor that the caller has made, and will shut down."""

    by_content = True
    """Whether its workers may have copies of the files."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.name = f"The executor, a {type(executor).__name__},"
        self.workers: int = getattr(executor, "_max_workers", None) or USUAL_WORKERS

    def submit(self, load: int, chunk: str) -> Future[str]:
        """Let a chunk be loaded."""
        return self._executor.submit(load_chunk, load, chunk)

    def renew(self) -> bool:
        """Replace workers that have died; gives whether that can be done."""
        return False

    def check(self) -> None:
        """Raise ``IngestError`` where it is known that nobody will load the chunks any more."""

    def describe(self, error: BaseException) -> str:
        """Return what became of an executor that raises this."""
        if isinstance(error, CancelledError):
            return f"{self.name} cancelled a chunk."
        said = str(error).rstrip(".") or type(error).__name__
        return f"{self.name} failed: {said}."

    def end(self) -> None:
        """Let the workers go."""
        from ingest.loading.workers.worker import forget_all

        forget_all()


class OwnProcesses(ChunkExecutor):
    """Processes of this machine, for this load alone."""

    by_content = False

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
        with suppress(OSError), _without_main():  # what it is, the first chunk will tell
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
        """Kill them: what is not committed is rolled back."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)


class DaskWorkers(ChunkExecutor):
    """The workers of a Dask scheduler."""

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
            logging.getLogger(name).addFilter(_has_no_traceback)
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

    def describe(self, error: BaseException) -> str:
        if self._client.status != "running":
            return f"{self.name} went away."
        if isinstance(error, CancelledError):  # as it is when a new scheduler is there already
            return f"{self.name} went away or was restarted: it has no chunks any more."
        return super().describe(error)

    def end(self) -> None:
        super().end()
        self._client.close(timeout=CONNECT_SECONDS)
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(_has_no_traceback)


def _has_no_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info


@contextmanager
def _without_main() -> Iterator[None]:
    """Let new processes not run the program's script again, whatever that does."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
