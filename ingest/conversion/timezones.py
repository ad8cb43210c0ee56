"""Read times without a time zone in Django's default one, as Django does if USE_TZ is on.

Django warns about each such value; a load does not, because a file often has no other times.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

END_OF_OFFSETS = dt.timedelta(hours=16)
"""PostgreSQL accepts only offsets below this one: MAX_TZDISP_HOUR in datetime.h."""


def check_offset(moment: dt.datetime) -> None:
    """Raise ``ValueError`` for a time whose UTC offset PostgreSQL would refuse."""
    offset = moment.utcoffset()
    if offset is not None and abs(offset) >= END_OF_OFFSETS:
        raise ValueError(f"time zone displacement out of range: {moment}")


def holds_moments(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's values are datetimes, or lists of them."""
    while isinstance(field, ArrayField):
        field = field.base_field
    return isinstance(field, models.DateTimeField)


def make_aware(field: models.Field[Any, Any], value: Any) -> Any:
    """Return a naive datetime, a date, or each in a list, with a time zone; others unchanged."""
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
