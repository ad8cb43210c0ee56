"""Scans workbooks for errors, hidden rows and formulas without a value, which calamine hides.

calamine returns an empty text for a cell with an error
(https://github.com/dimastbk/python-calamine/issues/105), so a sheet is scanned before it is read.
Each kind of file has a module here with a function ``scan``.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.sources.archive import open_archive, read_member
from ingest.sources.spreadsheets import ods, xls, xlsb, xlsx
from ingest.sources.spreadsheets.facts import SheetFacts

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable

__all__ = ["OLE", "ZIP", "SheetFacts", "find_kind", "scan"]

ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAIN_MEMBERS = {"xl/workbook.bin": "xlsb", "xl/workbook.xml": "xlsx", "content.xml": "ods"}
_SCANNERS: dict[str, Callable[[zipfile.ZipFile, str, str], SheetFacts]] = {
    "xlsx": xlsx.scan,
    "xlsb": xlsb.scan,
    "ods": lambda archive, sheet, name: ods.scan(archive, name).get(sheet, SheetFacts()),
}


def find_kind(file: IO[bytes], name: str) -> str:
    """Return the kind of workbook by its content; raise ``SourceError`` for other files.

    This also checks all that calamine reads when it opens a workbook, because calamine unpacks a
    member beyond its declared size without a limit, and holds all sheets of an ``.ods`` file.
    """
    file.seek(0)
    head = file.read(len(OLE))
    if head == OLE:
        xls.check(file, name)
        return "xls"
    if not head.startswith(ZIP):
        if not head:
            raise SourceError(f"{name} is empty: it has no bytes.")
        raise SourceError(
            f"{name} is not a workbook: it does not begin like one. If it is text, name it .csv, "
            "or give its format."
        )
    with open_archive(file, name) as archive:
        members = set(archive.namelist())
        kind = next((kind for member, kind in _MAIN_MEMBERS.items() if member in members), None)
        if kind is None:
            raise SourceError(f"{name} is not a workbook, but another zip archive: unpack it.")
        if kind == "ods":
            ods.check(archive, name)
            ods.scan(archive, name)
        for member in members:
            if kind != "ods" and member.startswith("xl/") and "/" not in member[3:]:
                for _ in read_member(archive, member, name):
                    pass  # fails if the member is larger than declared
        return kind


def scan(file: IO[bytes], kind: str, sheet: str, name: str) -> SheetFacts:
    """Return the facts about one sheet that calamine does not report."""
    if kind == "xls":
        return xls.scan(file, sheet, name)
    with open_archive(file, name) as archive:
        return _SCANNERS[kind](archive, sheet, name)
