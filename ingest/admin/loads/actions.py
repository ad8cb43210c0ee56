"""What can be done with a load: resume, cancel, undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.utils import timezone

from ingest import conf
from ingest.admin.loads import background
from ingest.admin.loads.progress import whole
from ingest.admin.loads.resuming import start_resuming
from ingest.exceptions import LedgerError
from ingest.ledger.models import Load
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

Status = Load.Status


def _is_alive(load: Load) -> bool:
    # Django imports this module at every start; Arrow, which this needs, can wait.
    from ingest.ledger.locks import is_alive

    return is_alive(load)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked before something is done."""

    text: str
    facts: tuple[tuple[str, str], ...] = ()
    """What it is about: names and values."""
    choice: str | None = None
    """What can be chosen besides yes and no."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadAction:
    """One action, from its link to its end."""

    name: str
    """Of its link; its permission is ``ingest.<name>_load``."""
    title: str
    question: Callable[[Load, str], Question]
    """What is asked first, of a load on a database; it may raise an ``IngestError``."""
    refusal: Callable[[Load], str | None]
    """Why it cannot be done; None: it can."""
    do: Callable[[Load, str, bool], str]
    """Does it to a load on a database, with the choice made or not; gives what to tell, or raises
    an ``IngestError``."""
    is_destructive: bool = False

    @property
    def permission(self) -> str:
        """The permission that it takes."""
        return f"ingest.{self.name}_load"


def _refuse_resume(load: Load) -> str | None:
    from ingest.loading.resume import check_resumable

    if load.status == Status.DRAFT:
        return "It is a draft that nobody has confirmed."
    if _is_alive(load):
        return "It is running."
    upload = Upload.objects.using(load._state.db).filter(load=load).first()
    is_over = load.status in {Status.LOADED, Status.UNDONE}
    if upload is not None and not is_over:  # wherever its storage is
        return None if upload.has_file else f"Its file, {load.source}, is not kept any more."
    try:
        check_resumable(load, load.options.get("given"))
    except LedgerError as error:
        return str(error)
    return None


def _ask_resume(load: Load, alias: str) -> Question:  # noqa: ARG001
    return Question(
        text=f"Go on with {load.source} into {load.model}, behind the {whole(load.loaded)} rows "
        "that are in?"
    )


def _resume(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: ARG001, FBT001
    if conf.runner() == background.PROCESS:
        log = start_resuming(load, alias)
        return f"Load {load.pk} goes on in a process of its own. What it says is written to {log}."
    # A cancelled load is left alone by a task that comes late.
    Load.objects.using(alias).filter(pk=load.pk).update(is_cancel_asked=False)
    return background.start(load, alias)


def _refuse_cancel(load: Load) -> str | None:
    if load.status not in {Status.RUNNING, Status.WAITING}:
        return f"It is not running: it is {load.get_status_display().lower()}."
    if load.is_cancel_asked and _is_alive(load):
        return "It has been asked to stop already."
    return None


def _ask_cancel(load: Load, alias: str) -> Question:  # noqa: ARG001
    return Question(
        text=f"Stop the load of {load.source} into {load.model}? The chunks that are committed "
        "stay, and it can be resumed."
    )


def _cancel(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: ARG001, FBT001
    waiting = Load.objects.using(alias).filter(pk=load.pk, status=Status.WAITING)
    stopped = {"status": Status.INTERRUPTED, "is_cancel_asked": True, "ended_at": timezone.now()}
    if waiting.update(**stopped):
        return f"Load {load.pk} had not begun: it is cancelled."
    loads = Load.objects.using(alias).filter(pk=load.pk, status=Status.RUNNING)
    if _is_alive(load):
        loads.update(is_cancel_asked=True)
        return f"Load {load.pk} has been asked to stop: it does within seconds."
    loads.update(status=Status.INTERRUPTED, ended_at=load.seen_at or timezone.now())
    return f"Load {load.pk} had no process any more: it is marked as interrupted."


def _refuse_undo(load: Load) -> str | None:
    if load.status == Status.UNDONE:
        return "It is undone already."
    if load.status in {Status.DRAFT, Status.WAITING}:
        return "It has not begun: there is nothing to undo."
    return "It is running: cancel it first." if _is_alive(load) else None


def _ask_undo(load: Load, alias: str) -> Question:
    from ingest.ledger.undo import plan_undo

    plan = plan_undo(load.pk, using=alias)
    plan.check(keep_changed=True)
    asked = f"Delete the {whole(plan.deletable)} rows that {load.source} put into {load.model}"
    if plan.updated or plan.removed:
        asked = f"{plan.question} of {load.model}, as they were before {load.source}"
    return Question(
        text=f"{asked}? This cannot be taken back.",
        facts=plan.facts,
        choice="Keep the rows that were changed since, and undo the others"
        if plan.changed
        else None,
    )


def _undo(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: FBT001
    from ingest.ledger.undo import undo

    return str(undo(load.pk, using=alias, keep_changed=is_chosen))


ACTIONS = (
    LoadAction(
        name="resume", title="Resume", question=_ask_resume, refusal=_refuse_resume, do=_resume
    ),
    LoadAction(
        name="cancel", title="Cancel", question=_ask_cancel, refusal=_refuse_cancel, do=_cancel
    ),
    LoadAction(
        name="undo",
        title="Undo",
        question=_ask_undo,
        refusal=_refuse_undo,
        do=_undo,
        is_destructive=True,
    ),
)
