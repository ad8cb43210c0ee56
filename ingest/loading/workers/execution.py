"""The function that an executor calls to load a chunk; importable before Django is set up."""

from __future__ import annotations

import json
import os
import signal
import threading
from multiprocessing import parent_process

_lock = threading.Lock()
_process: int | None = None
"""The process that has loaded chunks with this module."""


def load_chunk(load: int, chunk: str) -> str:
    """Load a chunk of a load, unless it is committed already; return its result.

    ``chunk`` is the text of ``Chunk.to_json``, and the result that of ``Answer.to_json``.
    """
    _set_up(json.loads(chunk)["settings"])
    from ingest.loading.workers.worker import load_or_say_why_not  # models can be imported now

    _leave_connections()
    return load_or_say_why_not(load, chunk)


def begin_process(settings: str, handed: bytes) -> None:
    """Set up a process of our own pool; ``handed`` is the result of ``hand_over``.

    Ctrl-C is handled by the coordinator. A thread ends the process if the coordinator is killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _set_up(settings)
    from ingest.loading.own_process import prepare_arrow
    from ingest.loading.workers.worker import take_over

    prepare_arrow()  # as in the command
    take_over(handed)
    _leave_connections()  # there are none yet


def _leave_connections() -> None:
    """Leave Django's connections to the parent process, if this process was forked."""
    global _process  # noqa: PLW0603 - of the process, as its connections are
    with _lock:
        if _process == os.getpid():
            return
        may_be_forked = _process is not None or parent_process() is not None
        _process = os.getpid()
        if may_be_forked:
            from ingest.loading.workers.worker import leave_behind

            leave_behind()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _set_up(settings: str) -> None:
    from django.apps import apps

    with _lock:  # an executor may have several threads
        if not apps.ready:
            import django

            os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
            django.setup()
