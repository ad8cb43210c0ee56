"""A worker: a process that loads chunks over a connection of its own, and commits them in turn.

``python -m ingest.loading.workers FD`` starts it with one end of a pipe. When the pipe ends, the
worker ends, and PostgreSQL rolls back what it had not committed.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import django


def main(descriptor: int) -> None:
    """Do what the other end of the pipe says, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's affair
    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        os.environ["DJANGO_SETTINGS_MODULE"] = pipe.recv()
        django.setup()
        # Models can be imported only now.
        from ingest.loading.own_process import prepare_arrow
        from ingest.loading.workers.worker import work

        prepare_arrow()  # as in the command
        work(pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
