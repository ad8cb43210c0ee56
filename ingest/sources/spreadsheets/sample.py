"""Makes a small workbook with the beginning and the end of each sheet of a large ``.xlsx`` one.

calamine can only read a whole sheet. Code that repeatedly reads only the first rows uses such a
sample: its rows are the workbook's own XML, so its cells are exactly the same.
"""

from __future__ import annotations

import re
import zipfile
from typing import IO, TYPE_CHECKING

from ingest.sources.archive import open_archive, read_member
from ingest.sources.spreadsheets import ZIP

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ROWS = 2_000
LAST_ROWS = 50
"""To include totals at the end."""
LARGE_BYTES = 8 << 20
"""A sheet with less XML is read in a third of a second, and needs no sample."""
MOST_ROW_BYTES = 4 << 20
"""The most XML that is kept of the first rows, and of the last ones; wide rows are then fewer."""
_SHEETS = "xl/worksheets/"
_STRINGS = "xl/sharedStrings.xml"
_ROW_END = re.compile(rb"</(?:\w+:)?row\s*>")
_ROW = re.compile(rb"""(<(?:\w+:)?row\b[^<>]*?\sr=["'])([0-9]{1,7})(["'])""")
_CELL = re.compile(rb"""(<(?:\w+:)?c\s[^<>]*?\br=["'][A-Z]{1,3})([0-9]{1,7})(["'])""")
_DATA_END = re.compile(rb"</(\w+:)?sheetData\s*>")
_NUMBER = re.compile(rb"v>\s*([0-9]{1,9})\s*</")
_STRING = re.compile(rb"<(\w+:)?si\b[^<>]*(?<!/)>|(<(?:\w+:)?si\b[^<>]*/>)|(</(?:\w+:)?si\s*>)")
"""Matches a tag that begins a string, is a whole string, or ends a string."""
_STRING_BYTES = 1 << 20
"""The longest string: a cell has at most 32,767 characters."""
_TAG_BYTES = 64
"""More than the longest end tag that is searched for."""


def write_sample(file: IO[bytes], name: str, target: IO[bytes]) -> bool:
    """Write a sample of a workbook; return False if it is small, or not written by usual programs.

    Raises ``SourceError`` for an archive that is damaged or too large.
    """
    file.seek(0)
    if file.read(len(ZIP)) != ZIP:
        return False  # an .xls file, or an encrypted one: reading it reports that
    with open_archive(file, name) as archive:
        sheets = [it for it in archive.infolist() if _is_sheet(it.filename)]
        if not sheets or max(sheet.file_size for sheet in sheets) < LARGE_BYTES:
            return False
        used: set[int] = set()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as sample:
            for member in archive.namelist():
                if member == _STRINGS or not _is_needed(member):
                    continue
                blocks = read_member(archive, member, name)
                if _is_sheet(member):
                    text = _cut_sheet(blocks)
                    if text is None:
                        return False
                    used.update(map(int, _NUMBER.findall(text)))
                    sample.writestr(member, text)
                else:
                    _copy(blocks, sample, member)
            if _STRINGS in archive.namelist():
                strings = _cut_strings(read_member(archive, _STRINGS, name), used)
                try:
                    _copy(strings, sample, _STRINGS)
                except _NoSample:
                    return False
    return True


def _is_sheet(member: str) -> bool:
    return member.startswith(_SHEETS) and member.endswith(".xml")


def _is_needed(member: str) -> bool:
    """Return whether a member is needed for cells, rather than for pictures, pivots or macros."""
    if not member.startswith("xl/"):
        return not member.startswith("docProps/")
    folder, _, _ = member.removeprefix("xl/").rpartition("/")
    return folder in {"", "_rels", "worksheets"} and not member.endswith((".bin", "calcChain.xml"))


def _copy(blocks: Iterator[bytes], sample: zipfile.ZipFile, member: str) -> None:
    with sample.open(member, "w") as target:
        for block in blocks:
            target.write(block)


