"""The columns of the list of loads."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import F
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ingest.admin.loads import progress
from ingest.results import details_of

if TYPE_CHECKING:
    from ingest.ledger.models import Load

LIST_DISPLAY = (
    *("number", "state", "loaded_rows", "rejected_records", "started_at", "who"),
    *("file", "model", "duration", "speed"),
)
"""The most important come first: a narrow window shows only the first columns."""


class LoadColumns:
    """The columns of a load in the list; those of a running load are updated live."""

    @admin.display(description=_("load"), ordering="pk")
    def number(self, load: Load) -> int:
        """Show the number, which the command accepts too."""
        return load.pk

    @admin.display(description=_("source"), ordering="source")
    def file(self, load: Load) -> str:
        """Show the file's name, with the full path as a tooltip."""
        return format_html('<span title="{}">{}</span>', load.source, PurePath(load.source).name)

    @admin.display(description=_("state"), ordering="status")
    def state(self, load: Load) -> str:
        return format_html(
            '<span class="ingest-state ingest-{}">{}</span> {}',
            progress.kind_of(load),
            progress.live(load, "state"),
            progress.bar(load) if progress.is_running(load) else "",
        )

    @admin.display(description=_("rows"), ordering=F("inserted") + F("updated"))
    def loaded_rows(self, load: Load) -> str:
        rows = progress.live(load, "loaded")
        if not details_of(load):
            return rows
        return format_html(
            '{}<br><span class="quiet">{}</span>', rows, progress.live(load, "details")
        )

    @admin.display(description=_("rejects"), ordering="rejected")
    def rejected_records(self, load: Load) -> str:
        return progress.live(load, "rejected")

    @admin.display(description=_("speed"))
    def speed(self, load: Load) -> str:
        return progress.live(load, "speed")

    @admin.display(description=_("duration"))
    def duration(self, load: Load) -> str:
        return progress.live(load, "duration")
