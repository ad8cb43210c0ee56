"""A ModelAdmin for tables of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import ShowFacets
from django.core.exceptions import FieldDoesNotExist
from django.db.models.constants import LOOKUP_SEP
from django.utils.translation import gettext as _

from ingest.admin.addresses import GuardedList
from ingest.admin.large_tables.changelist import LargeChangeList
from ingest.admin.large_tables.counting import EstimatingPaginator, count_rows
from ingest.admin.large_tables.filters import LOAD_VAR, LoadFilter, light_filter
from ingest.admin.large_tables.searching import IndexedSearch
from ingest.admin.large_tables.time_limits import TookTooLong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.admin import ModelAdmin
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    Base = ModelAdmin[Any]
else:
    Base = object


class LargeTableAdmin(GuardedList, Base):
    """A mixin for a ModelAdmin, placed before it: its list opens at once, however large the table.

    A table or a filtered list of up to ``counting.EXACT_ROWS`` rows is shown as Django shows it.
    docs/admin.md describes the differences beyond that.
    """

    sum_fields: Sequence[str] = ()
    """The fields that a link below the list sums up."""
    sum_by: str | None = None
    """A field, or a path to one, by whose values the sums are grouped, such as a currency."""
    sum_milliseconds = 10_000
    """The time limit for computing the sums."""

    change_list_template = "admin/ingest/large_change_list.html"
    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    """Facets count the whole table once for each choice."""

    def get_changelist(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        **options: Any,  # noqa: ARG002
    ) -> type[LargeChangeList]:
        return LargeChangeList

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        chosen = super().get_list_filter(request)
        filters = [light_filter(self.model, item) for item in chosen]
        return [*filters, LoadFilter] if _is_free(self.model, LOAD_VAR) else filters

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Join the related tables that the list shows, even if the relation may be empty."""
        chosen = super().get_list_select_related(request)
        return chosen or _relations(self.model, self.get_list_display(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search as Django does if the filters leave few rows, otherwise by index."""
        fields = list(self.get_search_fields(request))
        if not (search_term and fields) or count_rows(queryset).is_exact:
            return super().get_search_results(request, queryset, search_term)
        search = IndexedSearch(queryset, fields)
        notes = request.__dict__.setdefault("ingest_notes", [])
        if search.left_out:
            notes.append(
                _(
                    "Not searched, because they have no index: %(fields)s. Filter the list to "
                    "fewer rows to search them, too."
                )
                % {"fields": ", ".join(search.left_out)}
            )
        try:
            return search.find(search_term), False
        except TookTooLong:
            notes.append(_("The search took too long. Filter the list to fewer rows first."))
            return queryset.none(), False


def _is_free(model: type[Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return True
    return False


def _relations(model: type[Model], names: Sequence[Any]) -> list[str]:
    found = []
    for name in names:
        path = []
        at: Any = model
        for part in str(name).split(LOOKUP_SEP):
            try:
                field = at._meta.get_field(part)
            except FieldDoesNotExist:
                break
            if not (field.many_to_one or field.one_to_one) or part == field.attname:
                break
            path.append(part)
            at = field.related_model
        if path:
            found.append(LOOKUP_SEP.join(path))
    return found
