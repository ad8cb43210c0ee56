"""Check the formats of dates and times before they are used to read any text.

Python's ``strptime`` accepts more than it can read with certainty: it ignores AM and PM beside a
24-hour clock, and reads ``1012024`` as the 10th of January with the format ``%d%m%Y``.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal

Kind = Literal["date", "datetime", "time"]

_CODE = re.compile(r"%(.)", re.DOTALL)
_YEAR = frozenset("YyGcx")
_DAY = _YEAR | frozenset("mbBdjUWV")
_HOUR = frozenset("HIcX")
_DIGITS = {
    "Y": "[0-9]{4}",
    "j": "[0-9]{3}",
    "f": "(?:[0-9]{3}|[0-9]{6})",
    **dict.fromkeys("ymdHIMS", "[0-9]{2}"),
}
_RUN = re.compile(rf"((?:%[{''.join(_DIGITS)}]){{2,}})")


def codes_of(item: str) -> list[str]:
    """Return the letters of a format's codes, in their order."""
    return [code for code in _CODE.findall(item) if code != "%"]


def has_year(item: str) -> bool:
    """Return whether a format says the year."""
    return bool(_YEAR & set(codes_of(item)))


def suits(item: str, kind: Kind) -> bool:
    """Return whether a format says anything of a date, or the hour of a time."""
    return bool((_HOUR if kind == "time" else _DAY) & set(codes_of(item)))


def check_format(item: str) -> None:
    """Raise ``ValueError`` for a format that cannot be read, or whose hour has two meanings."""
    try:
        dt.datetime.strptime("", item if has_year(item) else f"%Y {item}")  # noqa: DTZ007
    except re.error as error:
        raise ValueError(f"the format {item!r} has a code twice: {error}") from error
    except ValueError as error:
        if "does not match" not in str(error):
            raise ValueError(f"the format {item!r} cannot be used: {error}") from error
    codes = set(codes_of(item))
    if "I" in codes and "p" not in codes:
        raise ValueError(
            f"the format {item!r} has %I, the hour of a 12-hour clock, but no %p for AM and PM: "
            "write %H for a 24-hour clock"
        )
    if "p" in codes and "H" in codes:
        raise ValueError(
            f"the format {item!r} has %p for AM and PM, but the hour of a 24-hour clock: write %I"
        )


def digits_needed(item: str) -> re.Pattern[str] | None:
    """Return a pattern that texts of the format match only with all digits of adjacent numbers.

    Without a mark between them, nobody can say which of the numbers lacks a leading zero. Returns
    None if no numbers of the format are adjacent.
    """
    if _RUN.search(item) is None:
        return None
    parts = []
    for number, part in enumerate(_RUN.split(item)):
        if number % 2:
            parts += [_DIGITS[code] for code in codes_of(part)]
            continue
        for place, text in enumerate(_CODE.split(part)):
            words = r"\s*".join(map(re.escape, re.split(r"\s+", text)))
            parts.append(words if place % 2 == 0 else "%" if text == "%" else ".+")
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
