"""Scans a sheet of an ``.xlsx`` workbook: ECMA-376, part 1, section 18.3."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from typing import TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.sources.archive import read_member
from ingest.sources.spreadsheets.facts import SheetFacts, check_extent, number_of
from ingest.sources.spreadsheets.xml import feed, make_parser, parse, read_targets

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

OVERLAP_BYTES = 256
"""More than the longest text that is searched for, which may be split between two blocks."""
_SIGNS = (b'"e"', b"'e'", b"hidden", b"<!", b"/f>", b"<f/", b":f/", b"/></c>")
"""A sheet without any of these needs no closer scan. calamine reports merged cells itself."""
_HIDDEN_ROW = re.compile(rb"<(?:\w+:)?row\s[^<>]*?\shidden")
_COLUMN = re.compile(rb"<(?:\w+:)?col\s[^<>]*>")
_ATTRIBUTE = re.compile(rb"""\s(min|max|hidden)\s*=\s*["']([0-9]{1,5}|true)["']""")
_VALUELESS = re.compile(rb"f>\s*</(?:\w+:)?c>|<(?:\w+:)?f(?:\s[^<>]*)?/>\s*</(?:\w+:)?c>")
_NUMBER_CELL = re.compile(rb"""<(?:\w+:)?c(?:\s(?!t\s*=)\w+\s*=\s*["'][^"'<>]*["'])*\s*><""")
"""The beginning of a cell that has something in it, and is no text."""
_STYLE = re.compile(rb"""\ss\s*=\s*["']([0-9]+)["']""")
_ZEROS = re.compile(r"0{2,}([-/ ]0+)*")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")


def scan(archive: zipfile.ZipFile, sheet: str, name: str) -> SheetFacts:
    """Return the facts about a sheet that calamine does not report."""
    member = _find_member(archive, sheet, name)
    facts = SheetFacts()
    styles = _styles_with_zeros(archive, name)
    if _quick_scan(read_member(archive, member, name), sheet, name, facts, styles):
        scanned = _Scanner(name).scan(read_member(archive, member, name))
        return dataclasses.replace(scanned, zeros=facts.zeros)
    return facts


def _styles_with_zeros(archive: zipfile.ZipFile, name: str) -> frozenset[bytes]:
    """Return the cells' styles that show numbers with leading zeros, such as ``00000``."""
    member = "xl/styles.xml"
    if member not in archive.namelist():
        return frozenset()
    formats: set[str] = set()
    styles: list[str] = []
    is_of_cells = False

    def take(tag: str, found: dict[str, str]) -> None:
        nonlocal is_of_cells
        if tag == "numFmt" and _ZEROS.fullmatch(found.get("formatCode", "")):
            formats.add(found.get("numFmtId", ""))
        elif tag == "cellXfs":
            is_of_cells = True
        elif tag == "cellStyles":
            is_of_cells = False
        elif tag == "xf" and is_of_cells:
            styles.append(found.get("numFmtId", ""))

    parse(read_member(archive, member, name), name, take)
    return frozenset(str(at).encode() for at, kind in enumerate(styles) if kind in formats)


def _find_member(archive: zipfile.ZipFile, sheet: str, name: str) -> str:
    """Return the archive's member that contains the sheet."""
    identities: dict[str, str] = {}

    def take_sheet(tag: str, found: dict[str, str]) -> None:
        if tag == "sheet":
            known = {key.rpartition(":")[2]: value for key, value in found.items() if ":" in key}
            identities[found.get("name", "")] = known.get("id", "")

    parse(read_member(archive, "xl/workbook.xml", name), name, take_sheet)
    targets = read_targets(archive, "xl/_rels/workbook.xml.rels", name)
    target = targets.get(identities.get(sheet, ""), "")
    member = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
    if not target or member not in archive.namelist():
        raise SourceError(f"{name} is damaged: its sheet {sheet!r} is not where it should be.")
    return member


def _quick_scan(
    blocks: Iterator[bytes], sheet: str, name: str, facts: SheetFacts, styles: frozenset[bytes]
) -> bool:
    """Check a sheet's extent, add its hidden columns, and return whether it needs a closer scan.

    Also add the columns that have a number in one of the styles.
    """
    before = b""
    is_first, is_of_cells, needs_more = True, False, False
    rows = columns = cells = 0
    for block in blocks:
        if is_first:  # the searches would find nothing in UTF-16
            needs_more = b"\0" in block[:64]
            is_first = False
        text = before + block
        if not is_of_cells:  # columns are declared before the cells
            facts.hidden_columns.update(_find_hidden_columns(text))
            is_of_cells = b"sheetData" in text
        if not needs_more:
            needs_more = any(sign in text for sign in _SIGNS) and _is_special(text)
        if styles:
            facts.zeros.update(_columns_in(styles, text))
        found = _REFERENCE.findall(text)
        cells += len(found) - len(_REFERENCE.findall(before))  # those were counted before
        if found:
            names, numbers = map(set, zip(*found, strict=True))
            columns = max(columns, *(number_of(it.decode()) for it in names))
            rows = max(rows, *map(int, numbers))
        before = text[-OVERLAP_BYTES:]
    check_extent(name, sheet, rows=rows, columns=columns, cells=cells)
    return needs_more


def _columns_in(styles: frozenset[bytes], text: bytes) -> Iterator[int]:
    for tag in _NUMBER_CELL.findall(text):
        style, place = _STYLE.search(tag), _REFERENCE.search(tag)
        if style is not None and style[1] in styles and place is not None:
            yield number_of(place[1].decode())


def _find_hidden_columns(text: bytes) -> Iterator[tuple[int, int]]:
    for tag in _COLUMN.findall(text):
        said = dict(_ATTRIBUTE.findall(tag))
        if said.get(b"hidden") in {b"1", b"true"} and {b"min", b"max"} <= said.keys():
            yield int(said[b"min"]), int(said[b"max"])


def _is_special(text: bytes) -> bool:
    if any(sign in text for sign in (b'"e"', b"'e'", b"<!")):
        return True
    if b"hidden" in text and _HIDDEN_ROW.search(text):  # and not a column
        return True
    return _VALUELESS.search(text) is not None


class _Scanner:
    """Handles the elements of a sheet one by one.

    expat calls back for the end and the text of a cell only if it has a formula or an error. That
    saves half the time.
    """

    def __init__(self, name: str) -> None:
        self.facts = SheetFacts()
        self._name = name
        self._parser = make_parser(name)
        self._parser.StartElementHandler = self._begin
        self._prefix = ""
        self._row = self._cells_after = 0
        self._reference = ""
        """The last reference that a cell of the row had."""
        self._is_error = self._has_formula = self._has_value = False
        self._value: list[str] = []

    def scan(self, blocks: Iterator[bytes]) -> SheetFacts:
        feed(self._parser, blocks, self._name)
        return self.facts

    def _begin(self, tag: str, _: dict[str, str]) -> None:
        """Handle the outermost element, whose prefix all others have."""
        self._prefix = tag.rpartition(":")[0] + ":" if ":" in tag else ""
        self._cell, self._value_of_cell = f"{self._prefix}c", f"{self._prefix}v"
        self._parser.StartElementHandler = self._start

    def _start(self, tag: str, found: dict[str, str]) -> None:
        if tag == self._cell:
            self._begin_cell(found)
        elif tag == self._value_of_cell:
            self._has_value = True
            if self._is_error:
                self._parser.CharacterDataHandler = self._value.append
        elif tag == f"{self._prefix}row":
            said = found.get("r", "")
            self._row = int(said) if said.isdecimal() else self._row + 1
            self._reference, self._cells_after = "", 0
            if found.get("hidden") in {"1", "true"}:
                self.facts.hidden.append(self._row)
        elif tag == f"{self._prefix}f":
            self._has_formula = True
            self._parser.EndElementHandler = self._end
        elif tag == f"{self._prefix}is":
            self._has_value = True
        elif tag == f"{self._prefix}col" and found.get("hidden") in {"1", "true"}:
            first, last = found.get("min", ""), found.get("max", "")
            if first.isdecimal() and last.isdecimal():
                self.facts.hidden_columns.add((int(first), int(last)))

    def _begin_cell(self, found: dict[str, str]) -> None:
        said = found.get("r")
        if said is None:
            self._cells_after += 1
        else:
            self._reference, self._cells_after = said, 0
        self._has_formula = self._has_value = False
        self._is_error = found.get("t") == "e"
        if self._is_error:
            self._value = []
            self._parser.EndElementHandler = self._end

    def _end(self, tag: str) -> None:
        if tag == self._value_of_cell:
            self._parser.CharacterDataHandler = None
        elif tag == self._cell:
            if self._is_error:
                shown = "".join(self._value).strip() or "#ERROR"
                self.facts.add_error(*self._place(), shown)
            elif self._has_formula and not self._has_value:
                self.facts.unknown.append(self._place())
            self._parser.EndElementHandler = None

    def _place(self) -> tuple[int, int]:
        """Return the row and column of the current cell, counted from the last given reference."""
        column = self._reference.rstrip("0123456789")
        said = self._reference[len(column) :]
        row = int(said) if said else self._row
        return row, number_of(column) + self._cells_after
