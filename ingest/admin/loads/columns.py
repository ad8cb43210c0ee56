"""The columns of the list of loads."""

from __future__ import annotations

from pathlib import PurePath

from django.contrib import admin
from django.db.models import F
from django.utils.html import format_html

from ingest.admin.loads import progress
from ingest.ledger.models import Load
from ingest.results import details_of

LIST_DISPLAY = (
    *("number", "model", "file", "state", "loaded_rows", "rejected_records"),
    *("speed", "duration", "who", "started_at"),
)


class LoadColumns:
    """What the list shows of a load; that of a running one is kept up to date."""

    @admin.display(description="load", ordering="pk")
    def number(self, load: Load) -> int:
        """Show the number, which the command takes too."""
        return load.pk

    @admin.display(description="source", ordering="source")
    def file(self, load: Load) -> str:
        """Show the file's name; its folder shows when one points at it."""
        return format_html('<span title="{}">{}</span>', load.source, PurePath(load.source).name)

    @admin.display(ordering="status")
    def state(self, load: Load) -> str:
        return format_html(
            '<span class="ingest-state ingest-{}">{}</span> {}',
            load.status,
            progress.live(load, "state"),
            progress.bar(load) if load.status == Load.Status.RUNNING else "",
        )

    @admin.display(description="rows", ordering=F("inserted") + F("updated"))
    def loaded_rows(self, load: Load) -> str:
        rows = progress.live(load, "loaded")
        if not details_of(load):
            return rows
        return format_html(
            '{}<br><span class="quiet">{}</span>', rows, progress.live(load, "details")
        )

    @admin.display(description="rejects", ordering="rejected")
    def rejected_records(self, load: Load) -> str:
        return progress.live(load, "rejected")

    def speed(self, load: Load) -> str:
        return progress.live(load, "speed")

    def duration(self, load: Load) -> str:
        return progress.live(load, "duration")
