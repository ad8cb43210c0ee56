"""Which encoding a text is in, told from its bytes.

Explicit rules come first: a byte-order mark, the zero bytes of UTF-16, valid UTF-8, which no other
encoding's text is by chance. What is left is decoded by each candidate, and the one wins whose
letters are those of one language.
"""

from __future__ import annotations

import codecs
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCORED_BYTES = 4_000
"""Bytes beyond ASCII that are looked at: a language shows within a few hundred."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = {
    "German": "äöüß",
    "French": "àâæçéèêëîïôœùûü",
    "Spanish": "áéíñóúüªº",
    "Portuguese": "ãõáâàçéêíóôúüªº",
    "Italian": "àèéìíîòóùú",
    "Danish or Norwegian": "æøåé",
    "Swedish or Finnish": "åäöé",
    "Dutch": "ëéïöüèáó",
    "Catalan": "àèéíïòóúüç",
}
_CENTRAL = {
    "Czech": "áčďéěíňóřšťúůýž",
    "Slovak": "áäčďéíĺľňóôŕšťúýž",
    "Polish": "ąćęłńóśźż",
    "Hungarian": "áéíóöőúüű",
    "Croatian or Slovene": "čćđšž",
    "Romanian": "ăâîşţ",
}
_CYRILLIC = {
    "Russian or Bulgarian": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "Ukrainian": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "Serbian": "абвгдђежзијклљмнњопрстћуфхцчџш",
}
_SINGLE_BYTE: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("cp1252", _WESTERN),
    ("cp1250", _CENTRAL),
    ("cp1251", _CYRILLIC),
    ("cp1254", {"Turkish": "çğ\u0131öşüi\u0307â"}),
    ("cp1252", {"Icelandic": "áðéíóúýþæö"}),  # the Turkish letters in its place are likelier
    ("cp1257", {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äöõüšž"}),
    ("cp1253", {"Greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋ"}),
    ("cp1255", {"Hebrew": "אבגדהוזחטיךכלםמןנסעףפץצקרשת"}),
    ("cp1256", {"Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويىءآأؤإئة"}),
    ("iso8859-2", _CENTRAL),
    ("koi8-r", _CYRILLIC),
    ("cp866", _CYRILLIC),
    ("cp852", _CENTRAL),
    ("cp850", _WESTERN),
    ("mac_roman", _WESTERN),
)
_PUNCTUATION = set("“”„\u2018\u2019\u2013—…•€£¥§°«»¡¿·©®\xa0")
_PUNCTUATION_WORTH = 0.3

Rows = dict[range, float]
"""What a character is worth by the first byte of its code."""
_EAST_ASIAN: tuple[tuple[str, str, str, Rows], ...] = (
    # The first rows of a national standard hold its script and its commoner characters. Korean
    # comes first: its syllables lie where Chinese has only some of its characters.
    ("cp949", "euc_kr", "Korean", {range(0xA1, 0xA4): 0.9, range(0xB0, 0xC9): 1.0}),
    (
        "gb18030",
        "gb2312",
        "Chinese",
        {range(0xA1, 0xA4): 0.9, range(0xB0, 0xD8): 1.0, range(0xD8, 0xF8): 0.5},
    ),
    (
        "cp932",
        "cp932",
        "Japanese",
        {
            range(0x81, 0x82): 0.9,
            range(0x82, 0x84): 1.0,
            range(0x88, 0x98): 1.0,
            range(0x98, 0xA0): 0.4,
            range(0xA1, 0xE0): 0.5,
            range(0xE0, 0xFD): 0.3,
        },
    ),
    (
        "euc_jp",
        "euc_jp",
        "Japanese",
        {range(0xA1, 0xA4): 0.95, range(0xA4, 0xA6): 1.0, range(0xB0, 0xD0): 1.0},
    ),
    (
        "big5",
        "big5",
        "Chinese",
        {range(0xA1, 0xA4): 0.9, range(0xA4, 0xC7): 1.0, range(0xC9, 0xFA): 0.3},
    ),
)
_ENOUGH = 0.5
"""Below this share of plausible characters nothing is known."""
_ZEROS = 4
"""Fewer zero bytes are U+0000 in an ordinary text."""
_ZERO_SHARE = 0.3
"""Share of zero bytes in every second place from which a text is UTF-16."""
_VALID_PER_BAD = 10
"""Valid characters for each bad byte from which a text is UTF-8 with damage."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """An encoding, and what speaks for it."""

    name: str
    reason: str
    is_certain: bool = True


def detect_encoding(sample: bytes, *, is_whole: bool = True) -> Encoding:
    """Tell the encoding of a text from a sample, whose end may cut a character."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return Encoding(name, "it begins with a byte-order mark")
    utf16 = _utf16_by_zeros(sample)
    if utf16:
        return Encoding(utf16, "every second byte is zero")
    if sample.isascii():
        return Encoding("utf-8", "it is plain ASCII" + ("" if is_whole else " as far as looked"))
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sample, final=is_whole)
    except UnicodeDecodeError:
        pass
    else:
        return Encoding("utf-8", "it is valid UTF-8")
    return _mostly_utf8(sample) or _by_language(sample)


