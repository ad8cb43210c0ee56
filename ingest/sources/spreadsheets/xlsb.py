"""Scans a sheet of an ``.xlsb`` workbook: [MS-XLSB] 2.1.4 and 2.4."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.sources.archive import read_member
from ingest.sources.spreadsheets.facts import ERRORS, SheetFacts, check_extent
from ingest.sources.spreadsheets.xml import read_targets

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

_ROW, _CELL_ERROR, _FORMULA_ERROR, _LAST_CELL = 0, 3, 11, 11
_SHEET, _MERGED, _COLUMNS = 156, 176, 60
_HIDDEN = 0x10


def scan(archive: zipfile.ZipFile, sheet: str, name: str) -> SheetFacts:
    """Return the facts about a sheet that calamine does not report."""
    facts = SheetFacts()
    row = last_row = last_column = cells = 0
    for kind, data in _records(archive, _find_member(archive, sheet, name), name):
        if kind == _ROW:
            row = int.from_bytes(data[:4], "little") + 1
            if len(data) > 11 and data[11] & _HIDDEN:  # noqa: PLR2004
                facts.hidden.append(row)
        elif 0 < kind <= _LAST_CELL:
            column = int.from_bytes(data[:4], "little") + 1
            cells += 1
            last_row, last_column = max(last_row, row), max(last_column, column)
            if kind in {_CELL_ERROR, _FORMULA_ERROR} and len(data) > 8:  # noqa: PLR2004
                facts.add_error(row, column, ERRORS.get(data[8], "#ERROR"))
        elif kind == _COLUMNS and len(data) > 16 and data[16] & 1:  # noqa: PLR2004
            first, last = (int.from_bytes(data[it : it + 4], "little") + 1 for it in (0, 4))
            facts.hidden_columns.add((first, last))
        elif kind == _MERGED:
            facts.merged.append("")
    check_extent(name, sheet, rows=last_row, columns=last_column, cells=cells)
    return facts


def _find_member(archive: zipfile.ZipFile, sheet: str, name: str) -> str:
    targets = read_targets(archive, "xl/_rels/workbook.bin.rels", name)
    for kind, data in _records(archive, "xl/workbook.bin", name):
        if kind == _SHEET:
            identity, stop = _text(data, 8)
            shown, _ = _text(data, stop)
            if shown == sheet and identity in targets:
                return posixpath.normpath(posixpath.join("/xl", targets[identity])).lstrip("/")
    raise SourceError(f"{name} is damaged: its sheet {sheet!r} is not where it should be.")


def _text(data: bytes, start: int) -> tuple[str, int]:
    stop = start + 4 + 2 * int.from_bytes(data[start : start + 4], "little")
    return data[start + 4 : stop].decode("utf-16-le", "replace"), stop


def _records(archive: zipfile.ZipFile, member: str, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the content of each record."""
    rest = b""
    for block in read_member(archive, member, name):
        text, at = rest + block, 0
        while (found := _record(text, at)) is not None:
            kind, start, at = found
            yield kind, text[start:at]
        rest = text[at:]
    if rest:
        raise SourceError(f"{name} is truncated or damaged. Fetch the file again.")


def _record(text: bytes, at: int) -> tuple[int, int, int] | None:
    """Return a record's kind, and the start and end of its content; None if it is incomplete."""
    if at + 6 > len(text) and not _is_whole(text, at):
        return None
    kind = text[at]
    at += 1
    if kind & 0x80:
        kind = (kind & 0x7F) | (text[at] & 0x7F) << 7
        at += 1
    size = shift = 0
    while True:
        size |= (text[at] & 0x7F) << shift
        at += 1
        if not text[at - 1] & 0x80 or shift == 21:  # noqa: PLR2004 - four bytes at most
            break
        shift += 7
    return None if at + size > len(text) else (kind, at, at + size)


def _is_whole(text: bytes, at: int) -> bool:
    """Return whether the head of a record at the end of a block is complete."""
    rest = text[at:]
    if not rest:
        return False
    sizes = rest[1 + (rest[0] >> 7) :]
    return any(not byte & 0x80 for byte in sizes)
