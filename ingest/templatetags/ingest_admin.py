"""What the templates of the admin need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.contrib.admin.utils import label_for_field

from ingest.admin.changelist import SUM_VAR
from ingest.admin.dates import DateHierarchy

if TYPE_CHECKING:
    from ingest.admin.changelist import LargeChangeList

register = template.Library()


@register.inclusion_tag("admin/date_hierarchy.html")
def large_date_hierarchy(cl: LargeChangeList) -> dict[str, Any]:
    """Show the years, months or days that have rows."""
    return DateHierarchy(cl).context()


@register.inclusion_tag("admin/ingest/large_pagination.html")
def large_pagination(cl: LargeChangeList) -> dict[str, Any]:
    """Show page numbers with their links, and how many rows there are."""
    return {
        "cl": cl,
        "page": cl.open_page,
        "links": list(cl.page_links()),
        "count": str(cl.result_count),
    }


@register.inclusion_tag("admin/ingest/sums.html")
def large_sums(cl: LargeChangeList) -> dict[str, Any]:
    """Show the sums, or the link that asks for them."""
    fields = cl.model_admin.sum_fields
    names = [label_for_field(name, cl.model, cl.model_admin) for name in fields]
    link = cl.get_query_string({SUM_VAR: "1"})
    return {"sums": cl.sums, "names": names, "link": link}
