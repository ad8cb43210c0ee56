"""Refused records of delimited text, as delimited text of the same dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.sources.parser import split_record
from ingest.sources.record_text import NOTHING_ESCAPED, RecordPattern
from ingest.sources.text import MARK
from ingest.sources.writers import REASONS, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions

PREFIX = "ingest: "
"""The reasons begin with it."""
REASONS_FOLLOW = PREFIX + "reasons"
"""The last cell of the line that stands for a header in the reject file of a text without one: it
has as many cells as the records should have, and shows that each has its reasons."""
_MARKED = re.compile(MARK + "([0-9a-f]{2})")
_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\r": " ", "\n": " "})  # noqa: RUF001
_TRAILER = "end of the rejects"


def plain_text(text: str, options: SourceOptions) -> str:
    """Return text of our own as a dialect can have it in one cell, most readably."""
    text = text.translate(_PLAIN)
    if options.escape:
        text = text.replace(options.escape, "/")
    if options.quote:
        return text.replace(options.quote, '"' if options.quote == "'" else "'")
    return text.replace(options.delimiter, "_" if options.delimiter == " " else " ")


class DelimitedWriter(RecordWriter):
    """Writes the preamble and the header as they were, and a further cell in each record."""

    format = "delimited"

    def __init__(
        self,
        options: SourceOptions,
        head: bytes,
        reasons_at: int | None,
        width: int | None = None,
    ) -> None:
        """``head`` is the text before the first record, ``reasons_at`` where it had reasons.

        ``width``: how many cells a record should have, without the reasons.
        """
        super().__init__(options.encoding)
        self._options = options
        self._pattern = RecordPattern(options)
        self._head = _escaped(head.decode())
        self._reasons_at = reasons_at
        self._width = width
        bare = self._head.rstrip("\r\n")
        self._line_end = self._head[len(bare) :][:2] or "\n"
        if self._line_end[:1] * 2 == self._line_end:  # the line end of a blank line after it
            self._line_end = self._line_end[:1]

    def head(self) -> bytes:
        bare = self._head.rstrip("\r\n")
        name = self._cell(plain_text(REASONS, self._options))
        if not self._options.has_header:
            name = self._cell(plain_text(REASONS_FOLLOW, self._options))
        if self._reasons_at is not None and (self._options.has_header or bare.endswith(name)):
            return self.encode(bare + self._line_end)
        if self._options.has_header:
            return self.encode(f"{bare}{self._options.delimiter}{name}{self._line_end}")
        if self._width is not None:
            bare += self._line_end if bare else ""
            bare += self._options.delimiter * self._width + name
        return self.encode(bare + self._line_end if bare else "")

    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        texts = [self._cell(_text(cell)) or self._nothing(cell) for cell in cells]
        place = len(texts) if self._reasons_at is None else self._reasons_at
        texts.insert(place, self._reasons(reasons))
        return self._line(self._options.delimiter.join(texts))

    def misfit(self, given: Any, reasons: str) -> bytes:
        # What stood there stays as it was, but it must neither take in the records after it nor get
        # as many cells as a good record by what is added: it would be loaded like that.
        record = _bytes(str(given))
        cells = self._pattern.split(str(given))
        is_well_formed = True
        if cells is None:
            closed = split_record(record, self._options)
            if self._pattern.fault_of(record) == NOTHING_ESCAPED:
                closed[-1] += self._options.escape or ""
            cells = [*map(self._cell, closed), ""]
        else:
            is_well_formed = self._pattern.fault_of(self._pattern.content(record)) is None
        place = self._find_reasons(cells)
        cells[place : place + 1] = [self._reasons(reasons)]
        if is_well_formed and self._width is not None and len(cells) == self._width + 1:
            cells.insert(place, "")
        return self._line(_escaped(self._options.delimiter.join(cells)))

    def tail(self) -> bytes:
        return self.encode((_TRAILER + self._line_end) * self._options.trailer_records)

    def _nothing(self, cell: Any) -> str:
        """Return an empty cell, quoted where an unquoted one would be NULL."""
        value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
        is_quoted = self._options.is_postgres_csv and value is not None
        return self._options.quote * 2 if is_quoted else ""

    def _find_reasons(self, cells: Sequence[str]) -> int:
        """Return where earlier reasons are; the place after the last cell if there are none."""
        for place in reversed(range(len(cells))):
            if cells[place].startswith((PREFIX, self._options.quote + PREFIX)):
                return place
        return len(cells)

    def _line(self, text: str) -> bytes:
        return self.encode(text + self._line_end)

    def _reasons(self, reasons: str) -> str:
        encoding = self._options.encoding
        text = (PREFIX + reasons).encode(encoding, "replace").decode(encoding)
        return self._cell(plain_text(text, self._options))

    def _cell(self, text: str) -> str:
        """Return the text of a cell that is read as this value."""
        quote, escape, delimiter = (
            self._options.quote,
            self._options.escape,
            self._options.delimiter,
        )
        if escape:
            text = text.replace(escape, escape * 2)
        is_comment = bool(self._options.comment and text.startswith(self._options.comment))
        if not quote:
            if is_comment:
                text = f"{escape or ' '}{text}"
            for mark in (delimiter, "\r", "\n"):
                text = text.replace(mark, escape + mark if escape else " ")
            return text
        marks = (delimiter, "\r", "\n")
        if not (text.startswith(quote) or is_comment or any(mark in text for mark in marks)):
            return text
        # Without either, no cell of such a text can hold a quote and need to be quoted.
        again = quote * 2 if self._options.doubled_quotes else f"{escape}{quote}" if escape else "'"
        return f"{quote}{text.replace(quote, again)}{quote}"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _text(cell: Any) -> str:
    value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return "" if value is None else str(value)


def _escaped(text: str) -> str:
    """Return text whose marked bytes are as ``surrogateescape`` has them."""
    return _MARKED.sub(lambda match: chr(0xDC00 + max(int(match[1], 16), 0x80)), text)
