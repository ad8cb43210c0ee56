"""Detects the kind of a column's cells: dates and their formats, numbers and their marks."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TIME = re.compile(
    r"(?P<between>T|[ ]+)?(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2}(?P<fraction>[.]\d{1,6})?)?"
    r"(?P<half>[ ]?[AaPp][Mm])?(?P<zone>[ ]?(?:Z|[+-]\d{2}:?\d{2}))?"
)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4}|\d{2})")
_MONTH_NAME = re.compile(r"(\d{1,2})([- /.]?)([A-Za-z]{3,9})\2(\d{4}|\d{2})")
_MONTH_NAME_FIRST = re.compile(r"([A-Za-z]{3,9}) (\d{1,2})(,?) (\d{4})")
_DIGITS = re.compile(r"(\d{8}|\d{6})")
_IDEOGRAPHS = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日")
_YEARS = range(1900, 2100)
_MONTHS = {
    name: number
    for number in range(1, 13)
    for name in (dt.date(2000, number, 1).strftime(form).lower() for form in ("%b", "%B"))
}
_PIVOT = 69  # as in strptime: 69 is 1969, 68 is 2068
_BARE_CELLS = 5
"""Fewer numbers of six digits are not taken for dates, which they may resemble by chance."""
_SHARE = 0.6
"""Share of a column's cells that must be of one kind: the others may be bad, or totals."""


def date_formats(cell: str) -> dict[str, dt.date]:
    """Return the ``strptime`` formats that fit a cell, each with the date that it then means."""
    time = _TIME.search(cell)
    day, form = cell, ""
    if time and time.end() == len(cell) and time.start():
        day, form = cell[: time.start()], _time_format(time)
    found: dict[str, dt.date] = {}
    for candidate, year, month, number in _days(day.strip()):
        try:
            found[candidate + form] = dt.date(_full_year(year), int(month), int(number))
        except ValueError:
            continue
    return found


def _time_format(time: re.Match[str]) -> str:
    form = {"T": "T", None: ""}.get(time["between"], " ")
    form += "%I:%M" if time["half"] else "%H:%M"
    form += ":%S" if time["seconds"] else ""
    form += ".%f" if time["fraction"] else ""
    if time["half"]:
        form += " %p" if time["half"].startswith(" ") else "%p"
    if time["zone"]:
        form += " %z" if time["zone"].startswith(" ") else "%z"
    return form


def _days(day: str) -> Iterator[tuple[str, str, str | int, str]]:
    """Yield each format that fits, with the year, month and day that it reads."""
    if match := _YEAR_FIRST.fullmatch(day):
        year, mark, month, number = match.groups()
        yield f"%Y{mark}%m{mark}%d", year, month, number
    elif match := _YEAR_LAST.fullmatch(day):
        one, mark, two, three = match.groups()
        form = "%Y" if len(three) == len("2026") else "%y"
        yield f"%d{mark}%m{mark}{form}", three, two, one
        if mark in "/-":
            yield f"%m{mark}%d{mark}{form}", three, one, two
            if form == "%y" and len(one) == len(form):
                yield f"%y{mark}%m{mark}%d", one, two, three
    elif match := _MONTH_NAME.fullmatch(day):
        number, mark, name, year = match.groups()
        form = "%Y" if len(year) == len("2026") else "%y"
        yield f"%d{mark}{_name_form(name)}{mark}{form}", year, _MONTHS.get(name.lower(), 0), number
    elif match := _MONTH_NAME_FIRST.fullmatch(day):
        name, number, mark, year = match.groups()
        yield f"{_name_form(name)} %d{mark} %Y", year, _MONTHS.get(name.lower(), 0), number
    elif match := _IDEOGRAPHS.fullmatch(day):
        year, month, number = match.groups()
        yield "%Y年%m月%d日", year, month, number
    elif _DIGITS.fullmatch(day):
        if len(day) == len("20260131"):
            yield "%Y%m%d", day[:4], day[4:6], day[6:]
            yield "%d%m%Y", day[4:], day[2:4], day[:2]
        else:
            yield "%y%m%d", day[:2], day[2:4], day[4:]


def _name_form(name: str) -> str:
    return "%b" if len(name) == len("Jan") else "%B"


def _full_year(year: str) -> int:
    number = int(year)
    if len(year) == len("99"):
        return number + (1900 if number >= _PIVOT else 2000)
    if number not in _YEARS:
        raise ValueError(year)
    return number