def _cut_sheet(blocks: Iterator[bytes]) -> bytes | None:
    """Return the XML of a sheet with its first and last rows; None if the XML is unusual."""
    first = b""
    for block in blocks:
        if not first and b"\0" in block[:_TAG_BYTES]:
            return None  # UTF-16
        first += block
        if len(first) > MOST_ROW_BYTES or first.count(b"row>") > FIRST_ROWS:
            break
    else:
        return first
    ends = [found.end() for found in _ROW_END.finditer(first)]
    if len(ends) <= FIRST_ROWS + LAST_ROWS and _DATA_END.search(first):
        return first + b"".join(blocks)
    if not ends:
        return None
    stop = ends[:FIRST_ROWS][-1]
    head, number = first[:stop], _last_number(first[:stop])
    found = _last_rows(first[stop:], blocks)
    if found is None or number is None:
        return None
    rows, end = found
    return head + _renumbered(rows, number + 1) + end


def _last_rows(text: bytes, blocks: Iterator[bytes]) -> tuple[bytes, bytes] | None:
    """Return the last rows of a sheet, and its closing tags; None if it has none."""
    start = 0  # where a row certainly begins; -1 if unknown
    end = _DATA_END.search(text)
    while end is None and (block := next(blocks, None)) is not None:
        known = max(len(text) - _TAG_BYTES, 0)
        text += block
        end = _DATA_END.search(text, known)
        if end is None and len(text) > 2 * MOST_ROW_BYTES:
            text, start = text[-MOST_ROW_BYTES:], -1
    if end is None:
        return None
    ends = [found.end() for found in _ROW_END.finditer(text, 0, end.start())]
    if len(ends) > LAST_ROWS:
        start = ends[-LAST_ROWS - 1]
    elif start < 0:
        start = ends[0] if ends else end.start()
    prefix = end[1] or b""
    return text[start : end.start()], b"</%bsheetData></%bworksheet>" % (prefix, prefix)


def _last_number(text: bytes) -> int | None:
    numbers = [int(found[1]) for found in _ROW.findall(text)]
    return max(numbers, default=None)


def _renumbered(text: bytes, first: int) -> bytes:
    """Return the rows with numbers that continue from ``first``.

    calamine holds all rows between the smallest and the largest number in memory.
    """
    pieces, number = [], first
    at = 0
    for end in _ROW_END.finditer(text):
        said = str(number).encode()
        row = _ROW.sub(rb"\g<1>" + said + rb"\g<3>", text[at : end.end()])
        pieces.append(_CELL.sub(rb"\g<1>" + said + rb"\g<3>", row))
        at, number = end.end(), number + 1
    return b"".join(pieces)


def _cut_strings(blocks: Iterator[bytes], used: set[int]) -> Iterator[bytes]:
    """Yield the table of strings, with strings emptied that no kept row uses."""
    text, number, at = b"", 0, 0
    prefix, start = b"", None
    for block in blocks:
        # A tag may continue in the next block, and a string in the next several.
        known = max(len(text) - _TAG_BYTES, at)
        text += block
        for tag in _STRING.finditer(text, known):
            begins = tag[3] is None
            if begins and start is None:
                if not number:
                    yield text[: tag.start()]
                prefix, start = tag[1] or b"", tag.start()
            if start is not None and (tag[2] or not begins):
                is_used = number in used
                yield text[start : tag.end()] if is_used else _empty_string(prefix)
                number, start = number + 1, None
            at = tag.end()
        kept = at if start is None else start
        text, at = text[kept:], at - kept
        if start is not None:
            start = 0
        if len(text) > len(block) + _STRING_BYTES:
            raise _NoSample
    yield b"</%bsst>" % prefix if number else text


def _empty_string(prefix: bytes) -> bytes:
    return b"<%bsi><%bt/></%bsi>" % (prefix, prefix, prefix)


class _NoSample(Exception):  # noqa: N818 - it says what is so
    """The XML is not as usual programs write it; reading the workbook itself reports any error."""
