"""The actions on a load: resume, cancel, undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ingest import conf
from ingest.admin.loads import background
from ingest.admin.loads.progress import whole
from ingest.admin.loads.resuming import start_resuming
from ingest.admin.loads.wording import describe_undo, describe_undone, facts_of
from ingest.exceptions import IngestError, LedgerError
from ingest.ledger.models import Load
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.utils.functional import _StrPromise as StrPromise

Status = Load.Status


def _is_alive(load: Load) -> bool:
    # Django imports this module at every start, and Arrow, which this needs, only here.
    from ingest.ledger.locks import is_alive

    return is_alive(load)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """The question to confirm an action."""

    text: str
    facts: tuple[tuple[str, str], ...] = ()
    """Details, as names and values."""
    choice: str | None = None
    """The label of a further choice, besides yes and no."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadAction:
    """One action, from its link to its result."""

    name: str
    """The name in its link; its permission is ``ingest.<name>_load``."""
    title: StrPromise
    question: Callable[[Load, str], Question]
    """Returns the question about a load on a database; it may raise an ``IngestError``."""
    refusal: Callable[[Load], str | None]
    """Returns why the action is not possible, or None if it is."""
    do: Callable[[Load, str, bool], str]
    """Performs the action on a load on a database, with or without the further choice. Returns the
    message to show, or raises an ``IngestError``."""
    is_destructive: bool = False

    @property
    def permission(self) -> str:
        """The permission that the action requires."""
        return f"ingest.{self.name}_load"


def _refuse_resume(load: Load) -> str | None:
    from ingest.loading.resume import check_resumable

    if load.status == Status.DRAFT:
        return _("It is a draft that nobody has confirmed.")
    if _is_alive(load):
        return _("It is running.")
    upload = Upload.objects.using(load._state.db).filter(load=load).first()
    is_over = load.status in {Status.LOADED, Status.UNDONE}
    if upload is not None and not is_over:  # no matter where its storage is
        if upload.has_file:
            return None
        return _("Its file, %(file)s, is no longer stored.") % {"file": load.source}
    try:
        check_resumable(load, load.options.get("given"))
    except LedgerError as error:
        return str(error)
    return None


def _ask_resume(load: Load, alias: str) -> Question:  # noqa: ARG001
    return Question(
        text=ngettext(
            "Continue to load %(file)s into %(model)s, after the %(rows)s row that is loaded?",
            "Continue to load %(file)s into %(model)s, after the %(rows)s rows that are loaded?",
            load.loaded,
        )
        % {"file": load.source, "model": load.model, "rows": whole(load.loaded)}
    )


def _resume(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: ARG001, FBT001
    loads = Load.objects.using(alias).filter(pk=load.pk)
    # A task that runs late leaves a cancelled load alone. The page of a waiting load refreshes
    # itself until a process has resumed the load, or has recorded why it could not.
    before = {"status": load.status, "is_cancel_asked": load.is_cancel_asked}
    loads.update(status=Status.WAITING, is_cancel_asked=False)
    try:
        if conf.runner() == background.PROCESS:
            return background.goes_on(load, start_resuming(load, alias))
        return background.start(load, alias)
    except IngestError:
        loads.filter(status=Status.WAITING).update(**before)
        raise


def _refuse_cancel(load: Load) -> str | None:
    if load.status not in {Status.RUNNING, Status.WAITING}:
        return _("It is not running: it is %(state)s.") % {
            "state": load.get_status_display().lower()
        }
    if load.is_cancel_asked and _is_alive(load):
        return _("It has already been asked to stop.")
    return None


def _ask_cancel(load: Load, alias: str) -> Question:  # noqa: ARG001
    return Question(
        text=_(
            "Stop the load of %(file)s into %(model)s? Committed chunks stay, and the load can "
            "be resumed."
        )
        % {"file": load.source, "model": load.model}
    )


def _cancel(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: ARG001, FBT001
    waiting = Load.objects.using(alias).filter(pk=load.pk, status=Status.WAITING)
    stopped = {"status": Status.INTERRUPTED, "is_cancel_asked": True, "ended_at": timezone.now()}
    if waiting.update(**stopped):
        return _("Load %(load)s had not started: it is cancelled.") % {"load": load.pk}
    loads = Load.objects.using(alias).filter(pk=load.pk, status=Status.RUNNING)
    if _is_alive(load):
        loads.update(is_cancel_asked=True)
        return _("Load %(load)s has been asked to stop, and will do so within seconds.") % {
            "load": load.pk
        }
    loads.update(status=Status.INTERRUPTED, ended_at=load.seen_at or timezone.now())
    return _("Load %(load)s no longer had a process: it is marked as interrupted.") % {
        "load": load.pk
    }


def _refuse_undo(load: Load) -> str | None:
    if load.status == Status.UNDONE:
        return _("It has already been undone.")
    if load.status in {Status.DRAFT, Status.WAITING}:
        return _("It has not started: there is nothing to undo.")
    return _("It is running: cancel it first.") if _is_alive(load) else None


def _ask_undo(load: Load, alias: str) -> Question:
    from ingest.ledger.undo import plan_undo

    plan = plan_undo(load.pk, using=alias)
    plan.check(keep_changed=True)
    named = {"file": load.source, "model": load.model}
    if plan.updated or plan.removed:
        asked = _("%(what)s of %(model)s, as they were before %(file)s?") % {
            **named,
            "what": describe_undo(plan),
        }
    else:
        asked = ngettext(
            "Delete the %(rows)s row that was loaded from %(file)s into %(model)s?",
            "Delete the %(rows)s rows that were loaded from %(file)s into %(model)s?",
            plan.deletable,
        ) % {
            **named,
            "rows": whole(plan.deletable),
        }
    return Question(
        text=" ".join([asked, _("This cannot be taken back.")]),
        facts=facts_of(plan),
        choice=_("Keep the rows that were changed since, and undo the others")
        if plan.changed
        else None,
    )


def _undo(load: Load, alias: str, is_chosen: bool) -> str:  # noqa: FBT001
    from ingest.ledger.undo import undo

    return describe_undone(undo(load.pk, using=alias, keep_changed=is_chosen))


ACTIONS = (
    LoadAction(
        name="resume",
        title=gettext_lazy("Resume"),
        question=_ask_resume,
        refusal=_refuse_resume,
        do=_resume,
    ),
    LoadAction(
        name="cancel",
        title=gettext_lazy("Cancel"),
        question=_ask_cancel,
        refusal=_refuse_cancel,
        do=_cancel,
    ),
    LoadAction(
        name="undo",
        title=gettext_lazy("Undo"),
        question=_ask_undo,
        refusal=_refuse_undo,
        do=_undo,
        is_destructive=True,
    ),
)
