"""Writes refused records of delimited text in the same dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.sources.parser import split_record
from ingest.sources.record_text import NOTHING_ESCAPED, pattern_of
from ingest.sources.text import MARK
from ingest.sources.writers import REASONS, TRAILER, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions

PREFIX = "ingest: "
"""The beginning of the reasons."""
REASONS_FOLLOW = PREFIX + "reasons"
"""The last cell of the first line in the reject file of a text without a header. The line has as
many cells as the records should have, and shows that each record is followed by its reasons."""
_MARKED = re.compile(MARK + "([0-9a-f]{2})")
_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\r": " ", "\n": " "})  # noqa: RUF001


def plain_text(text: str, options: SourceOptions) -> str:
    """Return our own text, changed as little as possible to fit into one cell of a dialect."""
    text = text.translate(_PLAIN)
    if options.escape:
        text = text.replace(options.escape, "/")
    if options.quote:
        return text.replace(options.quote, '"' if options.quote == "'" else "'")
    return text.replace(options.delimiter, "_" if options.delimiter == " " else " ")


class DelimitedWriter(RecordWriter):
    """Writes the preamble and the header unchanged, and the records with an additional cell."""

    format = "delimited"

    def __init__(
        self,
        options: SourceOptions,
        head: bytes,
        reasons_at: int | None,
        width: int | None = None,
    ) -> None:
        """``head``: the text before the first record; ``reasons_at``: the place of old reasons.

        ``width``: how many cells a record should have, without the reasons.
        """
        super().__init__(options.encoding)
        self._options = options
        self._pattern = pattern_of(options)
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
        # The record stays as it was, but it must not swallow the records after it. And the added
        # cell must not give it as many cells as a good record, or it would be loaded.
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
        return self.encode((TRAILER + self._line_end) * self._options.trailer_records)

    def _nothing(self, cell: Any) -> str:
        """Return an empty cell, quoted if an unquoted one would be NULL."""
        value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
        is_quoted = self._options.is_postgres_csv and value is not None
        return self._options.quote * 2 if is_quoted else ""

    def _find_reasons(self, cells: Sequence[str]) -> int:
        """Return the place of earlier reasons, or the place after the last cell without any."""
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
        """Return the cell that is read as this text."""
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
        # With neither doubled quotes nor an escape, a quoted cell cannot contain a quote.
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
    """Return text with its marked bytes as ``surrogateescape`` represents them."""
    return _MARKED.sub(lambda match: chr(0xDC00 + max(int(match[1], 16), 0x80)), text)
