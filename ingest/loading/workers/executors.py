"""Who loads the chunks: processes of this machine, an executor of the caller's, or Dask."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from django.conf import settings

from ingest.loading.workers.execution import begin_process, load_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from ingest.postgres.session import SessionState

USUAL_WORKERS = 4
"""How many chunks an executor is taken to run at once that does not say it."""


class ChunkExecutor:
    """An executor that the caller has made, and will shut down."""

    by_content = True
    """Whether its workers may have copies of the files."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.workers: int = getattr(executor, "_max_workers", None) or USUAL_WORKERS

    def submit(self, load: int, chunk: str) -> Future[str]:
        """Let a chunk be loaded."""
        return self._executor.submit(load_chunk, load, chunk)

    def renew(self) -> bool:
        """Replace workers that have died; gives whether that can be done."""
        return False

    def end(self) -> None:
        """Let the workers go."""
        from ingest.loading.workers.worker import forget_all

        forget_all()


class OwnProcesses(ChunkExecutor):
    """Processes of this machine, for this load alone."""

    by_content = False

    def __init__(self, workers: int, alias: str, state: SessionState) -> None:
        from ingest.loading.workers.worker import hand_over

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


@contextmanager
def _without_main() -> Iterator[None]:
    """Let new processes not run the program's script again, whatever that does."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
