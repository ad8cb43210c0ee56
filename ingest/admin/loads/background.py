"""Starts a load in the background, by the runner in ``INGEST["RUNNER"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from ingest import conf
from ingest.admin.loads.progress import whole
from ingest.admin.loads.resuming import start_resuming
from ingest.exceptions import ConfigurationError, IngestError
from ingest.uploads import storing

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.ledger.models import Load

PROCESS, TASKS = "process", "tasks"
IMMEDIATE_RECORDS = 5_000
"""More records than this would block a request for too long."""
RECORD_BYTES = 40
"""The least bytes of a record, for an estimate that does not refuse too many files."""


def start(load: Load, alias: str, *, waits: bool = True) -> str:
    """Start a load in the background, and return a sentence that says how it runs.

    Only the load's number is handed over. Raise an ``IngestError`` if it cannot be handed over.
    ``waits``: check whether the process ends at once.
    """
    runner = conf.runner()
    if runner == PROCESS:
        log = start_resuming(load, alias, waits=waits)
        return goes_on(load, log)
    if runner == TASKS:
        refuse_immediate(load.bytes_total)
    try:
        call: Any = task_of().enqueue if runner == TASKS else import_string(runner)
        call(load.pk)
    except IngestError:
        raise
    except Exception as error:  # a broker that is down, or any error in a custom function
        raise ConfigurationError(
            _(
                "Load %(load)s could not be handed over to %(runner)s (%(error)s): start it again "
                "when that works."
            )
            % {"load": load.pk, "runner": runner, "error": error}
        ) from error
    return _("Load %(load)s is handed over to %(runner)s.") % {"load": load.pk, "runner": runner}


def goes_on(load: Load, log: Path) -> str:
    """Return the sentence that a process was started, with the path of its log."""
    told = {"load": load.pk, "log": log}
    return (
        _("Load %(load)s continues in a separate process. Its output is written to %(log)s.") % told
    )


def refuse_immediate(bytes_total: int | None) -> None:
    """Raise ``ConfigurationError`` if the task would run inside the request."""
    is_small = bytes_total is not None and bytes_total <= IMMEDIATE_RECORDS * RECORD_BYTES
    if conf.runner() == TASKS and not is_small and _is_immediate():
        raise ConfigurationError(
            _(
                "The tasks backend is the immediate one, which performs a load inside the "
                "request and accepts files of up to %(bytes)s bytes. Set TASKS to a backend "
                "with a worker, or INGEST['RUNNER'] to 'process'."
            )
            % {"bytes": whole(IMMEDIATE_RECORDS * RECORD_BYTES)}
        )


def refuse_memory() -> None:
    """Raise ``ConfigurationError`` if the process that performs loads cannot read the uploads.

    This is not known for a custom function.
    """
    runner = conf.runner()
    if runner == PROCESS or (runner == TASKS and not _is_immediate()):
        storing.refuse_memory()


def _is_immediate() -> bool:
    backend = task_of().get_backend()
    return type(backend).__name__ in {"ImmediateBackend", "DummyBackend"}


def task_of() -> Any:
    """Return the task that performs loads; raise ``ConfigurationError`` if no package has tasks."""
    try:
        from ingest.uploads.tasks import perform_load
    except ImportError as error:
        raise ConfigurationError(
            _(
                "INGEST['RUNNER'] is 'tasks', which needs Django 6 or the package django-tasks: "
                "pip install django-tasks."
            )
        ) from error
    return perform_load
