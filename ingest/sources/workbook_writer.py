"""Writes refused records of a workbook as a workbook or as CSV."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import tempfile
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.exceptions import ConfigurationError, IngestError
from ingest.sources.base import SourceOptions
from ingest.sources.cell_text import text_of
from ingest.sources.delimited_writer import DelimitedWriter
from ingest.sources.writers import REASONS, TRAILER, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_BYTES = 1 << 20
CELL_CHARACTERS = 32_767
"""The longest text of a cell."""
NAME_CHARACTERS = 31
"""The longest name of a sheet."""
_FORMATS: dict[type, str] = {
    dt.datetime: "yyyy-mm-dd hh:mm:ss.000",
    dt.date: "yyyy-mm-dd",
    dt.time: "hh:mm:ss.000",
    dt.timedelta: "[h]:mm:ss.000",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """The rows before the first record of a sheet."""

    columns: tuple[str, ...]
    """The names of the columns."""
    preamble: list[list[Any]]
    """The rows that are skipped."""
    header: tuple[str, ...] | None
    """The names in the header, if there is one."""


class WorkbookWriter(RecordWriter):
    """Writes an ``.xlsx`` workbook with one sheet of data; ``tail`` returns all of it."""

    format = "workbook"
    is_whole_at_end: ClassVar[bool] = True

    def __init__(self, options: SourceOptions, head: Head, sheet: str) -> None:
        super().__init__("utf-8")
        self._options, self._given_head = options, head
        self._name = sheet
        self._workbook: Any = None
        self._row = 0

    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        row = list(map(_python_value, cells))
        row += [""] * (len(self._given_head.columns) - len(row))
        self._write([*row, reasons])
        return b""

    def misfit(self, given: Any, reasons: str) -> bytes:
        cells = list(given) if isinstance(given, list | tuple) else [str(given)]
        if self._options.has_header:  # the reasons must be in the column with their name
            width = len(self._given_head.columns)
            row = cells + [""] * (width - len(cells))
            self._write([*row[:width], reasons, *row[width:]])
            return b""
        return self.record(cells, reasons)

    def tail(self) -> bytes:
        """Return the whole workbook."""
        self._open()
        for _ in range(self._options.trailer_records):
            self._write([TRAILER])
        self._workbook.close()
        self._file.seek(0)
        content = self._file.read()
        self._file.close()
        return bytes(content)

    def _open(self) -> None:
        if self._workbook is not None:
            return
        try:
            import xlsxwriter
        except ImportError as error:
            raise ConfigurationError(
                "A reject file that is a workbook needs XlsxWriter, which is not installed: "
                "pip install 'django-ingest[excel]', or call the reject file .csv."
            ) from error
        self._file = tempfile.TemporaryFile(prefix="ingest-")  # noqa: SIM115 - closed by ``tail``
        self._workbook = xlsxwriter.Workbook(self._file, {"constant_memory": True})
        said = str(self._options.sheet or 1)
        number = int(said) if said.isdecimal() and said != self._name else 1
        for _ in range(number - 1):  # so that the sheet has the same number
            self._workbook.add_worksheet()
        self._sheet = self._workbook.add_worksheet(_sheet_name(self._name, number))
        self._sheet.activate()
        self._formats = {
            kind: self._workbook.add_format({"num_format": text}) for kind, text in _FORMATS.items()
        }
        head = self._given_head
        for row in head.preamble:
            self._write(row)
        if head.header is not None:
            width = len(head.columns)
            names = list(head.header) + [""] * (width - len(head.header))
            self._write([*names[:width], REASONS])
        else:  # without it, the reasons would be read as a column of the sheet
            self._write([REASONS] * (len(head.columns) + 1))

    def _write(self, cells: Sequence[Any]) -> None:
        self._open()
        row, sheet = self._row, self._sheet
        self._row += 1
        for place, cell in enumerate(cells):
            if cell is None or cell == "":
                continue
            kind = type(cell)
            if kind is bool:
                done = sheet.write_boolean(row, place, cell)
            elif kind in {int, float, Decimal} and float(f"{float(cell):.16G}") == cell:
                done = sheet.write_number(row, place, float(cell))
            elif kind in self._formats:
                done = sheet.write_datetime(row, place, cell, self._formats[kind])
            else:  # as text, even if it looks like a formula or a link
                text = text_of(cell) or ""
                if cell is cells[-1] and len(cells) > 1:
                    text = text[:CELL_CHARACTERS]
                done = sheet.write_string(row, place, text)
            if done:
                raise IngestError(
                    "The reject file cannot be a workbook: it would have more rows than a sheet, "
                    "or a longer text than a cell. Call it .csv."
                )


class WorkbookCsvWriter(DelimitedWriter):
    """Writes CSV with the preamble and the header of a sheet."""

    def __init__(self, options: SourceOptions, head: Head) -> None:
        dialect = SourceOptions(
            columns=options.columns,
            header=options.header,
            skip_records=options.skip_records,
            trailer_records=options.trailer_records,
        )
        super().__init__(dialect, b"", None, len(head.columns))
        rows = [*head.preamble, *([] if head.header is None else [head.header])]
        self._head = "".join(self._joined(row) + "\n" for row in rows)

    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        return super().record([text_of(_python_value(cell)) for cell in cells], reasons)

    def misfit(self, given: Any, reasons: str) -> bytes:
        cells = given if isinstance(given, list | tuple) else [given]
        if len(cells) <= len(self._names()):
            return self.record([*cells, *[""] * (len(self._names()) - len(cells))], reasons)
        return super().misfit(self._joined(cells), reasons)

    def _names(self) -> range:
        return range(self._width or 0)

    def _joined(self, cells: Sequence[Any]) -> str:
        return ",".join(self._cell(text_of(cell) or "") for cell in cells)


def _python_value(cell: Any) -> Any:
    value = cell.as_py() if hasattr(cell, "as_py") else cell
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _sheet_name(name: str, number: int) -> str | None:
    """Return the sheet's name if Excel allows it, otherwise None for a default name."""
    is_taken = re.fullmatch(r"(?i)sheet[0-9]+", name) is not None and number > 1
    is_good = 0 < len(name) <= NAME_CHARACTERS and not re.search(r"[\[\]:*?/\\]|^'|'$", name)
    return name if is_good and not is_taken else None
