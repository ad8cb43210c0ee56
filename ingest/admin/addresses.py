"""Lists that handle invalid query strings as Django does, instead of failing with error 500."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import DataError, ProgrammingError, connections, transaction
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from django.contrib.admin import ModelAdmin
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse, QueryDict

    Base = ModelAdmin[Any]
else:
    Base = object

NUMBER_DIGITS = 18
"""Any number with this many digits fits into a bigint."""


def read_number(text: str) -> int | None:
    """Return the non-negative number that the text is; None if it cannot be a key."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS
    return int(text) if is_number else None


def has_nul(query: QueryDict) -> bool:
    """Return whether the query contains a character that PostgreSQL's text cannot store."""
    return any("\0" in name or any("\0" in text for text in texts) for name, texts in query.lists())


class GuardedChangeList(ChangeList):
    """Detects filters that cannot be compiled, and not only those that cannot be built."""

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as error:  # a date hierarchy: the year 9999, or 10**9
            raise IncorrectLookupParameters(error) from error

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        try:
            queryset.query.get_compiler(queryset.db).as_sql()
        except (EmptyResultSet, FullResultSet):
            pass
        except Exception as error:  # a lookup may raise anything; Django catches it too
            raise IncorrectLookupParameters(error) from error
        return queryset


class GuardedList(Base):
    """A list that redirects, as Django does, if PostgreSQL refuses a value in its query string.

    Django itself detects a filter that cannot be built. A filter that can be built, but whose value
    PostgreSQL refuses, would be a server error.
    """

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:  # noqa: ARG002
        return GuardedChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if has_nul(request.GET):
            return _back(request)
        alias = self.get_queryset(request).db
        try:
            with _savepoint(alias):
                response = super().changelist_view(request, extra_context)
        except (DataError, ProgrammingError) as error:
            if _is_bug(error):
                raise
            return _back(request)
        if type(response) is not TemplateResponse:
            return response
        return _GuardedResponse(request, response.template_name, response.context_data, alias=alias)


class _GuardedResponse(TemplateResponse):
    """A page whose queries are executed while it is rendered."""

    def __init__(self, request: HttpRequest, *arguments: Any, alias: str) -> None:
        super().__init__(request, *arguments)
        self._alias = alias

    def render(self) -> HttpResponse:  # type: ignore[override]
        try:
            with _savepoint(self._alias):
                return super().render()
        except (DataError, ProgrammingError) as error:
            if _is_bug(error):
                raise
            return _back(self._request)


def _is_bug(error: Exception) -> bool:
    """Return whether PostgreSQL refused the statement itself, not the driver its values."""
    is_of_server = getattr(error.__cause__, "sqlstate", None) is not None
    return is_of_server and not isinstance(error, DataError)


def _savepoint(alias: str) -> AbstractContextManager[Any]:
    """Protect an open transaction from a refused statement."""
    is_open = connections[alias].in_atomic_block
    return transaction.atomic(using=alias) if is_open else nullcontext()


def _back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