def _utf16_by_zeros(sample: bytes) -> str | None:
    even, odd = sample[::2], sample[1::2]
    if sample.count(0) < _ZEROS:
        return None
    if odd.count(0) > _ZERO_SHARE * len(odd) and odd.count(0) > 2 * even.count(0):
        return "utf-16-le"
    if even.count(0) > _ZERO_SHARE * len(even) and even.count(0) > 2 * odd.count(0):
        return "utf-16-be"
    return None


def _mostly_utf8(sample: bytes) -> Encoding | None:
    text = sample.decode(errors="replace")
    bad = text.count("\ufffd") - sample.count("\ufffd".encode())
    good = sum(not character.isascii() for character in text) - bad
    if good < _VALID_PER_BAD * bad:
        return None
    return Encoding("utf-8", f"it is UTF-8 but for {bad:,} bytes", is_certain=False)


def _by_language(sample: bytes) -> Encoding:
    telling = _lines_beyond_ascii(sample)
    best, best_score = Encoding("cp1252", "nothing speaks for another", is_certain=False), _ENOUGH
    for name, alphabets in _SINGLE_BYTE:
        for language, letters in alphabets.items():
            score = _letter_score(telling.decode(name, "replace"), set(letters))
            if score > best_score:
                best = Encoding(name, f"its letters are {language}", is_certain=False)
                best_score = score
    for name, standard, language, rows in _EAST_ASIAN:
        try:
            text = telling.decode(name)
        except UnicodeDecodeError:
            continue
        score = _row_score(text, _first_byte_in(standard), rows)
        if score > best_score:
            best = Encoding(name, f"its characters are {language}", is_certain=False)
            best_score = score
    return best


def _lines_beyond_ascii(sample: bytes) -> bytes:
    lines, count = [], 0
    # The last line may be cut inside a character.
    for line in sample.splitlines(keepends=True)[: -1 if sample.count(b"\n") > 1 else None]:
        if line.isascii():
            continue
        lines.append(line)
        count += sum(byte > 127 for byte in line)  # noqa: PLR2004 - the last of ASCII
        if count > SCORED_BYTES:
            break
    return b"".join(lines) or sample


def _letter_score(text: str, letters: set[str]) -> float:
    """Give the share of characters beyond ASCII that are letters of one alphabet."""
    score = total = 0.0
    # Cyrillic, Greek, Hebrew and Arabic words have no Latin letter beside their own.
    is_latin = min(letters) < "\u0250"
    for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if character.isascii():
            continue
        total += 1
        is_alone = not (before.isalpha() or after.isalpha())
        if character.lower() not in letters:
            is_price = is_alone and character in "€£"
            score += 1 if is_price else _PUNCTUATION_WORTH if character in _PUNCTUATION else 0
            continue
        if is_latin and is_alone and character.isupper():  # a sign of another encoding
            score += _PUNCTUATION_WORTH
            continue
        # A capital inside of a word is the sign of a wrong encoding.
        is_odd = character.isupper() and before.islower()
        is_mixed = any(beside.isascii() and beside.isalpha() for beside in (before, after))
        score += not is_odd and (is_latin or not is_mixed)
    return score / total if total else 0.0


def _row_score(text: str, first_byte: Callable[[str], int], rows: Rows) -> float:
    found = [character for character in text if not character.isascii()]
    if not found:
        return 0.0
    worth = 0.0
    for character in found:
        byte = first_byte(character)
        worth += next((value for row, value in rows.items() if byte in row), 0.0)
    return worth / len(found)


def _first_byte_in(standard: str) -> Callable[[str], int]:
    def first_byte(character: str) -> int:
        return character.encode(standard, "ignore")[:1].ljust(1, b"\0")[0]

    return first_byte
