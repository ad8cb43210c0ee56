"""What an executor calls to load a chunk. It can be imported before Django is set up."""

from __future__ import annotations

import json
import os
import signal
import threading
from multiprocessing import parent_process

_lock = threading.Lock()


def load_chunk(load: int, chunk: str) -> str:
    """Load a chunk of a load, unless it is in already; give what became of it.

    ``chunk`` is that of ``Chunk.to_json``, and what is returned that of ``Answer.to_json``.
    """
    _set_up(json.loads(chunk)["settings"])
    from ingest.loading.workers.worker import load_or_say_why_not  # models can be imported now

    return load_or_say_why_not(load, chunk)


def begin_process(settings: str, handed: bytes) -> None:
    """Make ready a process of our own pool; ``handed`` is what ``hand_over`` has made.

    Ctrl-C is the coordinator's affair. When the coordinator is killed, nobody would tell its pool.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _set_up(settings)
    from ingest.loading.own_process import prepare_arrow
    from ingest.loading.workers.worker import take_over

    prepare_arrow()  # as in the command
    take_over(handed)


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