def choose_date_formats(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the formats of a column of dates, the most frequent first; empty if it has no dates.

    If two formats read equally many cells, the one with the shorter range of dates wins, and then
    the one with the day first.
    """
    read = [date_formats(cell) for cell in cells]
    counts = Counter(form for formats in read for form in formats)
    if not counts or (all(map(str.isdigit, cells)) and not _is_day_number(cells, counts)):
        return ()
    chosen: list[str] = []
    left = read
    while left:
        counts = Counter(form for formats in left for form in formats)
        if not counts:
            break
        most = max(counts.values())
        form = min(
            (form for form, count in counts.items() if count == most),
            key=lambda form: _span(form, left),
        )
        chosen.append(form)
        left = [formats for formats in left if form not in formats]
    covered = sum(any(form in formats for form in chosen) for formats in read)
    return tuple(chosen) if covered >= _SHARE * len(cells) else ()


def rival_format(cells: Sequence[str], chosen: Sequence[str]) -> str | None:
    """Return a format that reads the same cells as other dates, so that the choice is a guess.

    It is one that reads every cell of the first chosen format, or another chosen format that reads
    one of them, such as month first beside day first.
    """
    if not chosen:
        return None
    read = [formats for cell in cells if chosen[0] in (formats := date_formats(cell))]
    rivals = set.intersection(*map(set, read)) - {chosen[0]}
    mixed = {
        form
        for formats in read
        for form in chosen[1:]
        if form in formats and formats[form] != formats[chosen[0]]
    }
    differing = {
        form for form in rivals if any(formats[form] != formats[chosen[0]] for formats in read)
    }
    return min(differing | mixed, default=None)


def _is_day_number(cells: Sequence[str], counts: Counter[str]) -> bool:
    """Return whether bare numbers are dates: all of them must be, since some are by chance."""
    enough = 1 if all(len(cell) == len("20260131") for cell in cells) else _BARE_CELLS
    return max(counts.values()) == len(cells) >= enough


def _span(form: str, read: Sequence[dict[str, dt.date]]) -> dt.timedelta:
    days = [formats[form] for formats in read if form in formats]
    return max(days) - min(days)


# The currencies in which bank statements are likely, from
# https://www.six-group.com/en/products-services/financial-information/data-standards.html. If any
# three letters were accepted, "INV-0027" would be a number.
_CODES = (
    "AED ARS AUD BAM BGN BHD BRL BYN CAD CHF CLP CNH CNY COP CZK DKK EGP EUR GBP GEL HKD HRK HUF "
    "IDR ILS INR ISK JOD JPY KES KRW KWD KZT LKR MAD MKD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN "
    "QAR RON RSD RUB SAR SEK SGD THB TND TRY TWD UAH USD UYU VND ZAR"
)
_CURRENCY = (
    rf"{'|'.join(_CODES.split())}|(?:R|US|A|C|NZ|HK|S)\$|[$€£¥₹₽₺₩₪฿₫₴￥円元\\]|"
    r"Kč|zł|kr\.?|Fr\.|Ft|лв|\u0440\u0443\u0431\.?"
)
_SIDE = r"(?:CR|DR|Cr|Dr|C|D)"
_NUMBER = re.compile(
    rf"\(?\s*(?:{_SIDE}\s)?\s*[-+\u2212\u2013]?\s*(?P<before>{_CURRENCY})?\s*"
    r"\(?\s*[-+\u2212\u2013]?\s*"
    r"(?P<digits>\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)"
    rf"(?P<dash>(?<=[.,])[-\u2013\u2014\u2212]+)?\s*[-+\u2212\u2013]?\s*{_SIDE}?\s*\)?\s*"
    rf"(?P<after>{_CURRENCY}|%)?\s*\)?"
)
_NEGATIVE = re.compile(r"[-\u2212\u2013()]|\b(?:DR|Dr|D)\b")
_PLAIN = re.compile(r"[-+]?(?:\d+(?:[.]\d*)?|[.]\d+)")
_COUNT = re.compile(r"[0-9]{1,18}")
_RUNNING_CELLS = 2
"""Fewer cells do not count anything."""
_LONGEST_NUMBER = 80
"""A longer cell is always text."""
_GROUP = 3
_BLANKS = "'\u2019\u00a0\u202f "

Marks = tuple[str | None, str | None, str | None]
"""The decimal mark, the thousands mark, and a mark that could be either; None if not in the
cell."""


def _match_number(cell: str) -> re.Match[str] | None:
    return _NUMBER.fullmatch(cell) if len(cell) <= _LONGEST_NUMBER else None


def number_marks(cell: str) -> Marks | None:
    """Return the marks in a number, or None if the cell is not a number."""
    match = _match_number(cell)
    if match is None:
        return None
    digits = match["digits"].strip()
    if match["dash"]:  # a Swiss "12.-" has no cents: the dash is not a minus
        digits += "00"
    *groups, last = re.split(r"[^\d]", digits)
    marks = re.findall(r"[^\d]", digits)
    if not marks:
        return None, None, None
    if len(marks) == 1:
        return _single_mark(marks[0], groups[0], last)
    if len(set(marks[:-1])) > 1 or any(len(group) != _GROUP for group in groups[1:]):
        return None
    if marks[-1] == marks[0]:
        return (None, marks[0], None) if len(last) == _GROUP else None
    return (marks[-1], marks[0], None) if marks[-1] in ".," else None


def _single_mark(mark: str, whole: str, rest: str) -> Marks | None:
    if mark in _BLANKS:
        return (None, mark, None) if len(rest) == _GROUP else None
    if len(rest) == _GROUP and 0 < len(whole) <= _GROUP and not whole.startswith("0"):
        return None, None, mark
    return mark, None, None


def is_number(cell: str) -> bool:
    """Return whether the cell looks like a number, with any marks."""
    return number_marks(cell) is not None


def is_negative(cell: str) -> bool:
    """Return whether the cell is a number with a minus, parentheses or a debit mark."""
    match = _match_number(cell)
    if match is None:
        return False
    behind = match.end("dash" if match["dash"] else "digits")  # a Swiss dash is no minus
    return bool(_NEGATIVE.search(cell[: match.start("digits")] + " " + cell[behind:]))


def is_running(cells: Sequence[str]) -> bool:
    """Return whether the cells count the records up or down, as 1, 2, 3 do."""
    if len(cells) < _RUNNING_CELLS or not all(_COUNT.fullmatch(cell) for cell in cells):
        return False
    steps = {int(after) - int(cell) for cell, after in pairwise(cells)}
    return steps in ({1}, {-1})


def is_plain_number(cell: str) -> bool:
    """Return whether the cell is a number as Python writes it, or not a number at all."""
    return _PLAIN.fullmatch(cell) is not None or not is_number(cell)


def currencies(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the currency signs and codes beside numbers, the most frequent first."""
    matches = filter(None, map(_match_number, cells))
    found = Counter(sign for match in matches for sign in match.group("before", "after") if sign)
    found.pop("%", None)
    return tuple(sign for sign, _ in found.most_common())


def has_unclear_mark(cells: Sequence[str]) -> str | None:
    """Return the only mark in the column's numbers, if it could be the decimal or thousands mark.

    ``1,234`` may be a little more than one, or more than a thousand.
    """
    found = [marks for cell in cells if (marks := number_marks(cell)) is not None]
    if any(decimal or thousand for decimal, thousand, _ in found):
        return None
    return next((either for *_, either in found if either), None)


def choose_marks(cells: Sequence[str], usual: str | None) -> tuple[str | None, str | None] | None:
    """Return the decimal and the thousands mark of a column; None if it has no numbers.

    ``usual`` is the decimal mark of other columns, which decides if this column's cells do not.
    """
    found = [marks for cell in cells if (marks := number_marks(cell)) is not None]
    if not found or len(found) < _SHARE * len(cells):
        return None
    decimals = Counter(decimal for decimal, _, _ in found if decimal)
    thousands = Counter(thousand for _, thousand, _ in found if thousand)
    unclear = Counter(either for *_, either in found if either)
    decimal = decimals.most_common(1)[0][0] if decimals else None
    thousand = thousands.most_common(1)[0][0] if thousands else None
    if unclear and decimal is None and thousand is None:
        [(mark, _)] = unclear.most_common(1)
        # Without other evidence, three digits after a comma are thousands, after a point a
        # fraction.
        is_decimal = mark == usual if usual else mark == "."
        decimal, thousand = (mark, None) if is_decimal else (None, mark)
    elif unclear and thousand is None and decimal not in unclear:
        thousand = unclear.most_common(1)[0][0]
    return decimal, thousand
