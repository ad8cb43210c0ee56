"""Resumes a load in a separate process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from ingest.exceptions import IngestError

if TYPE_CHECKING:
    from ingest.ledger.models import Load

STARTING_SECONDS = 3.0
"""How long the page waits to see whether the process ends at once, which indicates a mistake. It
waits no longer than until the load has begun, because then the load's own page shows what
happens."""
LOOK_SECONDS = 0.1


class NotResumed(IngestError):  # noqa: N818 - it says what happened
    """The load could not be resumed."""

    def __init__(self, load: Load, said: str, log: Path) -> None:
        super().__init__(
            _("Load %(load)s could not be resumed: %(said)s") % {"load": load.pk, "said": said}
        )
        self.without_values = _(
            "Load %(load)s could not be resumed. The reason may contain rejected values. It is "
            "written to %(log)s."
        ) % {"load": load.pk, "log": log}
        """The message for users who may not see rejects."""


def start_resuming(load: Load, alias: str, *, waits: bool = True) -> Path:
    """Start a process that resumes the load, and return the path of its log.

    If ``waits``, raise ``NotResumed`` with the end of that log if the process fails at once.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"ingest-load-{load.pk}-", suffix=".log")
    from ingest.postgres.session import read_state

    # The process must find the same ledger as this request.
    state = pickle.dumps(read_state(alias))
    command = [sys.executable, "-m", "ingest.management.resume_load", str(load.pk), alias]
    path = [entry or str(Path.cwd()) for entry in sys.path]  # as in this process
    with open(descriptor, "wb") as log:  # noqa: PTH123 - a descriptor, not a path
        process = subprocess.Popen(  # noqa: S603 - our own command, and a number
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it survives a restart of the server
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        )
    with suppress(BrokenPipeError), process.stdin as pipe:  # type: ignore[union-attr] # it is one
        pipe.write(state)
    code = _wait(process, load, alias) if waits else process.poll()
    if code is None:
        # Something must read its exit code, otherwise it becomes a zombie.
        threading.Thread(target=process.wait, daemon=True).start()
        return Path(name)
    said = Path(name).read_text(errors="replace").strip()
    if code not in {0, 3}:
        raise NotResumed(load, said[-1_000:], Path(name))
    return Path(name)


def _wait(process: subprocess.Popen[bytes], load: Load, alias: str) -> int | None:
    """Return the exit code of a process that ends at once, or None if it continues."""
    found = type(load).objects.using(alias).filter(pk=load.pk)
    deadline = time.monotonic() + STARTING_SECONDS
    has_begun = False
    while time.monotonic() < deadline and not has_begun:
        has_begun = found.filter(status=load.Status.RUNNING).exists()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK_SECONDS)
    return None
