"""Times without a time zone, read in Django's default one, as Django does where USE_TZ is on.

Django does so with a warning for each value; whoever loads a file has no other times to give.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

END_OF_OFFSETS = dt.timedelta(hours=16)
"""PostgreSQL reads no time zone that is so far from UTC: MAX_TZDISP_HOUR in datetime.h."""


def check_offset(moment: dt.datetime) -> None:
    """Raise ``ValueError`` for a moment that the ORM could not write for PostgreSQL to read."""
    offset = moment.utcoffset()
    if offset is not None and abs(offset) >= END_OF_OFFSETS:
        raise ValueError(f"time zone displacement out of range: {moment}")


def holds_moments(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's values are moments, or lists of them."""
    while isinstance(field, ArrayField):
        field = field.base_field
    return isinstance(field, models.DateTimeField)


def make_aware(field: models.Field[Any, Any], value: Any) -> Any:
    """Return a time zone to a moment, a day or each of those in a list; others stay as they are."""
    if isinstance(field, ArrayField):
        if isinstance(value, list | tuple):
            return [make_aware(field.base_field, item) for item in value]
        return value
    if isinstance(value, str):
        value = field.to_python(value)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - it gets one here
    if isinstance(value, dt.datetime) and timezone.is_naive(value):
        return timezone.make_aware(value, timezone.get_default_timezone())
    return value
