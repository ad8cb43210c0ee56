"""The list of a large table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field
from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR
from django.core.paginator import InvalidPage, Paginator
from django.utils.translation import gettext as _

from ingest.admin.addresses import GuardedChangeList
from ingest.admin.large_tables.dates import DateHierarchy
from ingest.admin.large_tables.orderings import NoKey, Ordering, read_ordering
from ingest.admin.large_tables.pages import Anchor, KeyPages, OpenPage
from ingest.admin.large_tables.sums import Sums, add_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest

AT_VAR = "_at"
"""A link's parameter: the position where an already shown page begins."""
SUM_VAR = "_sum"
"""A link's parameter: compute the sums of the filtered rows."""


class LargeChangeList(GuardedChangeList):
    """A change list that never counts a large table, and opens each of its pages by key."""

    model_admin: Any  # a LargeTableAdmin
    open_page: OpenPage | None = None
    """The page, if it was opened by its key."""
    sums: Sums | None = None
    """The sums, if they were requested."""
    key_ordering: Ordering | None = None
    at = ""
    is_sum_asked = False

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        # These belong to this page only; they are neither filters nor part of its links.
        for parameters in (self.params, self.filter_params):
            parameters.pop(AT_VAR, None)
            parameters.pop(SUM_VAR, None)
        self.at = request.GET.get(AT_VAR, "")
        self.is_sum_asked = SUM_VAR in request.GET
        self.notes: list[str] = []
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        self.notes += getattr(request, "ingest_notes", [])
        return queryset

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        if ORDER_VAR in self.params:
            # Django puts the requested order before the list's own, which no index serves then.
            queryset = queryset.order_by()
        ordering = list(super().get_ordering(request, queryset))
        ways = {str(part).startswith("-") for part in ordering[:-1] if isinstance(part, str)}
        if ordering[-1:] == ["-pk"] and ways == {False}:
            # Django appends the key in descending order; an index is read in one direction.
            ordering[-1] = "pk"
        return ordering

    def get_results(self, request: HttpRequest) -> None:
        paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        count = self.result_count = paginator.count
        self.paginator = paginator
        is_exact = getattr(count, "is_exact", True)
        self.can_show_all = is_exact and count <= self.list_max_show_all
        self.multi_page = not is_exact or count > self.list_per_page
        # The search form shows the total only if the two numbers differ.
        self.full_result_count = None if is_exact else count
        self.show_full_result_count = False
        self.show_admin_actions = True
        if (self.show_all and self.can_show_all) or not self.multi_page:
            self.result_list = self.queryset._clone()
        elif is_exact:
            self.result_list = self._stock_page(paginator)
        else:
            self.result_list = self._key_page(paginator)
        if self.is_sum_asked and self.model_admin.sum_fields:
            self.sums = add_up(self.queryset, self.model_admin)

    def _stock_page(self, paginator: Paginator[Any]) -> Any:
        try:
            return paginator.page(self.page_num).object_list
        except InvalidPage as error:
            raise IncorrectLookupParameters from error

    def _key_page(self, paginator: Paginator[Any]) -> Any:
        try:
            self.key_ordering = read_ordering(self.queryset)
            anchor = Anchor.from_text(self.at, self.key_ordering) if self.at else None
        except NoKey as reason:
            self.notes.append(
                _(
                    "This page was reached by reading all rows before it: %(reason)s. Another "
                    "order of the list is faster."
                )
                % {"reason": reason}
            )
            return self._stock_page(paginator)
        except ValueError as error:
            raise IncorrectLookupParameters from error
        pages = KeyPages(
            self.queryset, self.key_ordering, rows=self.result_count, per_page=self.list_per_page
        )
        self.open_page = pages.open(self.page_num, anchor)
        self.page_num = self.open_page.number
        paginator.num_pages = pages.last_number
        return self.open_page.rows

    def date_choices(self) -> dict[str, Any]:
        """Return the context for the template of the date hierarchy."""
        return DateHierarchy(self).context()

    def sum_names(self) -> list[str]:
        """Return the names of the fields that can be summed up."""
        fields = self.model_admin.sum_fields
        return [str(label_for_field(name, self.model, self.model_admin)) for name in fields]

    def sum_link(self) -> str:
        """Return the link to this page with its sums."""
        return str(self.get_query_string({PAGE_VAR: self.page_num, SUM_VAR: "1"}))

    def page_links(self) -> Iterator[tuple[Any, str]]:
        """Yield page numbers with their links; the link is empty for this page and for a gap.

        The pages around this one are reached from its first row, the outermost from either end.
        """
        page, ordering = self.open_page, self.key_ordering
        if page is None or ordering is None:
            return
        anchor = ""
        if page.rows:
            key = ordering.key_of(page.rows[0])
            place = Anchor(number=page.number, is_exact=page.is_exact, key=key)
            anchor = place.as_text(ordering)
        for number in self.paginator.get_elided_page_range(page.number):
            if number in {self.paginator.ELLIPSIS, page.number}:
                yield number, ""
                continue
            is_near = abs(number - page.number) <= 3  # noqa: PLR2004 - as many as Django shows
            at = {AT_VAR: anchor} if is_near and anchor else {}
            yield number, self.get_query_string({PAGE_VAR: number, **at})
