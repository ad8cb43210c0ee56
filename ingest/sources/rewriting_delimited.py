"""Refused records of delimited text, as delimited text of the same dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.sources.rewriting import REASONS, RecordWriter
from ingest.sources.text import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions

PREFIX = "ingest: "
"""The reasons begin with it, so that a file without a header shows that it has them."""
_MARKED = re.compile(MARK + "([0-9a-f]{2})")
_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\r": " ", "\n": " "})  # noqa: RUF001
_TRAILER = "end of the rejects"


class DelimitedWriter(RecordWriter):
    """Writes the preamble and the header as they were, and a further cell in each record."""

    format = "delimited"

    def __init__(self, options: SourceOptions, head: bytes, reasons_at: int | None) -> None:
        """``head`` is the text before the first record, ``reasons_at`` where it had reasons."""
        super().__init__(options.encoding)
        self._options = options
        self._head = _escaped(head.decode())
        self._reasons_at = reasons_at
        bare = self._head.rstrip("\r\n")
        self._line_end = self._head[len(bare) :][:2] or "\n"
        if self._line_end[:1] * 2 == self._line_end:  # the line end of a blank line after it
            self._line_end = self._line_end[:1]

    def head(self) -> bytes:
        bare = self._head.rstrip("\r\n")
        if not self._options.has_header or self._reasons_at is not None:
            return self.encode(bare + self._line_end if bare else "")
        return self.encode(f"{bare}{self._options.delimiter}{REASONS}{self._line_end}")

    def record(self, cells: Sequence[Any], reasons: str) -> bytes:
        texts = [self._quoted(_text(cell)) for cell in cells]
        place = len(texts) if self._reasons_at is None else self._reasons_at
        texts.insert(place, self._reasons(reasons))
        return self._line(self._options.delimiter.join(texts))

    def misfit(self, given: Any, reasons: str) -> bytes:
        delimiter, quote = self._options.delimiter, self._options.quote
        text = _escaped(str(given)).rstrip("\r\n")
        for before in (delimiter + quote + PREFIX, delimiter + PREFIX):
            text = text.rpartition(before)[0] or text  # of a time before
        return self._line(f"{text}{delimiter}{self._reasons(reasons)}")

    def tail(self) -> bytes:
        return self.encode((_TRAILER + self._line_end) * self._options.trailer_records)

    def join(self, cells: Sequence[Any]) -> str:
        """Give cells as the text of a record."""
        return self._options.delimiter.join(self._quoted(_text(cell)) for cell in cells)

    def _line(self, text: str) -> bytes:
        return self.encode(text + self._line_end)

    def _reasons(self, reasons: str) -> str:
        text = (PREFIX + reasons).translate(_PLAIN)
        if self._options.escape:
            text = text.replace(self._options.escape, "/")
        if not self._options.quote:
            return text.replace(self._options.delimiter, " ")
        other = '"' if self._options.quote == "'" else "'"
        return self._quoted(text.replace(self._options.quote, other))

    def _quoted(self, text: str) -> str:
        quote, escape = self._options.quote, self._options.escape
        if escape:
            text = text.replace(escape, escape * 2)
        needs = any(mark in text for mark in (self._options.delimiter, "\r", "\n"))
        if not quote:
            return (
                text.replace(self._options.delimiter, f"{escape}{self._options.delimiter}")
                if (escape)
                else text
            )
        if not needs and not text.startswith(quote):
            return text
        inner = text.replace(
            quote, quote * 2 if self._options.doubled_quotes else f"{escape}{quote}"
        )
        return f"{quote}{inner}{quote}"


def _text(cell: Any) -> str:
    value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return "" if value is None else str(value)


def _escaped(text: str) -> str:
    """Give text whose marked bytes are as ``surrogateescape`` has them."""
    return _MARKED.sub(lambda match: chr(0xDC00 + max(int(match[1], 16), 0x80)), text)
