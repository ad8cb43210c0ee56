"""Detects the encoding of a text from its bytes.

Reliable rules come first: a byte-order mark, the zero bytes of UTF-16, and valid UTF-8, which text
in another encoding is not by chance. Otherwise chardet guesses, among the encodings in which tables
are usually exported.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EAST_ASIAN = ("cp932", "euc_jis_2004", "cp949", "gb18030", "big5hkscs")
CANDIDATES: tuple[str, ...] = (
    *("cp1252", "iso8859-1", "iso8859-15", "cp850", "mac-roman"),  # Western Europe
    *("cp1250", "iso8859-2", "cp852"),  # Central Europe
    *("cp1251", "koi8-r", "koi8-u", "cp866", "iso8859-5"),  # Cyrillic
    *("cp1253", "iso8859-7", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *_EAST_ASIAN,
)
"""The candidates for a guess, the first of equally likely ones wins. Others (EBCDIC, code pages of
the 1980s) fit short texts by chance more often than they are right."""
_READ_AS = {"iso8859-1": "cp1252", "euc_kr": "cp949", "shift_jis_2004": "cp932"}
"""Encodings that are replaced by a superset."""
_USUAL: dict[str, str] = {"big5hkscs": "big5", "euc_jis_2004": "euc_jp"}
"""Commoner encodings, which are reported if they decode the text in the same way."""
_WESTERN = "cp1252"
_MAC = "mac-roman"
_MAC_LETTERS = frozenset(range(0x80, 0xA0))
"""Its bytes for the accented letters in words. Line ends of CR alone are no evidence for it."""
_AS_LIKELY = 0.9999
"""From this share of the highest confidence, an encoding counts as equally likely."""
_NEARLY_AS_LIKELY = 0.8
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS_WITH_MARKS = {"cp874", "cp1255", "cp1256"}
"""Encodings whose script has vowels that are no letters of their own: Thai, Hebrew, Arabic."""
_ZEROS = 4
"""Fewer zero bytes are taken for U+0000 in an ordinary text."""
_ZERO_SHARE = 0.3
"""A text with a larger share of zeros among its even or odd bytes is UTF-16."""
_VALID_PER_BAD = 10
"""A text with at least so many valid characters for each bad byte is damaged UTF-8."""


@dataclasses.dataclass(frozen=True)
class TextEncoding:
    """An encoding and the evidence for it."""

    name: str
    reason: str
    is_certain: bool = True


def detect_encoding(sample: bytes, *, is_whole: bool = True) -> TextEncoding:
    """Return the encoding of a text from a sample, which may end inside a character."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return TextEncoding(name, "it begins with a byte-order mark")
    utf16 = _utf16_by_zeros(sample)
    if utf16:
        return TextEncoding(utf16, "every second byte is zero")
    if sample.isascii():
        return TextEncoding(
            "utf-8", "it is plain ASCII" + ("" if is_whole else " as far as looked")
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sample, final=is_whole)
    except UnicodeDecodeError:
        pass
    else:
        return TextEncoding("utf-8", "it is valid UTF-8")
    return _mostly_utf8(sample) or _guess(sample, is_whole=is_whole)


def _utf16_by_zeros(sample: bytes) -> str | None:
    even, odd = sample[::2], sample[1::2]
    if sample.count(0) < _ZEROS:
        return None
    if odd.count(0) > _ZERO_SHARE * len(odd) and odd.count(0) > 2 * even.count(0):
        return "utf-16-le"
    if even.count(0) > _ZERO_SHARE * len(even) and even.count(0) > 2 * odd.count(0):
        return "utf-16-be"
    return None


def _mostly_utf8(sample: bytes) -> TextEncoding | None:
    text = sample.decode(errors="replace")
    bad = text.count("\ufffd") - sample.count("\ufffd".encode())
    good = sum(not character.isascii() for character in text) - bad
    if good < _VALID_PER_BAD * bad:
        return None
    return TextEncoding("utf-8", f"it is UTF-8 except for {bad:,} bytes", is_certain=False)


def _guess(sample: bytes, *, is_whole: bool) -> TextEncoding:
    if not is_whole:  # the last line may be cut inside a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    if _has_signs_only(sample):
        return TextEncoding(
            _WESTERN, "beyond ASCII it has signs only, as Windows writes them", is_certain=False
        )
    import chardet  # takes 60 ms, and most files are UTF-8

    found = chardet.detect_all(
        sample,
        max_bytes=len(sample),
        prefer_superset=False,
        compat_names=False,
        include_encodings=CANDIDATES,
        no_match_encoding=_WESTERN,
    )
    best = _choose(
        sample,
        {codecs.lookup(each["encoding"] or _WESTERN).name: each["confidence"] for each in found},
    )
    if best == _MAC and not _MAC_LETTERS.intersection(sample):
        best = _WESTERN
    if _is_rather_western(sample, best):
        best = _WESTERN
    best = _READ_AS.get(best, best)
    usual = _USUAL.get(best, _WESTERN)
    name = usual if _reads_alike(sample, best, usual) else best
    return TextEncoding(name, "its letters fit that best", is_certain=False)


def _choose(sample: bytes, confidences: Mapping[str, float]) -> str:
    most = max(confidences.values())

    def first(names: Sequence[str], share: float) -> str | None:
        return next((n for n in names if confidences.get(n, 0.0) >= most * share), None)

    best = first([*CANDIDATES, *confidences], _AS_LIKELY) or _WESTERN
    east_asian = first(_EAST_ASIAN, _NEARLY_AS_LIKELY)
    # East Asian text decoded with another encoding is full of signs.
    if east_asian and _share_of_signs(sample, east_asian) < _share_of_signs(sample, best):
        return east_asian
    return best


def _share_of_signs(sample: bytes, name: str) -> float:
    beyond = [character for character in sample.decode(name, "replace") if not character.isascii()]
    return sum(not character.isalpha() for character in beyond) / len(beyond) if beyond else 1.0


def _is_rather_western(sample: bytes, name: str) -> bool:
    """Return whether an encoding makes only single foreign letters of Western European ones.

    Text in another script has words of several such letters.
    """
    words = [
        [unicodedata.name(letter, "").startswith("LATIN") for letter in word]
        for word in _WORD.findall(sample.decode(name, "replace"))
    ]
    if any(len(word) > 1 and not any(word) for word in words):
        return False
    has_foreign = any(not all(word) for word in words) or name in _SCRIPTS_WITH_MARKS
    is_mixed = any(any(word) and not all(word) for word in words)
    if not (is_mixed if name in _EAST_ASIAN else has_foreign):  # a single \u5e74 is a word
        return False
    return _share_of_signs(sample, _WESTERN) == 0


def _reads_alike(sample: bytes, name: str, other: str) -> bool:
    try:
        return sample.decode(name) == sample.decode(other)
    except UnicodeDecodeError:
        return False


def _has_signs_only(sample: bytes) -> bool:
    """Return whether all non-ASCII characters are punctuation, signs and blanks in Windows-1252.

    An apostrophe or a no-break space is no evidence for a language, and is a letter in many other
    encodings.
    """
    try:
        text = sample.decode(_WESTERN)
    except UnicodeDecodeError:
        return False
    beyond = {character for character in text if not character.isascii()}
    return all(unicodedata.category(character)[0] in "PSZ" for character in beyond)
