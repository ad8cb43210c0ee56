"""Sums of the filtered rows, computed on request."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import get_fields_from_path, label_for_field
from django.db.models import Sum
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ingest.admin.large_tables.time_limits import TookTooLong, time_limit

if TYPE_CHECKING:
    from django.db.models import QuerySet

GROUPS_SHOWN = 50
"""The most groups shown for a list with ``sum_by``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sums:
    """The sums of the filtered rows, or why they are not known."""

    lines: tuple[str, ...] = ()
    """One sum each: ``Amount, EUR: 12.30``."""
    problem: str = ""


def add_up(queryset: QuerySet[Any], admin: Any) -> Sums:
    """Sum up ``admin.sum_fields``, for each value of ``admin.sum_by`` if it is set."""
    names, by = list(admin.sum_fields), admin.sum_by
    wanted = {f"sum_of_{name}": Sum(name) for name in names}
    rows = queryset.order_by().select_related(None)
    if rows.query.distinct:  # a row that is found twice is counted once
        everything = queryset.model._base_manager.using(queryset.db)
        rows = everything.filter(pk__in=rows.values("pk"))
    try:
        with time_limit(queryset.db, admin.sum_milliseconds):
            if by:
                groups = list(rows.values(by).annotate(**wanted).order_by(by)[:GROUPS_SHOWN])
            else:
                groups = [rows.aggregate(**wanted)]
    except TookTooLong:
        return Sums(
            problem=_("The sums take longer than %(seconds)s s: filter the list to fewer rows.")
            % {"seconds": f"{admin.sum_milliseconds / 1000:g}"}
        )
    lines = []
    for group in groups:
        for name in names:
            label = str(label_for_field(name, queryset.model, admin)).capitalize()
            which = f"{label}, {_group(queryset, by, group[by])}" if by else label
            total = group[f"sum_of_{name}"]
            shown = "0" if total is None else number_format(total, force_grouping=True)
            lines.append(f"{which}: {shown}")
    return Sums(lines=tuple(lines))


def _group(queryset: QuerySet[Any], path: str, value: Any) -> str:
    if value is None:
        return _("none")
    choices = dict(get_fields_from_path(queryset.model, path)[-1].flatchoices or ())
    return str(choices.get(value, value))
