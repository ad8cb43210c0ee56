"""Forms of models with hundreds of fields: they have more inputs than Django accepts by default."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import QueryDict
from django.views.decorators.csrf import csrf_exempt, csrf_protect

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

MOST_INPUTS = 10_000
"""PostgreSQL's tables have at most 1,600 columns, and the form has at most five inputs for each.

``DATA_UPLOAD_MAX_MEMORY_SIZE`` still limits the bytes.
"""
_FORM = "application/x-www-form-urlencoded"


def accepts_wide_forms(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let a view accept forms with more inputs than ``DATA_UPLOAD_MAX_NUMBER_FIELDS``.

    Django's check of the CSRF token reads the form, so it is made after the form was accepted.
    """
    protected = csrf_protect(view)

    @csrf_exempt
    @wraps(view)
    def accept(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _accept(request)
        return protected(request, *args, **kwargs)

    return accept


def _accept(request: HttpRequest) -> None:
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    if most is None or request.method != "POST" or request.content_type != _FORM:
        return
    inputs = request.body.split(b"&", MOST_INPUTS)
    if not most < len(inputs) <= MOST_INPUTS:
        return  # Django reads the form, or refuses it
    form = QueryDict(mutable=True)
    step = max(most, 1)
    for start in range(0, len(inputs), step):
        part = b"&".join(inputs[start : start + step])
        form.update(QueryDict(part, encoding=request.encoding))
    request.POST = form  # type: ignore[assignment] # mypy's stubs know only the immutable one
