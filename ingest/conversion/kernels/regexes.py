r"""Translate patterns of Python's ``re`` to RE2, if the two certainly mean the same.

Arrow searches with RE2, whose syntax looks like Python's but differs in details: ``\s`` matches
other characters, ``$`` another end, ``\d`` only ASCII digits. So no pattern is passed on unchanged.
Python's own parser parses it, and only constructs with the same meaning in both are written for
RE2. Each construct for one character is tried in Python on all 128 ASCII characters, and written as
the set of those that match. The result is valid for ASCII texts only.
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
"""RE2's limit for repetitions. https://github.com/google/re2/wiki/Syntax"""
_KNOWN_FLAGS = re.UNICODE | re.ASCII | re.IGNORECASE | re.DOTALL | re.VERBOSE
"""All flags except MULTILINE and LOCALE."""
_ONE_CHARACTER = (names.LITERAL, names.NOT_LITERAL, names.ANY, names.IN)
_NOTHING = r"[^\x00-\x{10FFFF}]"


class _UnlikeError(Exception):
    """The construct has another meaning in RE2, or does not exist there."""


def translate(regex: re.Pattern[str]) -> str | None:
    """Return a pattern that RE2 finds in exactly the ASCII texts in which Python finds this one.

    The start and end of a match may differ. Returns None if the translation is not certain.
    """
    if not isinstance(regex.pattern, str) or regex.flags & ~_KNOWN_FLAGS:
        return None
    try:
        parsed = parser.parse(regex.pattern, regex.flags)
        found = _write(parsed, regex.flags, is_last=True)
        # RE2 refuses here what it does not support, such as a pattern that is too large.
        pc.match_substring_regex(pa.array([""]), found)
    except (_UnlikeError, RecursionError, pa.ArrowException):
        return None
    return found


def _write(parsed: Any, flags: int, *, is_last: bool) -> str:
    """Write a sequence of constructs; ``is_last``: it is at the end of the pattern."""
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
        if most != 1 and inner.getwidth()[0] == 0:  # the two repeat empty matches differently
            raise _UnlikeError
        end = "" if most is names.MAXREPEAT else most
        # A repeated ``$`` may be followed by its own repetition.
        return f"(?:{_write(inner, flags, is_last=False)}){{{least},{end}}}"
    raise _UnlikeError  # look-around, references, conditions, atomic groups


def _write_characters(state: Any, item: tuple[Any, Any], flags: int) -> str:
    """Write the set of ASCII characters that a construct for one character matches in Python."""
    one = compiler.compile(parser.SubPattern(state, [item]), flags)
    codes = [rf"\x{ord(character):02x}" for character in ASCII if one.fullmatch(character)]
    return f"[{''.join(codes)}]" if codes else _NOTHING


def _write_place(place: Any, *, is_last: bool) -> str:
    if place in (names.AT_BEGINNING, names.AT_BEGINNING_STRING):
        return r"\A"
    if place is names.AT_END_STRING:
        return r"\z"
    if place is names.AT_END and is_last:
        return r"\n?\z"  # Python's ``$`` also matches before a final line feed
    if place is names.AT_BOUNDARY:
        return r"\b"  # for ASCII texts, word boundaries are the same
    raise _UnlikeError
