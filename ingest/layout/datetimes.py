"""Read dates and times in the formats that people use, for many distinct texts at a time."""

from __future__ import annotations

import datetime as dt
import re
from fractions import Fraction
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from django.utils.dateparse import parse_datetime

from ingest.layout.formats import check_format, digits_needed, has_year, suits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.layout.formats import Kind

REMEMBERED_TEXTS = 65_536
"""Distinct texts whose result is cached for each field: some 10 MB at most."""
POSIX_PIVOT = 69
"""The first two-digit year that strptime puts into the 1900s."""

_WHAT = {"date": "date", "datetime": "date", "time": "hour"}
_DIGITS = {"Y": "([0-9]{4})", **dict.fromkeys("mdHMS", "([0-9]{2})")}
_DAY = (
    "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-"
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
"""A day that exists in every year."""
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")
"""A fraction finer than microseconds, which Python's parsers truncate."""
_ORDINAL = re.compile(r"(?P<year>[0-9]{4})-?(?P<day>[0-9]{3})(?=$|[T ])")
_END_OF_DAY = re.compile(r"[T ](24)(?::?00(?::?00(?:[.,]0+)?)?)?(?=$|[Z+\- ])")
_COARSE_FRACTION = re.compile(
    r"(?<=[T ])[0-9]{2}(?P<minute>:?[0-9]{2})?[.,](?P<fraction>[0-9]+)(?=$|[Z+\- ])"
)
_LEAP_DAY = "-02-29"
"""Whether it exists depends on the year, which no pattern tells."""


class _Format(NamedTuple):
    """A format that texts are read with one by one."""

    text: str
    has_year: bool
    needed: re.Pattern[str] | None
    """What a text must match besides, if numbers of the format are adjacent."""


class DateTimeReader:
    """Converts dates and times in given formats to ISO 8601, and reports the unreadable ones."""

    def __init__(
        self,
        kind: Kind,
        formats: Sequence[str],
        *,
        pivot: int | None = None,
        year: int | None = None,
        timezone: str | None = None,
    ) -> None:
        """Prepare the formats (none: ISO 8601); raise ``ValueError`` for one that cannot be used.

        Each must suit the kind, and a date without a year needs ``year``.
        """
        self._kind = kind
        self._pivot = POSIX_PIVOT if pivot is None else pivot
        self._zone = ZoneInfo(timezone) if timezone and kind == "datetime" else None
        self._year = "" if year is None else f"{year:04d} "
        self._formats: list[_Format] = []
        for item in formats:
            check_format(item)
            if not suits(item, kind):
                raise ValueError(f"the format {item!r} has no {_WHAT[kind]}")
            is_complete = kind == "time" or has_year(item)
            if not is_complete and year is None:
                raise ValueError(f"the format {item!r} has no year: give one with 'year'")
            self._formats.append(_Format(item, is_complete, digits_needed(item)))
        # If a format needs texts to be read one by one, all formats after it do, too: the order
        # of the formats counts.
        rules = map(self._rule, formats)
        self._rules = [rule for rule in takewhile(bool, rules) if rule is not None]
        self._certain = {"date": f"^{_DAY}$", "time": f"^{_TIME}$"}.get(kind, f"^{_DAY} {_TIME}$")
        self._known: dict[str, str | None] = {"": ""}

    def read(self, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return the times in ISO 8601, and which texts could be read (an empty one can)."""
        moments, left, one_by_one = texts, pc.is_valid(texts), None
        for pattern, order in self._rules:
            fits = pc.and_(left, pc.match_substring_regex(texts, pattern))
            if pc.any(fits).as_py():
                written = pc.replace_substring_regex(texts, pattern, order)
                # The first format that fits counts. One whose date does not exist does not fit.
                waits = pc.and_(fits, pc.match_substring(written, _LEAP_DAY))
                one_by_one = waits if one_by_one is None else pc.or_(one_by_one, waits)
                fits = pc.and_(fits, pc.match_substring_regex(written, self._certain))
                moments = pc.if_else(fits, written, moments)
                left = pc.and_(left, pc.invert(pc.or_(fits, waits)))
        if one_by_one is not None:
            left = pc.or_(left, one_by_one)
        left = pc.fill_null(left, False)
        if not pc.any(left).as_py():
            return moments, pc.fill_null(pc.is_valid(texts), True)
        read = [self._read_known(text) for text in texts.filter(left).to_pylist()]
        moments = pc.replace_with_mask(moments, left, pa.array(read, pa.string()))
        return moments, pc.or_(pc.is_valid(moments), pc.is_null(texts))

    def localize(self, value: Any) -> Any:
        """Return a datetime or date in the layout's time zone, unless it has a time zone."""
        if self._zone is None or not isinstance(value, dt.date):
            return value
        if not isinstance(value, dt.datetime):
            value = dt.datetime.combine(value, dt.time())
        return value if value.tzinfo is not None else value.replace(tzinfo=self._zone)

    def _rule(self, item: str) -> tuple[str, str] | None:
        """Return a pattern for the format's digits and their order in ISO 8601.

        Returns None if the format is not only such digits.
        """
        parts = re.split(r"%(.)", item)
        codes = parts[1::2]
        needed = set("HM" if self._kind == "time" else "Ymd")
        if not needed <= set(codes) or len(set(codes)) < len(codes) or set(codes) - set(_DIGITS):
            return None
        if self._zone is not None:
            return None
        place = {code: f"\\{number}" for number, code in enumerate(codes, 1)}
        day = f"{place.get('Y')}-{place.get('m')}-{place.get('d')}"
        clock = ":".join(place.get(code, "00") for code in "HMS")
        order = {"date": day, "time": clock, "datetime": f"{day} {clock}"}[self._kind]
        pattern = "".join(
            _DIGITS[part] if number % 2 else _escape(part) for number, part in enumerate(parts)
        )
        return f"^{pattern}$", order

    def _read_known(self, text: str) -> str | None:
        if text not in self._known:
            if len(self._known) >= REMEMBERED_TEXTS:
                self._known = {"": ""}
            self._known[text] = self._read_one(text.strip())
        return self._known[text]

    def _read_one(self, text: str) -> str | None:
        if not self._formats:
            return self._read_iso(text)
        for item, is_complete, needed in self._formats:
            if needed is not None and needed.fullmatch(text) is None:
                continue
            try:
                moment = (
                    dt.datetime.strptime(text, item)  # noqa: DTZ007 - the zone is set below
                    if is_complete
                    else dt.datetime.strptime(self._year + text, f"%Y {item}")  # noqa: DTZ007
                )
                if "%y" in item:
                    in_century = moment.year % 100
                    century = 1900 if in_century >= self._pivot else 2000
                    moment = moment.replace(year=century + in_century)
            except ValueError:
                continue
            return self._write(moment)
        return None

    def _read_iso(self, text: str) -> str | None:
        try:
            moment = None if _FINER.search(text) else _parse_iso(text)
        except (ValueError, OverflowError):
            return None
        return None if moment is None else self._write(moment)

    def _write(self, moment: dt.datetime) -> str:
        if self._kind == "date":
            return moment.date().isoformat()
        if self._kind == "time":
            return moment.time().isoformat()
        if self._zone is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return moment.isoformat(sep=" ")


def _parse_iso(text: str) -> dt.datetime | None:
    """Return a time in any form of ISO 8601; Python's parser lacks some and misreads one."""
    text = text.upper()
    if ordinal := _ORDINAL.match(text):
        first = dt.date(int(ordinal["year"]), 1, 1)
        day = first + dt.timedelta(days=int(ordinal["day"]) - 1)
        if day.year != first.year:
            return None
        text = f"{day.isoformat()}{text[ordinal.end() :]}"
    added = dt.timedelta()
    if midnight := _END_OF_DAY.search(text):
        text = f"{text[: midnight.start(1)]}00{text[midnight.end(1) :]}"
        added = dt.timedelta(days=1)
    elif coarse := _COARSE_FRACTION.search(text):
        # Python reads the fraction of an hour or a minute as a fraction of a second.
        seconds = Fraction(f"0.{coarse['fraction']}") * (60 if coarse["minute"] else 3600)
        added = dt.timedelta(microseconds=round(seconds * 1_000_000))
        text = f"{text[: coarse.start('fraction') - 1]}{text[coarse.end('fraction') :]}"
    moment = parse_datetime(text)
    return None if moment is None else moment + added


def _escape(text: str) -> str:
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)
