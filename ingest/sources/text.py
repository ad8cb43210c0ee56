"""Bytes of a text in any encoding, given on as UTF-8."""

from __future__ import annotations

import codecs
from typing import IO

from ingest.exceptions import SourceError

CHUNK_BYTES = 2 << 20
"""Bytes read from the file at a time."""
_UTF8 = {"utf-8", "utf-8-sig", "ascii"}


class TextReader:
    """A file in some encoding, read as UTF-8 without a byte-order mark.

    A byte that the encoding cannot read is given on as it is: it is no UTF-8 either, so the cell
    that holds it can be named later.
    """

    def __init__(self, file: IO[bytes], name: str, encoding: str) -> None:
        self._file = file
        self._pending = b""
        self._tail = (b"", b"")
        self._ended = False
        self.closed = False
        self.bytes_read = 0
        try:
            codec = codecs.lookup(encoding)
        except LookupError as error:
            raise SourceError(
                f"There is no encoding {encoding!r} for {name}: use a codec that Python knows, "
                "such as utf-8, cp1252 or utf-16."
            ) from error
        # ASCII is UTF-8, and UTF-8 needs no decoding: that saves a copy of the whole text.
        self._decoder = (
            None if codec.name in _UTF8 else codec.incrementaldecoder(errors="surrogateescape")
        )
        self._skip_mark()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end of the text."""
        parts, wanted = [], size
        while wanted and not self.is_exhausted():
            part = self._pending if size < 0 else self._pending[:wanted]
            self._pending = self._pending[len(part) :]
            parts.append(part)
            wanted -= len(part)
        given = parts[0] if len(parts) == 1 else b"".join(parts)
        if given:
            self._tail = (self._tail[-1], given)
        return given

    def is_exhausted(self) -> bool:
        """Is there nothing left to read?"""
        if not self._pending:
            self._pending = self._next()
        return not self._pending

    def read_record_text(self, quote: str) -> str:
        """Read one record, line ends inside quotes included, and give its text."""
        mark = quote.encode()
        head = b""
        while True:
            line = self._read_line()
            head += line
            is_whole = not mark or head.count(mark) % 2 == 0
            if not line or (is_whole and head.strip()):
                return head.decode(errors="replace")

    def ends_in_open_quote(self, cell: bytes, delimiter: str, quote: str) -> bool:
        """Does the text end inside a quoted cell with this content?"""
        if not quote:
            return False
        mark = quote.encode()
        opening = mark + cell.replace(mark, mark + mark)
        tail = b"".join(self._tail)
        if not tail.endswith(opening):
            return False
        before = tail[: -len(opening)][-1:]
        return before in (b"", b"\n", b"\r", delimiter.encode()[-1:])

    def _read_line(self) -> bytes:
        line = b""
        while True:
            if not self._pending:
                self._pending = self._next()
                if not self._pending:
                    return line
            ends = [at for at in map(self._pending.find, (b"\n", b"\r")) if at >= 0]
            if not ends:
                line, self._pending = line + self._pending, b""
                continue
            stop = min(ends) + 1
            if self._pending[stop - 1 :][:1] == b"\r":
                if len(self._pending) == stop:
                    self._pending += self._next()
                stop += self._pending[stop:][:1] == b"\n"
            line, self._pending = line + self._pending[:stop], self._pending[stop:]
            return line

    def _skip_mark(self) -> None:
        self._pending = self._next()
        while 0 < len(self._pending) < len(codecs.BOM_UTF8):
            more = self._next()
            if not more:
                break
            self._pending += more
        self._pending = self._pending.removeprefix(codecs.BOM_UTF8)

    def _next(self) -> bytes:
        while not self._ended:
            chunk = self._file.read(CHUNK_BYTES)
            self.bytes_read += len(chunk)
            self._ended = not chunk
            if self._decoder is None:
                return chunk
            text = self._decoder.decode(chunk, final=self._ended)
            if text:
                return text.encode(errors="surrogateescape")
        return b""
