"""Numbers as people write them, whole columns of distinct texts at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALIKE = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}
"""Marks that are written in several ways: blanks of all widths, and two apostrophes."""
_MINUS = "-\u2212\u2013"
_SIDE = re.compile(r"(?i)(CR|DR)\.?$")


class NumberReader:
    """Reads numbers with these marks into ``-1234.56``; what it cannot read is masked.

    Parentheses, a minus on either side and a trailing DR make a number negative; CR does not.
    Two of them at once are not read, nor are groups of other than three digits.
    """

    def __init__(self, decimal: str, thousands: Sequence[str], currency: Sequence[str]) -> None:
        self._decimal = decimal
        self._thousands = "".join(_ALIKE.get(mark, mark) for mark in thousands)
        self._currency = sorted(currency, key=len, reverse=True)
        point, mark = _escape(decimal), "".join(map(_escape, self._thousands))
        part = f"({point}[0-9]*)?"
        self._plain = f"^[+-]?([0-9]+{part}|{point}[0-9]+)$"
        self._grouped = f"^[+-]?[0-9]{{1,3}}([{mark}][0-9]{{3}})+{part}$" if mark else None
        whole = f"[0-9]{{1,3}}(?:[{mark}][0-9]{{3}})+|[0-9]+" if mark else "[0-9]+"
        python_part = f"(?:{point}[0-9]*)?"
        self._core = re.compile(
            _for_python(f"(?:(?:{whole}){python_part}|{point}[0-9]+)"), re.ASCII
        )

    def read(self, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Give the numbers, and which texts could be read; an empty one can."""
        plain = pc.or_(pc.match_substring_regex(texts, self._plain), pc.equal(texts, ""))
        numbers = texts
        if self._grouped is not None:
            grouped = pc.match_substring_regex(texts, self._grouped)
            if pc.any(grouped).as_py():
                bare = texts
                for mark in self._thousands:
                    bare = pc.replace_substring(bare, mark, "")
                numbers = pc.if_else(grouped, bare, texts)
            plain = pc.or_(plain, grouped)
        if self._decimal != ".":
            numbers = pc.replace_substring(numbers, self._decimal, ".")
        if pc.all(plain, skip_nulls=True).as_py() is not False:
            return numbers, plain
        rest = pc.fill_null(pc.invert(plain), False)
        read = [self._read_one(text) for text in texts.filter(rest).to_pylist()]
        numbers = pc.replace_with_mask(numbers, rest, pa.array(read, pa.string()))
        return numbers, pc.or_(pc.is_valid(numbers), pc.is_null(texts))

    def _read_one(self, text: str) -> str | None:
        text, signs = text.strip(), ""
        side = _SIDE.search(text)
        if side is not None:
            signs += "-" if side[1].upper() == "DR" else "+"
            text = text[: side.start()].rstrip()
        if text.startswith("(") and text.endswith(")"):
            signs += "-"
            text = text[1:-1].strip()
        may_have_currency = True
        while True:
            if text[:1] in {*_MINUS, "+"} and text:
                signs, text = signs + text[0], text[1:].lstrip()
            elif text[-1:] in {*_MINUS, "+"} and text:
                signs, text = signs + text[-1], text[:-1].rstrip()
            elif may_have_currency and (bare := self._without_currency(text)) is not None:
                may_have_currency, text = False, bare
            else:
                break
        if len(signs) > 1 or not self._core.fullmatch(text):
            return None
        for mark in self._thousands:
            text = text.replace(mark, "")
        return ("-" if signs and signs in _MINUS else "") + text.replace(self._decimal, ".")

    def _without_currency(self, text: str) -> str | None:
        for sign in self._currency:
            if text.startswith(sign):
                return text.removeprefix(sign).lstrip()
            if text.endswith(sign):
                return text.removesuffix(sign).rstrip()
        return None


def turn(numbers: pa.Array) -> pa.Array:
    """Turn the sign of numbers that were read."""
    bare = pc.utf8_ltrim(numbers, characters="+-")
    stays = pc.or_(pc.starts_with(numbers, "-"), pc.equal(numbers, ""))
    return pc.if_else(stays, bare, pc.binary_join_element_wise("-", bare, ""))


def _escape(mark: str) -> str:
    return f"\\x{{{ord(mark):x}}}"


def _for_python(pattern: str) -> str:
    """Write RE2's characters by number as Python's ``re`` knows them."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda match: re.escape(chr(int(match[1], 16))), pattern)
