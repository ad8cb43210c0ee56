"""Where each record of a text begins, in bytes: for loads that stop and go on.

The file's own bytes are walked, not the text they stand for: that is the same in every encoding in
which the bytes of ASCII mean ASCII and nothing else.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Protocol

from ingest.sources.batch import Position
from ingest.sources.lines import count_ends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

BLOCK_BYTES = 4 << 20
"""Bytes read at a time; more where a record is longer."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Pattern(Protocol):
    """What the records of a text look like."""

    line_end: re.Pattern[bytes]

    def end_of_lines(self, text: bytes, start: int) -> int:
        """Say how far there are records of one line each, and no blank lines."""

    def end_of_record(self, text: bytes, start: int) -> int | None:
        """Say where a record, or a blank line, ends with its line end; None if it is not whole."""

    def is_blank(self, text: bytes, start: int, stop: int) -> bool:
        """Is what stands there no record?"""


class LinePattern:
    """Every line is a record that is not blank, as in JSON Lines."""

    line_end = re.compile(rb"\n")
    _plain = re.compile(rb"(?:[^\n]*[^ \t\r\n][^\n]*+\n)*+")

    def end_of_lines(self, text: bytes, start: int) -> int:
        match = self._plain.match(text, start)
        return match.end() if match else start

    def end_of_record(self, text: bytes, start: int) -> int | None:
        return text.find(b"\n", start) + 1 or None

    def is_blank(self, text: bytes, start: int, stop: int) -> bool:
        return not text[start:stop].strip(b" \t\r\n")


class RecordScanner:
    """Gives the position after a record, for ever greater numbers of records.

    ``start`` is where the text begins; the records before its first one may have numbers below 1.
    """

    def __init__(self, path: Path, pattern: Pattern, start: Position) -> None:
        self._path = path
        self._pattern = pattern
        self._file: IO[bytes] | None = None
        self._text = b""
        self._at = 0  # in the text
        self._plain_end = 0
        self._ended = False
        self._record = start.record
        self._byte = start.byte or 0
        self._line = start.line or 0

    def after(self, record: int) -> Position:
        """Give the position after the record of this number, or the end of the text."""
        if record < self._record:
            raise ValueError(f"Record {record:,} was passed: {self._record:,} were asked for.")
        while self._record < record and (self._walk(record) or self._read_on()):
            pass
        return Position(record=self._record, byte=self._byte, line=self._line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _walk(self, record: int) -> bool:
        """Step over records of the text at hand, at most to the end of ``record``."""
        text, at = self._text, self._at
        if at >= self._plain_end:
            self._plain_end = self._pattern.end_of_lines(text, at)
        lines_end = self._plain_end
        is_cut = not self._ended and text.endswith(b"\r")  # the rest of a line end may come
        lines = self._count(at, lines_end) if lines_end > at else 0
        if is_cut and lines_end == len(text):
            lines -= 1
        wanted = min(lines, record - self._record)
        if wanted < lines or is_cut:
            lines, lines_end = wanted, self._end_of_line(wanted)
        if lines:
            self._step(lines_end, records=lines, lines=lines)
            return True
        end = self._pattern.end_of_record(text, at)
        if end is None and self._ended and at < len(text):
            end = len(text)
        if end is None or (is_cut and end == len(text)):
            return False
        is_blank = self._pattern.is_blank(text, at, end)
        self._step(end, records=0 if is_blank else 1, lines=self._count(at, end) or 1)
        return True

    def _step(self, end: int, *, records: int, lines: int) -> None:
        self._byte += end - self._at
        self._at = end
        self._record += records
        self._line += lines

    def _count(self, start: int, stop: int) -> int:
        return count_ends(self._text, start, stop, self._pattern.line_end)

    def _end_of_line(self, number: int) -> int:
        """Give the end of the line of this number, from 1, after the place in the text."""
        inner = rb"[^\n]*+" if self._pattern.line_end.pattern == rb"\n" else rb"[^\r\n]*+"
        lines = re.compile(b"(?:%b(?:%b)){%d}" % (inner, self._pattern.line_end.pattern, number))
        match = lines.match(self._text, self._at)
        return match.end() if match else self._at

    def _read_on(self) -> bool:
        """Read the next block; gives whether there is anything new to walk on."""
        if self._ended:
            return False
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._byte)
        block = self._file.read(max(BLOCK_BYTES, len(self._text) - self._at))
        self._text, self._at, self._plain_end = self._text[self._at :] + block, 0, 0
        self._ended = not block
        return True


def find_ends(scanner: RecordScanner, start: Position, records: int) -> Iterator[Position]:
    """Give the position after every so many records, and after the last one."""
    try:
        before = start.record
        while (end := scanner.after(before + records)).record > before:
            yield end
            before = end.record
    finally:
        scanner.close()


def is_transparent(encoding: str) -> bool:
    """Say whether the bytes of ASCII mean ASCII, and nothing else, in this encoding.

    UTF-8 and every encoding of one byte a character are so; UTF-16 and Shift JIS are not.
    """
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}:
        return True
    ascii_bytes = bytes(range(0x80))
    try:
        as_text = ascii_bytes.decode(encoding)
        whole = bytes(range(0x100)).decode(encoding, "replace")
    except (LookupError, UnicodeError):
        return False
    return as_text == ascii_bytes.decode("ascii") and len(whole) == 0x100  # noqa: PLR2004
