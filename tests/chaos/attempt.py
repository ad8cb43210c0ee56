"""One try: a load is disturbed, goes on until it is loaded, and all that it left is looked at."""

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from django.db import connections

from tests.chaos.client import ROOT, Client, Conditions, prepare
from tests.chaos.proxy import Proxy
from tests.chaos.scenario import fill, make_ground
from tests.chaos.second_file import make_second_file
from tests.chaos.server import Server
from tests.writing.direct.server import ALIAS

DONE = (0, 3)
"""The command's exit codes when all records have met their fate."""
RESUMES = 4
"""Who is not done after so many never will be."""


@dataclasses.dataclass
class Outcome:
    """What became of one try."""

    struck: bool = False
    """Whether the fault met the load at all."""
    resumed: int = 0
    """How often somebody had to go on with it."""
    lost: int = 0
    twice: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)
    """What loads that failed told the person."""


class Field:
    """Where the tries take place: a server, a proxy before it, and a folder."""

    def __init__(self, server, proxy, folder):
        self.server = server
        self.proxy = proxy
        self.folder = folder
        self.catalog = server.catalog()
        self.seconds = 1.0
        """How long a load takes that is left in peace, from its first word to the server."""

    def measure(self, **shape):
        """Load in peace, to know how long it takes."""

        def fault(scene):
            client = scene.load()
            scene.wait_for_message(client)
            started = time.monotonic()
            scene.wait(client)
            self.seconds = time.monotonic() - started

        for seed in range(2):  # the first one is slower
            outcome = self.attempt(fault, seed, **shape)
            if outcome != Outcome():
                raise AssertionError(outcome)

    def attempt(self, fault, seed, **shape):
        """Do one try with a fault, and give its outcome."""
        scene = Scene(self, random.Random(seed), **shape)
        outcome = scene.outcome
        try:
            fault(scene)
            self.proxy.reset()
            scene.finish()
        finally:
            self.proxy.reset()
            scene.end()
        found = scene.ground.examine(self.server, ALIAS, self.catalog)
        connections[ALIAS].close()  # the next fault may end it
        outcome.lost, outcome.twice = found.lost, found.twice
        outcome.problems += found.problems
        return outcome


class Scene:
    """What a fault may lay its hands on."""

    def __init__(self, field, random, **shape):
        self.server = field.server
        self.proxy = field.proxy
        self.folder = field.folder
        self.seconds = field.seconds
        self.random = random
        make = make_second_file if "mode" in shape else make_ground
        self.ground = make(random, field.folder, **shape)
        self.outcome = Outcome()
        self.messages_of_asyncpg = 700
        """About how many there are in a load."""
        self.more = ()
        """Arguments of every load."""
        self.conditions = Conditions()
        self._clients = []
        self._ended = {}
        """Whether each of them that has ended had loaded all."""
        self.ground.set_up(self.server)

    def load(self, *more, conditions=None):
        """Start the load."""
        return self._start(self.ground.arguments(*more, *self.more), conditions)

    def resume(self, *more, conditions=None):
        """Start a resume of the load."""
        return self._start(("--resume", self.loads()[-1][0], *more), conditions)

    def _start(self, arguments, conditions):
        output = self.folder / f"said{len(self._clients)}"
        output.unlink(missing_ok=True)
        self._clients.append(Client(arguments, output, conditions or self.conditions))
        return self._clients[-1]

    def go_on(self):
        """Start the load, or a resume where there is something to go on with."""
        self.proxy.reset()
        # What an earlier try has left of rejects is not kept where the ledger knows nothing of it.
        return self.resume() if self.loads() else self.load("--overwrite")

    def strike(self):
        self.outcome.struck = True

    def wait(self, client, expected=1):
        """Wait for a load's end; give whether it was loaded.

        ``expected`` is the exit code where it was not.
        """
        if client in self._ended:
            return self._ended[client]
        code = client.wait()
        self._ended[client] = code in DONE
        said = client.said()
        if "Traceback" in said:
            begin = max(said.index("Traceback") - 500, 0)
            self.outcome.problems.append(f"a traceback: {said[begin : begin + 3_000]}")
        if code is None:
            self.outcome.problems.append(f"it hangs, and has said: {said[-500:]}")
        elif code not in DONE and code >= 0:  # else it was killed
            self.outcome.said.append(said.strip())
            if code != expected:
                self.outcome.problems.append(f"exit code {code}: {said[-500:]}")
        return code in DONE

    def chunks(self):
        return self.server.ask("SELECT ordinal FROM public.ingest_chunk")

    def loads(self):
        return self.server.ask("SELECT id, status FROM public.ingest_load ORDER BY id")

    def finish(self):
        """Go on until it is loaded, as a person would."""
        for _ in range(RESUMES):
            if any(status == "loaded" for _, status in self.loads()):
                return
            self.outcome.resumed += 1
            if self.wait(self.go_on()):
                return
        self.outcome.problems.append(f"it cannot be finished: {self.outcome.said[-1]}")

    def end(self):
        for client in self._clients:
            client.kill()
            client.wait()

    def keep_rejects_in(self, folder):
        self.ground = dataclasses.replace(self.ground, aside=folder)

    def bring_rejects_back(self):
        """Copy the rejects to where they are looked at when the small disk is gone."""
        for path in (self.ground.log, self.ground.mend):
            shutil.copy(path, self.folder)
        self.keep_rejects_in(self.folder)

    @contextmanager
    def small_disk(self, *, kibibytes):
        """Mount a file system of this size."""
        disk = Disk(self.server.folder / "small")
        disk.mount(kibibytes)
        try:
            yield disk
        finally:
            disk.unmount()

    def wait_for_message(self, client):
        """Wait until the load talks to the server."""
        while client.is_alive and not self.proxy.seen:
            time.sleep(0.002)


class Disk:
    """A small file system in memory; only root can mount it."""

    def __init__(self, path):
        self.path = path

    def mount(self, kibibytes):
        self.path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", self.path)

    def enlarge(self):
        self._run("mount", "-o", "remount,size=64m", self.path)

    def unmount(self):
        # Lazily: a process of the server may have a file of it open a moment longer.
        self._run("umount", "--lazy", self.path)
        self.path.rmdir()

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True)


@contextmanager
def open_field():
    """Start a server and a proxy, with the project's tables."""
    server = Server()
    proxy = Proxy(server.socket)
    try:
        url = f"postgres://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        environment = os.environ | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "settings.development",
        }
        subprocess.run(
            [sys.executable, ROOT / "manage.py", "migrate", "-v", "0"], env=environment, check=True
        )
        prepare(url)
        fill(server)
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            yield Field(server, proxy, Path(folder))
    finally:
        proxy.close()
        server.close()
