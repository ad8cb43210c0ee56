"""The date hierarchy, found by index lookups instead of truncating the date of every row."""

from __future__ import annotations

import calendar
import datetime as dt
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.admin.utils import get_fields_from_path
from django.db.models import DateTimeField, Exists, Max, Min
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext

from ingest.admin.large_tables.time_limits import TookTooLong, time_limit

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

LOOKING_MILLISECONDS = 200
"""The time limit for finding which years, months or days have rows; if exceeded, all are
offered."""
YEARS_SHOWN = 100
LEVELS = ("year", "month", "day")
FORMATS = {"month": "YEAR_MONTH_FORMAT", "day": "MONTH_DAY_FORMAT"}

Chosen = tuple[int, ...]
"""A year, a year and a month, or a whole date; empty if nothing is chosen."""


class DateHierarchy:
    """The context for Django's own date hierarchy template, found by index."""

    def __init__(self, cl: ChangeList) -> None:
        self._cl = cl
        self._name = str(cl.date_hierarchy)
        self._field = get_fields_from_path(cl.model, self._name)[-1]
        self._has_time = isinstance(self._field, DateTimeField)

    def context(self) -> dict[str, Any]:
        """Return the template's variables."""
        given: list[Any] = [self._cl.params.get(f"{self._name}__{level}") for level in LEVELS]
        # Only those that follow from the year on: a month alone is a filter, not a period.
        texts = takewhile(lambda value: value is not None, given)
        chosen = tuple(int(value) for value in texts)
        if not _is_period(chosen):
            return {"show": False}
        periods: list[dt.date] = []
        if not chosen:
            ends = self._ends()
            if ends is None:
                return {"show": False}
            first, last = ends
            while len(chosen) < 2 and self._begins_alike(first, last, len(chosen)):  # noqa: PLR2004
                chosen = (*chosen, getattr(first, LEVELS[len(chosen)]))
            years = range(max(first.year, last.year - YEARS_SHOWN + 1), last.year + 1)
            periods = [dt.date(year, 1, 1) for year in years]
        if chosen:
            periods = _months(*chosen) if len(chosen) == 1 else _days(*chosen[:2])
        return {
            "show": True,
            "field_name": self._field.verbose_name,
            "back": self._back(chosen) if any(given) or chosen else None,
            "choices": self._choices(chosen, periods),
        }

    @staticmethod
    def _begins_alike(first: dt.date, last: dt.date, level: int) -> bool:
        return bool(getattr(first, LEVELS[level]) == getattr(last, LEVELS[level]))

    def _ends(self) -> tuple[dt.date, dt.date] | None:
        # Over all rows, ignoring the filters: two index lookups.
        rows = self._cl.root_queryset.order_by()
        ends = rows.aggregate(first=Min(self._name), last=Max(self._name))
        if ends["first"] is None:
            return None
        return self._day(ends["first"]), self._day(ends["last"])

    def _day(self, moment: Any) -> dt.date:
        if self._has_time and timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        return dt.date(moment.year, moment.month, moment.day)

    def _choices(self, chosen: Chosen, periods: list[dt.date]) -> list[dict[str, Any]]:
        if len(chosen) == len(LEVELS):
            return [{"title": _title(dt.date(*chosen), "day")}]
        level = LEVELS[len(chosen)]
        return [
            {
                "title": _title(first, level),
                "link": self._link((*chosen, getattr(first, level))),
            }
            for first in self._with_rows(periods, level)
        ]

    def _with_rows(self, periods: list[dt.date], level: str) -> list[dt.date]:
        """Return the periods with filtered rows, by one query; all of them if that is slow."""
        rows = self._cl.queryset.order_by().select_related(None)
        questions = [Exists(rows.filter(**self._inside(first, level))) for first in periods]
        one = self._cl.model._base_manager.using(rows.db).order_by().values_list(*questions)[:1]
        try:
            with time_limit(rows.db, LOOKING_MILLISECONDS):
                answers = next(iter(one), ())
        except TookTooLong:
            return periods
        return [first for first, is_there in zip(periods, answers, strict=False) if is_there]

    def _inside(self, first: dt.date, level: str) -> dict[str, Any]:
        inside = {f"{self._name}__gte": self._moment(first)}
        with suppress(ValueError, OverflowError):  # 9999 is the last year
            inside[f"{self._name}__lt"] = self._moment(_next(first, level))
        return inside

    def _moment(self, day: dt.date) -> dt.date:
        if not self._has_time:
            return day
        midnight = dt.datetime.combine(day, dt.time())
        return timezone.make_aware(midnight) if settings.USE_TZ else midnight

    def _back(self, chosen: Chosen) -> dict[str, str]:
        above = chosen[:-1]
        if not above:
            title = gettext("All dates")
        else:
            year, *month = above
            title = _title(dt.date(year, month[0], 1), "month") if month else str(year)
        return {"link": self._link(above), "title": title}

    def _link(self, chosen: Chosen) -> str:
        wanted = {
            f"{self._name}__{level}": value for level, value in zip(LEVELS, chosen, strict=False)
        }
        return self._cl.get_query_string(wanted, [f"{self._name}__"])


def _title(day: dt.date, level: str) -> str:
    return str(day.year) if level == "year" else capfirst(date_format(day, FORMATS[level]))


def _next(first: dt.date, level: str) -> dt.date:
    if level == "day":
        return first + dt.timedelta(days=1)
    if level == "year":
        return first.replace(year=first.year + 1)
    return (first + dt.timedelta(days=31)).replace(day=1)


def _months(year: int) -> list[dt.date]:
    return [dt.date(year, month, 1) for month in range(1, 13)]


def _days(year: int, month: int) -> list[dt.date]:
    return [dt.date(year, month, day + 1) for day in range(calendar.monthrange(year, month)[1])]


def _is_period(chosen: Chosen) -> bool:
    try:
        dt.date(*(*chosen, 1, 1, 1)[: len(LEVELS)] if chosen else (1, 1, 1))
    except (ValueError, OverflowError):
        return False
    return True
