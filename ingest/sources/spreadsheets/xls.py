"""Scans a sheet of an ``.xls`` workbook: [MS-XLS] 2.4, in a compound file."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from ingest.exceptions import SourceError
from ingest.sources.archive import protected
from ingest.sources.spreadsheets.facts import ERRORS, SheetFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMULA, _END, _PASSWORD, _SHEET, _CELL_ERROR, _ROW = 0x06, 0x0A, 0x2F, 0x85, 0x205, 0x208
_COLUMNS = 0x7D
_HIDDEN = 0x20
_DAMAGE = (OSError, ValueError, IndexError, TypeError, AttributeError, OverflowError)


def check(file: IO[bytes], name: str) -> None:
    """Raise ``SourceError`` if the compound file is not a readable workbook."""
    with _open(file, name) as compound:
        if compound.exists("EncryptedPackage"):  # an .xlsx in an encrypted envelope
            raise protected(name)
        for kind, _, _ in _records(_stream(compound, name), 0):
            if kind == _PASSWORD:
                raise protected(name)
            if kind == _END:
                return


def scan(file: IO[bytes], sheet: str, name: str) -> SheetFacts:
    """Return the facts about a sheet that calamine does not report."""
    facts = SheetFacts()
    with _open(file, name) as compound:
        stream = _stream(compound, name)
    start = _find_sheet(stream, sheet)
    if start is None:
        raise SourceError(f"{name} is damaged: its sheet {sheet!r} is not where it should be.")
    is_beginning = True
    for kind, at, size in _records(stream, start):
        row, column = (int.from_bytes(stream[at + it : at + it + 2], "little") for it in (0, 2))
        if kind == _END and not is_beginning:
            break
        is_beginning = False
        if kind == _ROW and size > 12 and stream[at + 12] & _HIDDEN:  # noqa: PLR2004
            facts.hidden.append(row + 1)
        elif kind == _COLUMNS and size > 8 and stream[at + 8] & 1:  # noqa: PLR2004
            facts.hidden_columns.add((row + 1, column + 1))  # here: first and last column
        elif kind == _CELL_ERROR and stream[at + 7]:
            facts.add_error(row + 1, column + 1, ERRORS.get(stream[at + 6], "#ERROR"))
        elif kind == _FORMULA and stream[at + 12 : at + 14] == b"\xff\xff" and stream[at + 6] == 2:  # noqa: PLR2004
            facts.add_error(row + 1, column + 1, ERRORS.get(stream[at + 8], "#ERROR"))
    return facts


def _open(file: IO[bytes], name: str) -> Any:
    import olefile

    file.seek(0)
    try:
        return olefile.OleFileIO(file)
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _stream(compound: Any, name: str) -> bytes:
    for stream in ("Workbook", "Book"):
        if compound.exists(stream):
            try:
                return bytes(compound.openstream(stream).read())
            except _DAMAGE as error:
                raise _damaged(name, error) from error
    raise SourceError(f"{name} is not a workbook, but another kind of compound file.")


def _find_sheet(stream: bytes, sheet: str) -> int | None:
    """Return the offset of the first record of a sheet."""
    for kind, at, size in _records(stream, 0):
        if kind == _SHEET:
            count, is_wide = stream[at + 6], stream[at + 7] & 1
            given = stream[at + 8 : at + size]
            shown = given[: 2 * count].decode("utf-16-le", "replace")
            if not is_wide:
                shown = given[:count].decode("latin-1")
            if shown == sheet:
                return int.from_bytes(stream[at : at + 4], "little")
        elif kind == _END:
            break
    return None


def _records(stream: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield the kind of each record, and the offset and length of its content."""
    while at + 4 <= len(stream):
        kind, size = (int.from_bytes(stream[at + it : at + it + 2], "little") for it in (0, 2))
        if at + 4 + size > len(stream):
            return
        yield kind, at + 4, size
        at += 4 + size


def _damaged(name: str, error: Exception) -> SourceError:
    return SourceError(f"{name} is truncated or damaged ({error}). Fetch the file again.")
