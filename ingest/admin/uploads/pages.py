"""What the pages of the steps show: cells, records, errors, and the result of a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from ingest.admin.loads.progress import whole
from ingest.results.rejects import cut
from ingest.terminal import safe_line, safe_text

if TYPE_CHECKING:
    from django.http import HttpRequest

    from ingest.exceptions import IngestError

RECORDS_PREVIEWED = 20
CELL_CHARACTERS = 200
ERROR_CHARACTERS = 2_000
WORDS = {
    "ok": gettext_lazy("ok"),
    "insert": gettext_lazy("new"),
    "update": gettext_lazy("changed"),
    "unchanged": gettext_lazy("unchanged"),
    "ignored": gettext_lazy("ignored"),
    "skipped": gettext_lazy("skipped"),
}
"""Words for what happens to a record, by ``RecordOutcome.what``."""


def preview_rows(found: Any) -> list[dict[str, Any]]:
    """Return the first records, both accepted and refused, in their order."""
    rows: dict[int, dict[str, Any]] = {}
    outcomes = found.outcomes or [None] * len(found.rows)
    for record, row, outcome in zip(found.records, found.rows, outcomes, strict=True):
        state = "ok" if outcome is None else outcome.what
        changes = {} if outcome is None else outcome.changes
        rows[record] = {
            "record": record,
            "state": state,
            "word": WORDS[state],
            "cells": [
                cell_of(value, changes.get(name))
                for name, value in zip(found.fields, row, strict=True)
            ],
        }
    for reject in found.rejects:
        row = rows.setdefault(
            reject.record,
            {"record": reject.record, "state": "reject", "word": _("refused"), "reasons": []},
        )
        where = safe_line(reject.column or reject.field or "")
        value = "" if reject.column is None else show_cell(reject.value)
        row.setdefault("reasons", []).append(
            {"where": where, "value": value, "reason": safe_line(reject.reason)}
        )
    return [rows[record] for record in sorted(rows)[:RECORDS_PREVIEWED]]


def cell_of(value: Any, change: tuple[Any, Any] | None) -> dict[str, str | None]:
    """Return a stored value and, if an update changes it, the old one."""
    old, new = (None, value) if change is None else change
    return {"old": None if change is None else show_cell(old), "new": show_cell(new)}


def show_error(error: IngestError) -> str:
    """Return an error for a page, shortened, because it may repeat what was posted."""
    return cut(safe_text(str(error)), ERROR_CHARACTERS)


def show_cell(value: Any) -> str:
    """Return a cell for a page, without characters that a browser or a terminal interprets."""
    if value is None:
        return ""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = safe_line(text[: CELL_CHARACTERS + 1])
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


COUNTS = {
    "read": ngettext_lazy("record read", "records read"),
    "inserted": ngettext_lazy("row would be inserted", "rows would be inserted"),
    "updated": ngettext_lazy("row would be updated", "rows would be updated"),
    "unchanged": ngettext_lazy("row would not change", "rows would not change"),
    "ignored": ngettext_lazy("record would be ignored", "records would be ignored"),
    "deleted": ngettext_lazy("row would be deleted", "rows would be deleted"),
    "rejected": ngettext_lazy("record would be refused", "records would be refused"),
    "skipped": ngettext_lazy("record would be skipped", "records would be skipped"),
}
"""What a dry run counts."""
ALWAYS_SHOWN = ("read", "inserted", "rejected")
"""Counts that are shown even if they are 0."""


def show_check(result: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
    """Return what the pages show of a finished dry run."""
    counts = result.get("counts", {})
    return {
        "check_error": result.get("error", ""),
        "counts": []
        if not counts
        else [
            {"name": name, "word": word % counts.get(name, 0), "number": whole(counts.get(name, 0))}
            for name, word in COUNTS.items()
            if counts.get(name) or name in ALWAYS_SHOWN
        ],
        "refused_count": counts.get("rejected", 0),
        "good_count": counts.get("read", 0) - counts.get("rejected", 0) - counts.get("skipped", 0),
        "reasons": [
            {**reason, "count": whole(reason["count"])} for reason in result.get("reasons", ())
        ],
        "rejects": result.get("rejects", ()),
        "warnings": result.get("warnings", ()),
        "seconds": result.get("seconds"),
        "may_view_loads": request.user.has_perm("ingest.view_load"),
    }


def show_offer(offer: Any) -> str:
    """Return the title of a layout in the list of choices."""
    from ingest.layout.registry import SAVED
    from ingest.uploads.layouts import DETECTED

    if offer.name == DETECTED:
        return _("what was detected")
    if offer.name.startswith(SAVED):
        name = offer.name.removeprefix(SAVED)
        title = _("saved: %(name)s") if offer.is_exact else _("saved: %(name)s (another header)")
        return title % {"name": safe_line(name)}
    return _("layout: %(name)s") % {"name": offer.name}
