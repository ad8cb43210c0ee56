"""Field values as integers, so that a value can be found by bisection."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

Scale = tuple["Callable[[Any], int]", "Callable[[int], Any]"]
"""Functions that convert a value to its number and back."""


def scale_of(field: models.Field[Any, Any]) -> Scale | None:
    """Return the scale of a field's values, or None if they have none."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if isinstance(field, models.IntegerField):
        return int, int
    if isinstance(field, models.DecimalField):
        places = field.decimal_places
        return (
            lambda value: int(value.scaleb(places)),
            lambda number: Decimal(number).scaleb(-places),
        )
    if isinstance(field, models.DateTimeField):
        return _to_microseconds, _from_microseconds
    if isinstance(field, models.DateField):
        return dt.date.toordinal, dt.date.fromordinal
    if isinstance(field, models.UUIDField):
        return (lambda value: value.int), (lambda number: uuid.UUID(int=number))
    return None


def _to_microseconds(moment: dt.datetime) -> int:
    aware = moment if timezone.is_aware(moment) else moment.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // _MICROSECOND


def _from_microseconds(number: int) -> dt.datetime:
    moment = _EPOCH + number * _MICROSECOND
    # Without USE_TZ the values in the database are naive, and so must be what is compared with
    # them.
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)
