"""The number of rows: exact if that is cheap, otherwise the planner's estimate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from django.core.paginator import Paginator
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from ingest.admin.large_tables.time_limits import TookTooLong, time_limit

if TYPE_CHECKING:
    from django.db.models import QuerySet

    Base = Paginator[Any]
else:
    Base = Paginator

EXACT_ROWS = 10_000
"""Up to this many rows are counted, which takes about 2 ms."""
COUNTING_MILLISECONDS = 200
"""The time limit: a filter that finds few rows without an index would read the whole table."""


class Count(int):
    """A number of rows that is shown with "about" if it is an estimate."""

    is_exact: bool

    def __new__(cls, number: int, *, is_exact: bool = True) -> Self:
        count = super().__new__(cls, number)
        count.is_exact = is_exact
        return count

    def __str__(self) -> str:
        shown = number_format(int(self), force_grouping=True)
        return shown if self.is_exact else _("about %(count)s") % {"count": shown}


def count_rows(
    queryset: QuerySet[Any],
    *,
    limit: int = EXACT_ROWS,
    milliseconds: int = COUNTING_MILLISECONDS,
) -> Count:
    """Count up to ``limit`` rows; beyond it, or if it takes too long, ask the planner."""
    counted = 0
    try:
        with time_limit(queryset.db, milliseconds):
            counted = _bare(queryset)[: limit + 1].count()
        if counted <= limit:
            return Count(counted)
    except TookTooLong:
        pass
    return Count(max(planned_rows(queryset), counted), is_exact=False)


def planned_rows(queryset: QuerySet[Any]) -> int:
    """Return the planner's estimate: for a whole table reltuples, scaled to its current size."""
    [answer] = json.loads(_bare(queryset).explain(format="json"))
    return int(answer["Plan"]["Plan Rows"])


def _bare(queryset: QuerySet[Any]) -> QuerySet[Any]:
    return queryset.order_by().select_related(None).values("pk")


class EstimatingPaginator(Base):
    """A paginator that never counts a large table."""

    @cached_property
    def count(self) -> Count:
        return count_rows(self.object_list)  # type: ignore[arg-type]
