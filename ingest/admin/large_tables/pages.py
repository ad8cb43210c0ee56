"""Pages of a list that is too long to count: each begins at a key, not at an offset.

A page near the start, near the end or near a page shown before is found by skipping the few rows in
between. A page far from all of these begins where the planner estimates it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import ValidationError

from ingest.admin.large_tables.counting import planned_rows
from ingest.admin.large_tables.scales import scale_of

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ingest.admin.large_tables.orderings import Key, Ordering

MOST_PAGES = 1 << 40
"""More pages than any table has; their rows are still a number that PostgreSQL can handle."""
STEPPED_ROWS = 10_000
"""Rows that may be skipped to reach a page: this takes about 5 ms."""
SOUGHT_ROWS = 2_500
"""The search for a page's position ends this close to it, and the remaining rows are skipped."""


def _page_number(given: Any) -> int:
    number = int(given)
    if not 0 < number <= MOST_PAGES:
        raise ValueError("no page has this number")
    return number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchor:
    """The number and the beginning of a page shown before."""

    number: int
    is_exact: bool
    """Whether its page number is certain, rather than estimated."""
    key: Key

    def as_text(self, ordering: Ordering) -> str:
        """Return the anchor as a text for a link."""
        parts = [self.number, self.is_exact, *ordering.as_texts(self.key)]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str, ordering: Ordering) -> Self:
        """Parse the anchor of a link; raise ``ValueError`` if it is invalid for this ordering."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            number, is_exact, *texts = json.loads(raw)
            key = ordering.from_texts(texts)
            return cls(number=_page_number(number), is_exact=bool(is_exact), key=key)
        except (ValueError, TypeError, ArithmeticError, RecursionError, ValidationError) as error:
            raise ValueError(f"{text!r} is no place in this list") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenPage:
    """A page with its rows."""

    number: int
    is_exact: bool
    rows: QuerySet[Any]
    """The rows, already fetched."""
    is_last: bool


class KeyPages:
    """Opens pages of a queryset that is sorted by ``ordering``."""

    def __init__(
        self, queryset: QuerySet[Any], ordering: Ordering, *, rows: int, per_page: int
    ) -> None:
        self._queryset = queryset
        self._keys = queryset.select_related(None).values_list(*ordering.names)
        self._ordering = ordering
        self._per_page = per_page
        self._rows = rows
        self.last_number = max(1, -(-rows // per_page))
        """The number of the last page, as far as known."""

    def open(self, number: int, anchor: Anchor | None = None) -> OpenPage:
        """Open the page with this number, or the nearest existing one."""
        number = max(number, 1)
        if anchor is not None and self._is_near(number - anchor.number):
            page = self._from_anchor(number, anchor)
        elif self._is_near(number - 1):
            page = self._from_start(number)
        elif self._is_near(self.last_number - number) or number > self.last_number:
            page = self._from_end(number)
        else:
            page = self._from_estimate(number)
        self.last_number = page.number if page.is_last else max(self.last_number, page.number + 1)
        return page

    def _is_near(self, pages: int) -> bool:
        return abs(pages) * self._per_page <= STEPPED_ROWS

    def _from_start(self, number: int) -> OpenPage:
        first = (number - 1) * self._per_page
        rows = self._queryset[first : first + self._per_page]
        return self._page(number, rows, is_exact=True) or self._last()

    def _from_end(self, number: int) -> OpenPage:
        number = min(number, self.last_number)
        steps = (self.last_number - number + 1) * self._per_page
        key = self._nth(self._keys.reverse(), steps - 1)
        return self._at(number, key) or self._first()

    def _from_anchor(self, number: int, anchor: Anchor) -> OpenPage:
        if number >= anchor.number:
            first = (number - anchor.number) * self._per_page
            rows = self._ordering.at_or_after(self._queryset, anchor.key)
            rows = rows[first : first + self._per_page]
            return self._page(number, rows, is_exact=anchor.is_exact) or self._last()
        if anchor.is_exact and number == 1:
            return self._first()
        before = self._ordering.before(self._keys.reverse(), anchor.key)
        key = self._nth(before, (anchor.number - number) * self._per_page - 1)
        if key is None:
            return self._first()
        if number == 1 and self._ordering.before(self._keys, key).exists():
            number = 2  # the estimate was too low: this is not the first page yet
        return self._at(number, key, is_exact=anchor.is_exact) or self._first()

    def _from_estimate(self, number: int) -> OpenPage:
        rows_before = (number - 1) * self._per_page
        if scale_of(self._ordering.first) is None:
            return self._at(number, self._nth(self._keys, rows_before)) or self._last()
        value, remaining = self._seek(rows_before)
        lookup = "lte" if self._ordering.is_descending else "gte"
        keys = self._keys.filter(**{f"{self._ordering.first.attname}__{lookup}": value})
        key = self._nth(keys, min(remaining, STEPPED_ROWS))
        return self._at(number, key) or self._last()

    def _seek(self, rows_before: int) -> tuple[Any, int]:
        """Find a value of the first column near a row number, by the planner's estimates.

        Return the value and the number of rows from it to the page's beginning. Values that are
        spread evenly take about four estimates of a millisecond each; every other step halves the
        interval, which limits the number of steps for other values.
        """
        scale = scale_of(self._ordering.first)
        assert scale is not None  # noqa: S101 - for the type checker: the caller has checked it
        to_number, from_number = scale
        name, way = self._ordering.first.attname, -1 if self._ordering.is_descending else 1
        lookup = f"{name}__{'gt' if self._ordering.is_descending else 'lt'}"
        ends = self._nth(self._keys, 0), self._nth(self._keys.reverse(), 0)
        low, high = (way * to_number(end[0]) if end else 0 for end in ends)
        skipped, beyond, is_halving = 0, max(self._rows, rows_before + 1), False
        while high - low > 1 and rows_before - skipped > SOUGHT_ROWS:
            share = 0.5 if is_halving else (rows_before - skipped) / (beyond - skipped)
            middle = min(max(low + int((high - low) * share), low + 1), high - 1)
            planned = planned_rows(self._queryset.filter(**{lookup: from_number(way * middle)}))
            if planned > rows_before:
                high, beyond = middle, planned
            else:
                low, skipped = middle, planned
            is_halving = not is_halving
        return from_number(way * low), rows_before - skipped

    def _last(self) -> OpenPage:
        return self._from_end(self.last_number)

    def _first(self) -> OpenPage:
        rows = self._queryset[: self._per_page]
        return OpenPage(number=1, is_exact=True, rows=rows, is_last=len(rows) < self._per_page)

    def _at(self, number: int, key: Key | None, *, is_exact: bool = False) -> OpenPage | None:
        if key is None:
            return None
        rows = self._ordering.at_or_after(self._queryset, key)[: self._per_page]
        return self._page(number, rows, is_exact=is_exact)

    def _page(self, number: int, rows: QuerySet[Any], *, is_exact: bool) -> OpenPage | None:
        if not rows:
            return None
        is_last = len(rows) < self._per_page
        if not is_last and number >= self.last_number:
            key = self._ordering.key_of(rows[len(rows) - 1])
            is_last = not self._ordering.after(self._keys, key).exists()
        return OpenPage(number=number, is_exact=is_exact, rows=rows, is_last=is_last)

    @staticmethod
    def _nth(keys: QuerySet[Any], index: int) -> Key | None:
        return next(iter(keys[index : index + 1]), None)
