"""Who performs a load that is started in the admin: ``INGEST["RUNNER"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from ingest import conf
from ingest.admin.loads.resuming import start_resuming
from ingest.exceptions import ConfigurationError, IngestError

if TYPE_CHECKING:
    from ingest.ledger.models import Load

PROCESS, TASKS = "process", "tasks"
IMMEDIATE_RECORDS = 5_000
"""More than so many records would keep a request waiting for too long."""
RECORD_BYTES = 40
"""A record has at least so many bytes, for an estimate that does not refuse too much."""


def start(load: Load, alias: str, *, waits: bool = True) -> str:
    """Let somebody perform a load, and return a sentence about who does.

    No more than the load's number is handed over. Raises an ``IngestError`` if nobody can be asked.
    ``waits``: look whether a process ends at once.
    """
    runner = conf.runner()
    if runner == PROCESS:
        log = start_resuming(load, alias, waits=waits)
        return f"Load {load.pk} goes on in a process of its own. What it says is written to {log}."
    if runner == TASKS:
        refuse_immediate(load.bytes_total)
    try:
        call: Any = task_of().enqueue if runner == TASKS else import_string(runner)
        call(load.pk)
    except IngestError:
        raise
    except Exception as error:  # a broker that is away, or whatever somebody's function does
        raise ConfigurationError(
            f"Load {load.pk} could not be handed over to {runner} ({error}): start it again when "
            "that works."
        ) from error
    return f"Load {load.pk} is handed over to {runner}."


def refuse_immediate(bytes_total: int | None) -> None:
    """Raise ``ConfigurationError`` where tasks would be performed inside the request."""
    is_small = bytes_total is not None and bytes_total <= IMMEDIATE_RECORDS * RECORD_BYTES
    if conf.runner() == TASKS and not is_small and _is_immediate():
        raise ConfigurationError(
            f"The tasks backend is the immediate one, which performs a load inside the request: "
            f"it takes files of up to {IMMEDIATE_RECORDS * RECORD_BYTES:,} bytes. Set TASKS to a "
            "backend with a worker, or INGEST['RUNNER'] to 'process'."
        )


def _is_immediate() -> bool:
    backend = task_of().get_backend()
    return type(backend).__name__ in {"ImmediateBackend", "DummyBackend"}


def task_of() -> Any:
    """Return the task that performs loads; raises ``ConfigurationError`` without a package."""
    try:
        from ingest.uploads.tasks import perform_load
    except ImportError as error:
        raise ConfigurationError(
            "INGEST['RUNNER'] is 'tasks', which needs Django 6 or the package django-tasks: "
            "pip install django-tasks."
        ) from error
    return perform_load
