"""Read numbers in the formats that people use, for many distinct texts at a time."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

Places = Literal["exact", "zeros", "round"]
"""What to do with more decimals than the field has places."""

_ALIKE = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}
"""Marks that are written in several ways: spaces of all widths, and two apostrophes."""
_MINUS = "-\u2212\u2013"
_DASHES = "-\u2212\u2013\u2014"
_SIDE = r"(?P<side>CR|DR|C|D)\.?"
_SIDE_BEFORE = re.compile(rf"(?i){_SIDE}(?![^\W\d_])\s*")
_SIDE_AFTER = re.compile(rf"(?i)\s*(?<![^\W\d_]){_SIDE}$")
_WIDE = Context(prec=1_000, rounding=ROUND_HALF_EVEN)
_LONGEST_EXPONENT = 400
"""A number with a greater exponent is left to the field: written out, it could fill the memory."""


class NumberReader:
    """Converts numbers with given marks to the form ``-1234.56``, and reports the unreadable ones.

    Parentheses, a minus on either side, and DR or D before or after a number make it negative; CR
    and C do not. A number with two of them is not read, nor are groups of other than three digits,
    unless the grouping is ``indian``. The dash in ``12.-`` means no decimals; it is not a sign.
    """

    def __init__(  # noqa: PLR0913 - what a layout says of numbers, each once
        self,
        decimal: str,
        thousands: Sequence[str],
        currency: Sequence[str],
        *,
        is_indian: bool = False,
        has_exponent: bool = False,
        field_places: int | None = None,
        places: Places = "exact",
    ) -> None:
        """``field_places``: how many decimals the field has; ``places``: what to do with more."""
        self._decimal = decimal
        self._thousands = "".join(_ALIKE.get(mark, mark) for mark in thousands)
        self._currency = sorted(currency, key=len, reverse=True)
        self._field_places = field_places
        self._places = places
        self.rounded: tuple[str, str] | None = None
        """The first number that was rounded, before and after; None if none was."""
        point, mark = _escape(decimal), "".join(map(_escape, self._thousands))
        power = "([eE][+-]?[0-9]{1,3})?" if has_exponent else ""
        part = f"({point}[0-9]*)?"
        pair = f"([{mark}][0-9]{{2}})*" if is_indian else f"([{mark}][0-9]{{3}})*"
        first = f"([1-9]|[0-9]{{2{'' if is_indian else ',3'}}})"  # 0,123 is not 123
        groups = f"{first}{pair}[{mark}][0-9]{{3}}"
        self._plain = f"^[+-]?([0-9]+{part}|{point}[0-9]+){power}$"
        self._grouped = f"^[+-]?{groups}{part}{power}$" if mark else None
        whole = f"{groups}|[0-9]+" if mark else "[0-9]+"
        core = f"(({whole}){part}|{point}[0-9]+){power}"
        self._core = re.compile(_for_python(core), re.ASCII)

    def read(self, texts: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return the numbers, and which texts could be read (an empty one can)."""
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
            return self.fit(numbers), plain
        rest = pc.fill_null(pc.invert(plain), False)
        read = [self._read_one(text) for text in texts.filter(rest).to_pylist()]
        numbers = pc.replace_with_mask(numbers, rest, pa.array(read, pa.string()))
        return self.fit(numbers), pc.or_(pc.is_valid(numbers), pc.is_null(texts))

    def fit(self, numbers: pa.Array) -> pa.Array:
        """Return numbers with no more decimals than the field has, as far as ``places`` allows.

        Texts that are not numbers are kept: the field says what is wrong with them.
        """
        if self._places == "exact" or self._field_places is None:
            return numbers
        wanted = f"^[+-]?[0-9]*(\\.[0-9]{{0,{self._field_places}}})?$"
        if self._field_places == 0:
            wanted = "^[+-]?[0-9]*$"
        fits = pc.fill_null(pc.match_substring_regex(numbers, wanted), True)
        if pc.all(fits).as_py() is not False:
            return numbers
        rest = pc.invert(fits)
        fitted = [self._fit_one(text) for text in numbers.filter(rest).to_pylist()]
        return pc.replace_with_mask(numbers, rest, pa.array(fitted, pa.string()))

    def _fit_one(self, text: str) -> str:
        number = _as_decimal(text)
        if number is None:
            return text
        step = Decimal(1).scaleb(-(self._field_places or 0))
        rounded = number.quantize(step, context=_WIDE)
        if rounded != number:
            if self._places != "round":
                return text
            self.rounded = self.rounded or (text, format(rounded, "f"))
        return format(rounded, "f")

    def _read_one(self, text: str) -> str | None:
        text, signs = text.strip(), ""
        has_side, has_currency, is_bracketed = False, False, False
        while True:
            # A currency goes first: C$ is no credit.
            if not has_currency and (bare := self._without_currency(text)) is not None:
                has_currency, text = True, bare
            elif not has_side and (side := _SIDE_BEFORE.match(text) or _SIDE_AFTER.search(text)):
                has_side = True
                signs += "-" if side["side"][0] in "dD" else "+"
                text = text[: side.start()] or text[side.end() :]
            elif not is_bracketed and text.startswith("(") and text.endswith(")"):
                is_bracketed = True
                signs, text = signs + "-", text[1:-1]
            elif text[:1] and text[0] in {*_MINUS, "+"}:
                signs, text = signs + text[0], text[1:]
            elif self._is_dash_for_no_decimals(text):
                text = text.rstrip(_DASHES)
            elif text[-1:] and text[-1] in {*_MINUS, "+"}:
                signs, text = signs + text[-1], text[:-1]
            else:
                break
            text = text.strip()
        if len(signs) > 1 or not self._core.fullmatch(text):
            return None
        for mark in self._thousands:
            text = text.replace(mark, "")
        return ("-" if signs and signs in _MINUS else "") + text.replace(self._decimal, ".")

    def _is_dash_for_no_decimals(self, text: str) -> bool:
        bare = text.rstrip(_DASHES)
        return bare != text and bare[:1].isdigit() and bare.endswith(self._decimal)

    def _without_currency(self, text: str) -> str | None:
        for sign in self._currency:
            if text.startswith(sign):
                return text.removeprefix(sign)
            if text.endswith(sign):
                return text.removesuffix(sign)
        return None


def turn(numbers: pa.Array) -> pa.Array:
    """Return numbers with their signs reversed."""
    bare = pc.utf8_ltrim(numbers, characters="+-")
    stays = pc.or_(pc.starts_with(numbers, "-"), pc.equal(numbers, ""))
    return pc.if_else(stays, bare, pc.binary_join_element_wise("-", bare, ""))


def _as_decimal(text: str) -> Decimal | None:
    """Return a number that is short enough to be written out, or None."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_EXPONENT:
        return None
    return number if len(number.as_tuple().digits) <= _LONGEST_EXPONENT else None


def _escape(mark: str) -> str:
    return f"\\x{{{ord(mark):x}}}"


def _for_python(pattern: str) -> str:
    """Rewrite RE2's numeric escapes for Python's ``re``."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda match: re.escape(chr(int(match[1], 16))), pattern)
