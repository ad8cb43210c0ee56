"""The progress of a load, as texts and as a share, for the pages and their live updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ingest.ledger.locks import find_alive
from ingest.ledger.models import Load
from ingest.results import details_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.utils.safestring import SafeString

STOPPED_SECONDS = 3
"""After this silence of a running load its lock is checked. Behind a pooler in transaction mode
there is no lock between two chunks."""
SILENT_SECONDS = 15
"""The progress of a running load is recorded every second; after this silence it may be dead."""
NOTHING = "-"
UNDERWAY = frozenset({Load.Status.WAITING, Load.Status.RUNNING})
"""The statuses of loads whose figures change by themselves."""
DETAILS = {
    "inserted": gettext_lazy("inserted"),
    "updated": gettext_lazy("updated"),
    "unchanged": gettext_lazy("unchanged"),
    "ignored": gettext_lazy("ignored"),
    "deleted": gettext_lazy("deleted"),
}


def share_done(load: Load) -> float | None:
    """Return the share of the source that was read, 0 to 1; None if its size is unknown."""
    if load.status == Load.Status.LOADED:
        return 1.0
    if not load.bytes_total:
        return None
    return min(load.bytes_read / load.bytes_total, 1.0)


def texts_of(load: Load) -> dict[str, str]:
    """Return the texts about a load that the pages show and that change while it runs."""
    share, speed = share_done(load), load.rows_per_second
    return {
        "state": state_of(load),
        "share": NOTHING if share is None else f"{share:.0%}",
        "read": whole(load.read),
        "loaded": whole(load.loaded),
        "details": ", ".join(
            f"{whole(count)} {DETAILS[name]}" for name, count in details_of(load).items()
        ),
        "rejected": whole(load.rejected),
        "skipped": whole(load.skipped),
        "speed": NOTHING if speed is None else _("%(rows)s rows/s") % {"rows": whole(round(speed))},
        "duration": duration(load.seconds),
    }


def state_of(load: Load) -> str:
    """Return the status, with more detail while the load runs."""
    status = str(load.get_status_display())
    if load.status == Load.Status.LOADED and load.rejected:
        return _("Loaded, with rejects")
    if is_unstarted(load):
        return _("Waiting for %(time)s") % {"time": duration(_waited(load))}
    if load.status != Load.Status.RUNNING:
        return status
    if is_stopped(load):
        return _("Stopped")
    if load.is_cancel_asked:
        return _("Running, asked to stop")
    silence = _silence(load)
    if silence > SILENT_SECONDS:
        return _("Running, silent for %(time)s") % {"time": duration(silence)}
    return status


def kind_of(load: Load) -> str:
    """Return the suffix of the CSS class that gives a state its colour."""
    if load.status == Load.Status.LOADED and load.rejected:
        return "with-rejects"
    return "stopped" if is_stopped(load) else str(load.status)


def is_running(load: Load) -> bool:
    """Return whether a load is running, as far as can be seen."""
    return load.status == Load.Status.RUNNING and not is_stopped(load)


def is_underway(load: Load) -> bool:
    """Return whether the figures of a load change by themselves."""
    return load.status in UNDERWAY and not is_stopped(load)


def is_unstarted(load: Load) -> bool:
    """Return whether no process has begun a load that was confirmed a while ago."""
    is_waiting = load.status == Load.Status.WAITING and load.ended_at is None
    is_new = load.seen_at is None or load.seen_at <= load.started_at  # seen by its dry run only
    return is_waiting and is_new and _waited(load) > SILENT_SECONDS


def is_stopped(load: Load) -> bool:
    """Return whether a load has the status "running" but no process."""
    if "is_stopped" not in load.__dict__:
        find_stopped([load])
    return bool(load.__dict__["is_stopped"])


def find_stopped(loads: Iterable[Load]) -> None:
    """Find the loads that no longer have a process, with one query for all."""
    loads = list(loads)
    silent = [
        load
        for load in loads
        if load.status == Load.Status.RUNNING and _silence(load) > STOPPED_SECONDS
    ]
    alive = find_alive(silent)
    for load in loads:
        load.__dict__["is_stopped"] = load in silent and load.pk not in alive


def _waited(load: Load) -> float:
    return float((timezone.now() - load.started_at).total_seconds())


def _silence(load: Load) -> float:
    seen = load.seen_at or load.started_at
    return float((timezone.now() - seen).total_seconds())


def as_json(load: Load) -> dict[str, Any]:
    """Return the values for the script of the pages."""
    return {
        "isRunning": is_underway(load),
        "share": share_done(load),
        "texts": texts_of(load),
    }


def live(load: Load, name: str) -> str | SafeString:
    """Return one of the texts, for a running load in an element that the script updates."""
    text = texts_of(load)[name]
    if not is_underway(load):
        return text
    return format_html(
        '<span data-ingest-load="{}" data-ingest-text="{}">{}</span>', load.pk, name, text
    )


def bar(load: Load) -> SafeString:
    """Return the share as a progress bar, which is indeterminate if the size is unknown."""
    share = share_done(load)
    text = texts_of(load)["share"]
    value = "" if share is None else format_html(' value="{}"', f"{share:.4f}")
    return format_html(
        '<progress class="ingest-bar" max="1"{} data-ingest-load="{}" aria-label="{}">{}'
        "</progress>",
        value,
        load.pk,
        _("Read"),
        text,
    )


def whole(number: int) -> str:
    """Format a whole number with thousands separators."""
    return number_format(number, force_grouping=True)


def duration(seconds: float | None) -> str:
    """Format seconds for a reader: ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 60:  # noqa: PLR2004 - a minute
        return _("%(seconds)s s") % {"seconds": number_format(round(seconds, 1), 1)}
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("%(hours)s h %(minutes)s min") % {"hours": whole(hours), "minutes": minutes}
    return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}
