r"""Patterns of Python's ``re`` as patterns of RE2, where the two surely mean the same.

Arrow searches with RE2, whose syntax looks like Python's and differs in its details: ``\s`` has
other characters, ``$`` another end, ``\d`` only ASCII digits. So no pattern is passed on as it
stands. Python's own parser takes it apart, and only constructs whose meaning both sides share are
written anew for RE2. What one character may be is asked of Python itself, for each of the 128
characters of ASCII, and written out. The result holds for texts of ASCII characters only.
"""

from __future__ import annotations

import re
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as names  # type: ignore[attr-defined]
from re import _parser as parser
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ASCII = [chr(code) for code in range(128)]
MOST_REPEATS = 1_000
"""What RE2 repeats at most. https://github.com/google/re2/wiki/Syntax"""
_KNOWN_FLAGS = re.UNICODE | re.ASCII | re.IGNORECASE | re.DOTALL | re.VERBOSE
"""Not MULTILINE, nor LOCALE."""
_ONE_CHARACTER = (names.LITERAL, names.NOT_LITERAL, names.ANY, names.IN)
_NOTHING = r"[^\x00-\x{10FFFF}]"


class _UnlikeError(Exception):
    """The construct means something else in RE2, or nothing."""


def translate(regex: re.Pattern[str]) -> str | None:
    """Return a pattern that RE2 finds in a text of ASCII characters just where Python does.

    Whether it is found is the same, not where it begins and ends. None where that is not certain.
    """
    if not isinstance(regex.pattern, str) or regex.flags & ~_KNOWN_FLAGS:
        return None
    try:
        parsed = parser.parse(regex.pattern, regex.flags)
        found = _write(parsed, regex.flags, is_last=True)
        # RE2 says here what it cannot take, such as too large a pattern.
        pc.match_substring_regex(pa.array([""]), found)
    except (_UnlikeError, RecursionError, pa.ArrowException):
        return None
    return found


def _write(parsed: Any, flags: int, *, is_last: bool) -> str:
    """Write a sequence of constructs; ``is_last``: nothing of the pattern comes after it."""
    items = list(parsed)
    return "".join(
        _write_one(parsed.state, item, flags, is_last=is_last and place == len(items) - 1)
        for place, item in enumerate(items)
    )


def _write_one(state: Any, item: tuple[Any, Any], flags: int, *, is_last: bool) -> str:
    kind, argument = item
    if kind in _ONE_CHARACTER:
        return _write_characters(state, item, flags)
    if kind is names.AT:
        return _write_place(argument, is_last=is_last)
    if kind is names.BRANCH:
        branches = (_write(branch, flags, is_last=is_last) for branch in argument[1])
        return f"(?:{'|'.join(branches)})"
    if kind is names.SUBPATTERN:
        _, added, removed, inner = argument
        if (added | removed) & ~_KNOWN_FLAGS:
            raise _UnlikeError
        return f"(?:{_write(inner, (flags | added) & ~removed, is_last=is_last)})"
    if kind in (names.MAX_REPEAT, names.MIN_REPEAT):
        least, most, inner = argument
        if least > MOST_REPEATS or (most is not names.MAXREPEAT and most > MOST_REPEATS):
            raise _UnlikeError
        if most != 1 and inner.getwidth()[0] == 0:  # how often nothing is repeated is each's own
            raise _UnlikeError
        end = "" if most is names.MAXREPEAT else most
        # A ``$`` that is repeated has its copy after it.
        return f"(?:{_write(inner, flags, is_last=False)}){{{least},{end}}}"
    raise _UnlikeError  # look-around, references, conditions, atomic groups


def _write_characters(state: Any, item: tuple[Any, Any], flags: int) -> str:
    """Write which ASCII characters a construct for one character takes, as Python says."""
    one = compiler.compile(parser.SubPattern(state, [item]), flags)
    codes = [rf"\x{ord(character):02x}" for character in ASCII if one.fullmatch(character)]
    return f"[{''.join(codes)}]" if codes else _NOTHING


def _write_place(place: Any, *, is_last: bool) -> str:
    if place in (names.AT_BEGINNING, names.AT_BEGINNING_STRING):
        return r"\A"
    if place is names.AT_END_STRING:
        return r"\z"
    if place is names.AT_END and is_last:
        return r"\n?\z"  # Python's ``$`` lets a line end stand behind it
    if place is names.AT_BOUNDARY:
        return r"\b"  # between ASCII characters the words are the same
    raise _UnlikeError
