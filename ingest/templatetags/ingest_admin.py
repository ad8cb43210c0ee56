"""What the templates of the admin need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.contrib.admin.utils import label_for_field

from ingest.admin import progress
from ingest.admin.changelist import SUM_VAR
from ingest.admin.dates import DateHierarchy

if TYPE_CHECKING:
    from django.core.paginator import Page

    from ingest.admin.changelist import LargeChangeList
    from ingest.models import Load

register = template.Library()
PAGE_NAMES = ("chunks", "rejects")
"""The parameters of a load's page that are numbers of pages."""


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


@register.simple_tag
def live_text(load: Load, name: str) -> str:
    """Show one text of a load; that of a running one is kept up to date."""
    return progress.live(load, name)


@register.simple_tag(takes_context=True)
def query_with(context: template.Context, **changed: str) -> str:
    """Give the address's own query, without the numbers of pages, and with what is changed."""
    query = context["request"].GET.copy()
    for name in PAGE_NAMES:
        query.pop(name, None)
    query.update(changed)
    return f"?{query.urlencode()}" if query else ""


@register.inclusion_tag("admin/ingest/load/page_steps.html", takes_context=True)
def page_steps(context: template.Context, page: Page[Any], name: str) -> dict[str, Any]:
    """Show the links to the page before and the next one."""

    def link(number: int) -> str:
        return f"{query_with(context, **{name: str(number)})}#ingest-{name}"

    return {
        "page": page,
        "name": name,
        "earlier": link(page.previous_page_number()) if page.has_previous() else None,
        "later": link(page.next_page_number()) if page.has_next() else None,
    }
