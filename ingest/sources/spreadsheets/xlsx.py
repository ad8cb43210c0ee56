"""Scans a sheet of an ``.xlsx`` workbook: ECMA-376, part 1, section 18.3."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.sources.archive import read_member
from ingest.sources.spreadsheets.facts import SheetFacts, check_extent, number_of
from ingest.sources.spreadsheets.xml import parse

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

OVERLAP_BYTES = 256
"""More than what is searched for has: it may begin in one block and end in the next."""
_SIGNS = (b'"e"', b"'e'", b"hidden", b"<!", b"/f>", b"<f/", b":f/", b"/></c>", b"mergeCell")
"""Where a sheet has none of these, nothing in it needs to be told."""
_VALUELESS = re.compile(rb"f>\s*</(?:\w+:)?c>|<(?:\w+:)?f(?:\s[^>]*)?/>\s*</(?:\w+:)?c>")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


def scan(archive: zipfile.ZipFile, sheet: str, name: str) -> SheetFacts:
    """Return what there is to know of a sheet beside its values."""
    for member in archive.namelist():  # calamine unpacks these without a limit
        if member.startswith("xl/") and "/" not in member[3:] and member.endswith(".xml"):
            for _ in read_member(archive, member, name):
                pass
    member = _find_member(archive, sheet, name)
    scanner = _Scanner()
    if _quick_scan(read_member(archive, member, name), sheet, name):
        parse(read_member(archive, member, name), name, scanner.start, scanner.end, scanner.text)
    return scanner.facts


def _find_member(archive: zipfile.ZipFile, sheet: str, name: str) -> str:
    """Return the archive's member that has the sheet."""
    identities: dict[str, str] = {}
    targets: dict[str, str] = {}

    def take_sheet(tag: str, found: dict[str, str]) -> None:
        if tag == "sheet":
            known = {key.rpartition(":")[2]: value for key, value in found.items() if ":" in key}
            identities[found.get("name", "")] = known.get("id", "")

    def take_target(tag: str, found: dict[str, str]) -> None:
        if tag == "Relationship":
            targets[found.get("Id", "")] = found.get("Target", "")

    parse(read_member(archive, "xl/workbook.xml", name), name, take_sheet)
    parse(read_member(archive, "xl/_rels/workbook.xml.rels", name), name, take_target)
    target = targets.get(identities.get(sheet, ""), "")
    member = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
    if not target or member not in archive.namelist():
        raise SourceError(f"{name} is damaged: its sheet {sheet!r} is not where it should be.")
    return member


def _quick_scan(blocks: Iterator[bytes], sheet: str, name: str) -> bool:
    """Return whether the sheet must be looked at closely; check how far its cells reach."""
    before = b""
    is_first, needs_more = True, False
    rows = columns = cells = 0
    for block in blocks:
        if is_first:  # in UTF-16 no search would find anything
            needs_more = b"\0" in block[:64]
            is_first = False
        text = before + block
        if not needs_more:
            needs_more = any(sign in text for sign in _SIGNS) and _is_special(text)
        found = _REFERENCE.findall(text)
        cells += len(found)
        if found:
            names, numbers = map(set, zip(*found, strict=True))
            columns = max(columns, *(number_of(it.decode()) for it in names))
            rows = max(rows, *map(int, numbers))
        before = text[-OVERLAP_BYTES:]
    check_extent(name, sheet, rows=rows, columns=columns, cells=cells)
    return needs_more


def _is_special(text: bytes) -> bool:
    if any(sign in text for sign in (b'"e"', b"'e'", b"hidden", b"<!", b"mergeCell")):
        return True
    return _VALUELESS.search(text) is not None


class _Scanner:
    """Takes the elements of a sheet one by one."""

    def __init__(self) -> None:
        self.facts = SheetFacts()
        self._row = self._column = 0
        self._is_error = self._has_formula = self._has_value = False
        self._value: list[str] | None = None

    def start(self, tag: str, found: dict[str, str]) -> None:
        if tag == "c":
            self._begin_cell(found)
        elif tag == "row":
            said = found.get("r", "")
            self._row = int(said) if said.isdecimal() else self._row + 1
            self._column = 0
            if found.get("hidden") in {"1", "true"}:
                self.facts.hidden.append(self._row)
        elif tag == "f":
            self._has_formula = True
        elif tag in {"v", "is"}:
            self._has_value = True
            self._value = [] if self._is_error else None
        elif tag == "mergeCell":
            self.facts.merged.append(found.get("ref", ""))

    def _begin_cell(self, found: dict[str, str]) -> None:
        said = _CELL.fullmatch(found.get("r", ""))
        self._column = number_of(said[1]) if said else self._column + 1
        if said:
            self._row = int(said[2])
        self._is_error = found.get("t") == "e"
        self._has_formula = self._has_value = False

    def text(self, text: str) -> None:
        if self._value is not None:
            self._value.append(text)

    def end(self, tag: str) -> None:
        if tag == "v" and self._value is not None:
            self.facts.add_error(self._row, self._column, "".join(self._value).strip() or "#ERROR")
            self._value = None
        elif tag == "c":
            if self._has_formula and not self._has_value:
                self.facts.unknown.append((self._row, self._column))
            self._is_error = False
