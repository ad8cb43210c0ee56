"""Explain to the user why a field judges its values one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models

from ingest.conversion.kernels import METHODS, owner_of
from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Callable


def why_by_value(field: models.Field[Any, Any], honours: Callable[[Any], bool]) -> str:
    """Return the reason why a field's values cannot be judged a whole column at a time.

    ``honours`` returns whether a kernel can do a validator's work.
    """
    judged = field
    while isinstance(judged, models.ForeignKey):
        judged = judged.target_field
    for name in METHODS:
        owner = owner_of(judged, name)
        if not owner.__module__.startswith("django."):
            return f"{owner.__module__}.{owner.__qualname__}.{name}()"
    checks = [] if judged is not field else list(field.validators)
    own = [check for check in checks if not _module(check).startswith("django.")]
    for check in (*own, *checks):
        if check in own or not honours(check):
            return f"validator {_name(check)}"
    if field.choices is not None:
        return f"the choices of a {type(judged).__name__}"
    if isinstance(judged, ArrayField):
        return f"items: {why_by_value(judged.base_field, honours)}"
    return f"a {type(judged).__name__}"


def _module(check: Any) -> str:
    return str(getattr(check, "__module__", ""))


def _name(check: Any) -> str:
    named = check if hasattr(check, "__qualname__") else type(check)
    name = f"{named.__module__}.{named.__qualname__}"
    if isinstance(check, RegexValidator):
        return f"{name} with the pattern {shorten(getattr(check.regex, 'pattern', ''))}"
    return name
