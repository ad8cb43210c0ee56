"""What can be done with a load: resume, cancel, undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.utils import timezone

from ingest.admin.progress import whole
from ingest.admin.resuming import start_resuming, why_not_resume
from ingest.models import Load

if TYPE_CHECKING:
    from collections.abc import Callable

Status = Load.Status


def _is_alive(load: Load) -> bool:
    # Django imports this module at every start; Arrow, which this needs, can wait.
    from ingest.ledger import is_alive

    return is_alive(load)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadAction:
    """One action, from its link to its end."""

    name: str
    """Of its link; its permission is ``ingest.<name>_load``."""
    title: str
    question: Callable[[Load], str]
    """What is asked first."""
    refusal: Callable[[Load], str | None]
    """Why it cannot be done; None: it can."""
    do: Callable[[Load, str], str]
    """Does it to a load on a database; gives what to tell, or raises an ``IngestError``."""
    is_destructive: bool = False

    @property
    def permission(self) -> str:
        """The permission that it takes."""
        return f"ingest.{self.name}_load"


def _refuse_resume(load: Load) -> str | None:
    if load.status in {Status.LOADED, Status.UNDONE}:
        return f"It is {load.get_status_display().lower()}: there is nothing to go on with."
    if _is_alive(load):
        return "It is running."
    return why_not_resume(load)


def _resume(load: Load, alias: str) -> str:
    log = start_resuming(load, alias)
    return f"Load {load.pk} goes on in a process of its own. What it says is written to {log}."


def _refuse_cancel(load: Load) -> str | None:
    if load.status != Status.RUNNING:
        return f"It is not running: it is {load.get_status_display().lower()}."
    if load.is_cancel_asked and _is_alive(load):
        return "It has been asked to stop already."
    return None


def _cancel(load: Load, alias: str) -> str:
    loads = Load.objects.using(alias).filter(pk=load.pk, status=Status.RUNNING)
    if _is_alive(load):
        loads.update(is_cancel_asked=True)
        return f"Load {load.pk} has been asked to stop: it does within seconds."
    loads.update(status=Status.INTERRUPTED, ended_at=load.seen_at or timezone.now())
    return f"Load {load.pk} had no process any more: it is marked as interrupted."


def _refuse_undo(load: Load) -> str | None:
    if load.status == Status.UNDONE:
        return "It is undone already."
    return "It is running: cancel it first." if _is_alive(load) else None


def _undo(load: Load, alias: str) -> str:
    from ingest.undoing import undo

    return str(undo(load.pk, using=alias))


ACTIONS = (
    LoadAction(
        name="resume",
        title="Resume",
        question=lambda load: (
            f"Go on with {load.source} into {load.model}, behind the {whole(load.loaded)} rows "
            "that are in?"
        ),
        refusal=_refuse_resume,
        do=_resume,
    ),
    LoadAction(
        name="cancel",
        title="Cancel",
        question=lambda load: (
            f"Stop the load of {load.source} into {load.model}? The chunks that are committed "
            "stay, and it can be resumed."
        ),
        refusal=_refuse_cancel,
        do=_cancel,
    ),
    LoadAction(
        name="undo",
        title="Undo",
        question=lambda load: (
            f"Delete the {whole(load.loaded)} rows that {load.source} put into {load.model}? "
            "This cannot be taken back."
        ),
        refusal=_refuse_undo,
        do=_undo,
        is_destructive=True,
    ),
)
