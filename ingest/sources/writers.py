"""Writes refused records in their source's format, with the reasons, so that they can be fixed.

The output can be loaded with the same options and layout as the source: the reasons are in a column
of their own, which every load ignores.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from abc import ABC, abstractmethod
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pyarrow as pa

from ingest.results.rejects import as_json
from ingest.sources.batch import CellText
from ingest.sources.scanning import is_transparent
from ingest.sources.text import show

if TYPE_CHECKING:
    from collections.abc import Sequence

REASONS = "ingest_reasons"
"""The column or key of the reasons. A load ignores it."""
TEXT = "ingest_text"
"""The key for the text of a line that is not a JSON object."""
TRAILER = "end of the rejects"
"""The text of the trailer records, which a load with the same options skips."""
COLUMNS = "ingest_columns"
"""The key for the names of all columns, in a line with missing or other keys. If such a line is the
first of a file, the columns are read from it."""
_GIVE_BACK = "ingest.give_back"
_ESCAPED = range(0xDC80, 0xDD00)
"""Undecodable bytes, as ``surrogateescape`` represents them."""
_ESCAPES = re.compile("[\udc80-\udcff]")


def _give_back(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    codes = map(ord, error.object[error.start : error.end])
    given = (bytes([code - 0xDC00]) if code in _ESCAPED else b"?" for code in codes)
    return b"".join(given), error.end


codecs.register_error(_GIVE_BACK, _give_back)


@cache
def _find_never_text(encoding: str) -> str | None:
    """Return a byte, escaped, that is undecodable in this encoding next to any ASCII character."""
    for code in range(0xFF, 0x7F, -1):
        escaped = chr(0xDC00 + code)
        try:
            if all(
                bytes([letter, code, letter]).decode(encoding, "surrogateescape")
                == f"{chr(letter)}{escaped}{chr(letter)}"
                for letter in range(0x80)
            ):
                return escaped
        except UnicodeError:
            return None
    return None


class RecordWriter(ABC):
    """Writes records of one format, each with the reasons why it was refused."""

    format: ClassVar[str]
    """The name of the format, as in ``Source.format``."""
    is_whole_at_end: ClassVar[bool] = False
    """Whether the file can be read only after ``tail`` was written."""

    def __init__(self, encoding: str) -> None:
        is_wide = len("a".encode(encoding)) > 1 and not encoding.lower().startswith("utf-8")
        # In UTF-16, only lone surrogates are undecodable, and they are written unchanged.
        errors = "surrogatepass" if is_wide else _GIVE_BACK
        self._encoder = codecs.getincrementalencoder(encoding)(errors)
        self._encoding = encoding
        is_safe = is_wide or is_transparent(encoding)
        self._never_text = None if is_safe else _find_never_text(encoding)

    def head(self) -> bytes:
        """Return the bytes before the first record."""
        return b""

    @abstractmethod
    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        """Return a record with these cells."""

    @abstractmethod
    def misfit(self, given: Any, reasons: str) -> bytes:
        """Return a record that could not be split into cells, as it was in the source."""

    def tail(self) -> bytes:
        """Return the bytes after the last record."""
        return b""

    def encode(self, text: str) -> bytes:
        """Encode text in the source's encoding; undecodable bytes are written unchanged."""
        encoded = self._encoder.encode(text)
        if self._never_text is None or not _ESCAPES.search(text):
            return encoded
        # In a multi-byte encoding, such a byte may form a character with the bytes that follow it
        # here, for example with a delimiter, which would be lost.
        if encoded.decode(self._encoding, "surrogateescape") == text:
            return encoded
        return self._encoder.encode(_ESCAPES.sub(self._never_text, text))


class JsonLinesWriter(RecordWriter):
    """Writes JSON objects with an additional key; also for sources that are not files."""

    format = "jsonl"

    def __init__(self, columns: Sequence[str], encoding: str = "utf-8") -> None:
        super().__init__(encoding)
        self._columns = columns
        self._is_utf8 = codecs.lookup(encoding).name == "utf-8"

    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        named = zip(self._columns, map(_as_json, cells), strict=True)
        if any(isinstance(cell, CellText) for cell in cells):  # keys that the record lacked
            given = dict(zip(self._columns, cells, strict=True))
            record = {name: it for name, it in named if not isinstance(given[name], CellText)}
            return self._line({**record, COLUMNS: list(self._columns), REASONS: reasons})
        return self._line({**dict(named), REASONS: reasons})

    def misfit(self, given: Any, reasons: str) -> bytes:
        if isinstance(given, str):
            try:
                given = _DECODE(given)
            except (msgspec.DecodeError, RecursionError, InvalidOperation):
                given = show(given)
        if not isinstance(given, dict):
            given = {TEXT: given if isinstance(given, str) else repr(given)}
        return self._line({**given, COLUMNS: list(self._columns), REASONS: reasons})

    def _line(self, record: dict[Any, Any]) -> bytes:
        try:
            text = _ENCODE(record).decode()
        except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
            text = json.dumps(as_json(record), ensure_ascii=False)
        if not self._is_utf8:  # which may not have all characters
            text = "".join(letter if letter.isascii() else _escape(letter) for letter in text)
        return self.encode(text + "\n")


_DECODE = msgspec.json.Decoder(float_hook=Decimal).decode
_ENCODE = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def _as_json(cell: Any) -> Any:
    """Return a cell as a value for JSON; a cell of a text file, among several files, as text."""
    value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    if isinstance(cell, pa.Scalar) and isinstance(value, bytes):
        return value.decode(errors="replace")
    is_number = isinstance(value, float | Decimal)
    return str(value) if is_number and not math.isfinite(value) else value


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
