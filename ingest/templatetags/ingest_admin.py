"""Filters and tags for the templates of the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ingest.terminal import safe_line as as_safe_line
from ingest.terminal import safe_text as as_safe_text

if TYPE_CHECKING:
    from django.core.paginator import Page

    # Not imported: a project without the admin loads this module, too.
    from ingest.admin.large_tables.changelist import LargeChangeList

register = template.Library()
PAGE_NAMES = (gettext_noop("chunks"), gettext_noop("rejects"))
"""The parameters of a load's page that are page numbers."""


@register.filter
def safe_line(text: object) -> str:
    """Escape control characters, line breaks and characters that change the text direction."""
    return as_safe_line(str(text))


@register.filter
def safe_text(text: object) -> str:
    """Escape control characters and characters that change the text direction."""
    return as_safe_text(str(text))


@register.inclusion_tag("admin/date_hierarchy.html")
def large_date_hierarchy(cl: LargeChangeList) -> dict[str, Any]:
    """Show the years, months or days that have rows."""
    return cl.date_choices()


@register.inclusion_tag("admin/ingest/large_pagination.html")
def large_pagination(cl: LargeChangeList) -> dict[str, Any]:
    """Show page numbers with their links, and the number of rows."""
    return {
        "cl": cl,
        "page": cl.open_page,
        "links": list(cl.page_links()),
        "count": str(cl.result_count),
    }


@register.inclusion_tag("admin/ingest/sums.html")
def large_sums(cl: LargeChangeList) -> dict[str, Any]:
    """Show the sums, or the link that requests them."""
    return {"sums": cl.sums, "names": cl.sum_names(), "link": cl.sum_link()}


@register.simple_tag(takes_context=True)
def query_with(context: template.Context, **changed: str) -> str:
    """Return the current query string without page numbers, and with these changes."""
    query = context["request"].GET.copy()
    for name in PAGE_NAMES:
        query.pop(name, None)
    query.update(changed)
    return f"?{query.urlencode()}" if query else ""


@register.inclusion_tag("admin/ingest/load/page_steps.html", takes_context=True)
def page_steps(context: template.Context, page: Page[Any], name: str) -> dict[str, Any]:
    """Show the links to the previous and the next page."""

    def link(number: int) -> str:
        return f"{query_with(context, **{name: str(number)})}#ingest-{name}"

    return {
        "page": page,
        "name": name,
        "title": _(name),
        "earlier": link(page.previous_page_number()) if page.has_previous() else None,
        "later": link(page.next_page_number()) if page.has_next() else None,
    }
