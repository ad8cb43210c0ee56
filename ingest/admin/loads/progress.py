"""How far a load has come, in words and as a share: for the pages and for those who ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html

from ingest.ledger.models import Load
from ingest.results import details_of

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

SILENT_SECONDS = 15
"""A running load is brought up to date every second; after so many it may be dead."""
NOTHING = "-"
UNDERWAY = frozenset({Load.Status.WAITING, Load.Status.RUNNING})
"""The statuses of loads whose figures change by themselves."""


def share_done(load: Load) -> float | None:
    """Return the share of the source that was read, 0 to 1; None where its size is not known."""
    if load.status == Load.Status.LOADED:
        return 1.0
    if not load.bytes_total:
        return None
    return min(load.bytes_read / load.bytes_total, 1.0)


def texts_of(load: Load) -> dict[str, str]:
    """Return what the pages show of a load and what changes while it runs."""
    share, speed = share_done(load), load.rows_per_second
    return {
        "state": state_of(load),
        "share": NOTHING if share is None else f"{share:.0%}",
        "read": whole(load.read),
        "loaded": whole(load.loaded),
        "details": ", ".join(f"{whole(count)} {name}" for name, count in details_of(load).items()),
        "rejected": whole(load.rejected),
        "skipped": whole(load.skipped),
        "speed": NOTHING if speed is None else f"{whole(round(speed))} rows/s",
        "duration": duration(load.seconds),
    }


def state_of(load: Load) -> str:
    """Return the status, and more of it while the load runs."""
    status = str(load.get_status_display())
    if load.status != Load.Status.RUNNING:
        return status
    if load.is_cancel_asked:
        return f"{status}, asked to stop"
    seen = load.seen_at or load.started_at
    silence = (timezone.now() - seen).total_seconds()
    if silence > SILENT_SECONDS:
        return f"{status}, silent for {duration(silence)}"
    return status


def as_json(load: Load) -> dict[str, Any]:
    """Return what the pages' script puts in its places."""
    return {
        "isRunning": load.status in UNDERWAY,
        "share": share_done(load),
        "texts": texts_of(load),
    }


def live(load: Load, name: str) -> str | SafeString:
    """Show one of the texts; of a running load so that the script finds it."""
    text = texts_of(load)[name]
    if load.status not in UNDERWAY:
        return text
    return format_html(
        '<span data-ingest-load="{}" data-ingest-text="{}">{}</span>', load.pk, name, text
    )


def bar(load: Load) -> SafeString:
    """Show the share as a bar; one that only moves where the size is not known."""
    share = share_done(load)
    text = texts_of(load)["share"]
    value = "" if share is None else format_html(' value="{}"', f"{share:.4f}")
    return format_html(
        '<progress class="ingest-bar" max="1"{} data-ingest-load="{}" aria-label="Read">{}'
        "</progress>",
        value,
        load.pk,
        text,
    )


def whole(number: int) -> str:
    """Write a whole number with its thousands apart."""
    return number_format(number, force_grouping=True)


def duration(seconds: float | None) -> str:
    """Write seconds as a person says them: ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"
