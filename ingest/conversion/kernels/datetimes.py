"""Kernels for dates and times."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from django.conf import settings
from django.core import validators
from django.utils import timezone

from ingest.conversion.kernels.base import Kernel, Mask, is_all, keep
from ingest.conversion.timezones import check_offset

_UTC = pa.timestamp("us", tz="UTC")
_NAIVE = pa.timestamp("us")
_KNOWN_YEARS = (dt.datetime(1970, 1, 1), dt.datetime(2037, 1, 1))  # noqa: DTZ001 - naive bounds
"""Arrow knows a zone's transitions only up to 2037, where the time zone files end; Python continues
with their closing rule. Before 1970 the two disagree in some zones."""
_PYTHON_YEARS = (dt.datetime(2, 1, 1), dt.datetime(9999, 1, 1))  # noqa: DTZ001 - likewise
"""The range of a datetime in every time zone."""
_YEAR = "^[1-9][0-9]{3}-"
_ANY_DAY = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_DAY_OF_EVERY_YEAR = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
"""If one day does not exist, Arrow refuses the whole column. Then only days that exist in every
year are taken, and the rest, such as the 29th of February, is left to the field."""


class DateKernel(Kernel):
    """DateField."""

    python_type = dt.date
    validators = (validators.MinValueValidator, validators.MaxValueValidator)
    limits = (dt.date,)
    stores = staticmethod(pa.types.is_date32)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        try:
            return pc.cast(text, pa.date32()), pc.invert(pc.starts_with(text, "0000"))
        except pa.ArrowInvalid:
            mask = pc.match_substring_regex(text, f"{_YEAR}{_DAY_OF_EVERY_YEAR}$")
            return pc.cast(keep(text, mask), pa.date32()), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        if not pa.types.is_date32(values.type):
            return None
        first, last = pa.scalar(dt.date.min), pa.scalar(dt.date.max)
        return values, pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))


class DateTimeKernel(Kernel):
    """DateTimeField."""

    python_type = dt.datetime

    _TIME = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    _OFFSET = r"(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(kind == _UTC)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        moments, mask = self._cast(text, self._TIME + self._OFFSET + "$", _UTC)
        if is_all(mask):
            return moments, None
        found = _localize(self._cast(text, self._TIME + "$", _NAIVE)[0])
        if found is None:
            return moments, mask
        localized, known = found
        return pc.coalesce(moments, localized), pc.or_(mask, pc.fill_null(known, False))

    def _cast(
        self, text: pa.Array, pattern: str, kind: pa.DataType
    ) -> tuple[pa.Array, pa.BooleanArray]:
        mask = pc.match_substring_regex(text, _YEAR + _ANY_DAY + pattern)
        try:
            return pc.cast(keep(text, mask), kind), mask
        except pa.ArrowInvalid:
            mask = pc.match_substring_regex(text, _YEAR + _DAY_OF_EVERY_YEAR + pattern)
            return pc.cast(keep(text, mask), kind), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        if not pa.types.is_timestamp(values.type):
            return None
        if values.type.tz is None:
            return _localize(pc.cast(values, _NAIVE))
        if values.type.tz[0] in "+-" and values.type.tz[1:3] >= "16":
            return None
        moments = pc.cast(values, _UTC)
        return moments, _within(moments, _PYTHON_YEARS)

    def gather(self, values: list[Any]) -> pa.Array:
        zones = {value.tzinfo for value in values if value is not None}
        # Arrow would read naive values among aware ones as UTC.
        if None in zones:
            raise ValueError("some value has no time zone")
        for zone in zones:
            if isinstance(zone, dt.timezone):
                check_offset(dt.datetime(2000, 1, 1, tzinfo=zone))
        return pa.array(values, type=_UTC)


def _within(moments: pa.Array, years: tuple[dt.datetime, dt.datetime]) -> pa.BooleanArray:
    first, end = (pa.scalar(year, _NAIVE).cast(moments.type) for year in years)
    return pc.and_(pc.greater_equal(moments, first), pc.less(moments, end))


def _localize(naive: pa.Array) -> tuple[pa.Array, Mask] | None:
    """Read naive times in Django's default time zone; return None if one does not exist there."""
    name = timezone.get_default_timezone_name()
    mask = _within(naive, _PYTHON_YEARS if name == "UTC" else _KNOWN_YEARS)
    # An ambiguous time: Python takes the first; PostgreSQL, which decides without USE_TZ, the
    # second.
    ambiguous = "earliest" if settings.USE_TZ else "latest"
    try:
        aware = pc.assume_timezone(keep(naive, mask), name, ambiguous=ambiguous)
    except (pa.ArrowInvalid, ValueError):
        return None
    return pc.cast(aware, _UTC), mask
