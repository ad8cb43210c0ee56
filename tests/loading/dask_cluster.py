"""A scheduler and workers of Dask on this machine, each a process, which can be killed."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
from distributed import Client

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Cluster:
    """A scheduler and two workers with one thread each."""

    def __init__(self, folder, url, workers=2, settings="settings.development"):
        """``url`` is the database's that the workers find."""
        self._folder, self._count = Path(folder), workers
        self._environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": str(ROOT),
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._scheduler = None
        self._workers = []
        self.start()

    def start(self):
        """Start all that does not run."""
        if self._scheduler is None:
            port = self.address.rpartition(":")[2]
            self._scheduler = self._run(
                *("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"),
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._start_workers()
            try:
                with Client(self.address, timeout=5, set_as_default=False) as client:
                    client.wait_for_workers(self._count, timeout=2)
            except OSError:
                if time.monotonic() > deadline or self._scheduler.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                return

    def _start_workers(self):
        """Start those that do not run: a worker ends itself soon after its scheduler has gone."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < self._count:
            self._workers.append(
                self._run(
                    *("worker", self.address, "--nthreads", "1", "--no-dashboard"),
                    *("--local-directory", str(self._folder), "--death-timeout", "60"),
                )
            )

    def _run(self, *arguments):
        with (self._folder / "dask.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env=self._environment, cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip

    def processes(self):
        """Return the processes that run chunks: each is a child of its nanny."""
        found = []
        for worker in self._workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(worker.pid).children(recursive=True)
                found += [child for child in children if _runs_chunks(child)]
        return found

    def kill_workers(self):
        """Kill the workers so that nobody starts them again."""
        for worker in self._workers:
            _kill_all(worker)

    def kill_scheduler(self):
        self._scheduler.kill()
        self._scheduler.wait()
        self._scheduler = None

    def end(self):
        for process in filter(None, (*self._workers, self._scheduler)):
            _kill_all(process)


def _runs_chunks(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return any("spawn_main" in part for part in process.cmdline())
    return False


def _kill_all(process):
    """Kill a process and its descendants; the process first, which would start them again."""
    descendants = []
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for each in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
