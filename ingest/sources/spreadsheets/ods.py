"""Scans a sheet of an ``.ods`` workbook: OpenDocument 1.3, part 3, section 9."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from ingest.sources.archive import protected, read_member
from ingest.sources.spreadsheets.facts import SheetFacts, check_extent
from ingest.sources.spreadsheets.xml import parse

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

_REPEATED_ROWS = "table:number-rows-repeated"
_REPEATED_COLUMNS = "table:number-columns-repeated"
_HIDDEN = frozenset({"collapse", "filter"})
_MARKS = {"tab": "\t", "line-break": "\n"}
_ERRORS = frozenset({"#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"})


def check(archive: zipfile.ZipFile, name: str) -> None:
    """Raise ``SourceError`` if the workbook is encrypted."""

    def refuse(tag: str, _: dict[str, str]) -> None:
        if tag == "encryption-data":
            raise protected(name)

    if "META-INF/manifest.xml" in archive.namelist():
        # Old versions of LibreOffice declare a document type here; calamine ignores this member.
        text = b"".join(read_member(archive, "META-INF/manifest.xml", name))
        if b"<!DOCTYPE" not in text:
            parse([text], name, refuse)
        elif b"encryption-data" in text:
            refuse("encryption-data", {})


def scan(archive: zipfile.ZipFile, name: str) -> dict[str, SheetFacts]:
    """Return the facts about each sheet that calamine does not report.

    calamine reads all sheets when it opens a workbook of this kind.
    """
    scanner = _Scanner(name)
    blocks = read_member(archive, "content.xml", name)
    parse(blocks, name, scanner.start, scanner.end, scanner.text)
    return scanner.found


class _Scanner:
    """Handles the elements of the content one by one; a cell may be repeated many times."""

    def __init__(self, name: str) -> None:
        self.found: dict[str, SheetFacts] = {}
        self._name = name
        self._begin_sheet("")
        self._is_error = self._has_formula = self._may_be_error = False
        self._shown: list[str] = []
        self._text: list[str] = []
        self._paragraphs = 0
        self._is_string = self._has_marks = self._is_in_text = self._is_in_note = False
        """Whether the cell is a text, and has tabs or line breaks, which are elements; whether an
        element is in that text, or in a comment on the cell."""

    def _begin_sheet(self, sheet: str) -> None:
        self._sheet, self.facts = sheet, SheetFacts()
        self.last_row = self.last_column = self.cells = 0
        self._row = self._next_row = 1
        self._column = self._next_column = 1

    def start(self, tag: str, found: dict[str, str]) -> None:
        if tag == "table":
            self._begin_sheet(found.get("table:name", ""))
        elif tag == "table-column":
            first = self._next_column
            self._next_column += _count(found, _REPEATED_COLUMNS)
            if found.get("table:visibility") in _HIDDEN:
                self.facts.hidden_columns.add((first, self._next_column - 1))
        elif tag == "table-row":
            repeated = _count(found, _REPEATED_ROWS)
            self._row, self._next_row = self._next_row, self._next_row + repeated
            self._next_column = 1
            if found.get("table:visibility") in _HIDDEN:
                self.facts.hidden.append(self._row)
        elif tag in {"table-cell", "covered-table-cell"}:
            self._begin_cell(found)
        elif tag == "annotation":
            self._is_in_note = True
        elif tag == "p":
            self._shown = []
            self._begin_paragraph()
        elif self._is_in_text:
            self._add_mark(tag, found)

    def _begin_paragraph(self) -> None:
        if self._is_in_note:
            return
        if self._paragraphs:
            self._text.append("\n")
        self._paragraphs += 1
        self._is_in_text = True

    def _add_mark(self, tag: str, found: dict[str, str]) -> None:
        if tag in _MARKS:
            self._text.append(_MARKS[tag])
            self._has_marks = True
        elif tag == "s":
            self._text.append(" " * _count(found, "text:c"))

    def _begin_cell(self, found: dict[str, str]) -> None:
        repeated = _count(found, _REPEATED_COLUMNS)
        self._column, self._next_column = self._next_column, self._next_column + repeated
        kind = found.get("office:value-type")
        self._is_error = found.get("calcext:value-type") == "error"
        self._may_be_error = "table:formula" in found
        self._shown, self._text = [], []
        self._paragraphs, self._has_marks = 0, False
        self._is_string = kind == "string"
        if (
            _count(found, "table:number-columns-spanned")
            * _count(found, "table:number-rows-spanned")
            > 1
        ):
            self.facts.merged.append("")
        if kind is not None or self._is_error:
            self.cells += 1
            self.last_row = max(self.last_row, self._next_row - 1)
            self.last_column = max(self.last_column, self._next_column - 1)
        elif self._may_be_error:
            self.facts.unknown.append((self._row, self._column))

    def text(self, text: str) -> None:
        if self._is_in_text:
            self._text.append(text)
        if self._is_error or self._may_be_error:
            self._shown.append(text)

    def end(self, tag: str) -> None:
        if tag == "table":
            self._end_sheet()
        if tag == "annotation":
            self._is_in_note = False
        if tag == "p":
            self._is_in_text = False
        if tag != "table-cell":
            return
        shown = "".join(self._shown).strip()
        is_error = shown in _ERRORS or shown.startswith("Err:")
        if self._is_error or (self._may_be_error and is_error):
            self._check_extent()
            for row, column in self._places():
                self.facts.add_error(row, column, shown or "#ERROR")
        elif self._has_marks and self._is_string:
            self._check_extent()
            for row, column in self._places():
                self.facts.texts.setdefault(row, {})[column] = "".join(self._text)
        self._is_error = self._may_be_error = False

    def _places(self) -> Iterator[tuple[int, int]]:
        """Yield the rows and columns of the cell, which may be repeated."""
        return product(range(self._row, self._next_row), range(self._column, self._next_column))

    def _check_extent(self) -> None:
        rows, columns = self.last_row, self.last_column
        check_extent(self._name, self._sheet, rows=rows, columns=columns, cells=self.cells)

    def _end_sheet(self) -> None:
        self._check_extent()
        self.found.setdefault(self._sheet, self.facts)


def _count(found: dict[str, str], name: str) -> int:
    said = found.get(name, "1")
    return int(said) if said.isdecimal() and len(said) < 10 else 1  # noqa: PLR2004
