"""Finds the byte at which each line of JSON Lines begins, for loads that are resumed.

It scans the file's bytes, not its decoded text. Both are equivalent in every encoding in which
ASCII bytes always mean ASCII.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from ingest.sources.batch import Position

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

BLOCK_BYTES = 4 << 20
"""Bytes read at a time; more if a line is longer."""

_LINES = re.compile(rb"(?:[^\n]*[^ \t\r\n][^\n]*+\n)*+")


class LineScanner:
    """Finds the positions after records, which must be requested in increasing order.

    Every line that is not blank is a record.
    """

    def __init__(self, path: Path, start: Position) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._text = b""
        self._at = 0  # in the text
        self._lines_end = 0
        self._ended = False
        self._record = start.record
        self._byte = start.byte or 0
        self._line = start.line or 0

    def after(self, record: int) -> Position:
        """Return the position after the record of this number, or the end of the text."""
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
        """Advance in the text, at most to the end of ``record``; return False at its end."""
        text, at = self._text, self._at
        if at >= self._lines_end:
            found = _LINES.match(text, at)
            self._lines_end = found.end() if found else at
        lines = text.count(b"\n", at, self._lines_end)
        if lines:
            wanted = min(lines, record - self._record)
            end = self._lines_end if wanted == lines else self._end_of_line(wanted)
            self._step(end, records=wanted, lines=wanted)
            return True
        end = text.find(b"\n", at) + 1
        if not end and self._ended and at < len(text):
            end = len(text)
        if not end:
            return False
        self._step(end, records=bool(text[at:end].strip(b" \t\r\n")), lines=1)
        return True

    def _step(self, end: int, *, records: int, lines: int) -> None:
        self._byte += end - self._at
        self._at = end
        self._record += records
        self._line += lines

    def _end_of_line(self, number: int) -> int:
        """Return the end of the line with this number, counted from 1 at the present place."""
        found = re.compile(rb"(?:[^\n]*+\n){%d}" % number).match(self._text, self._at)
        return found.end() if found else self._at

    def _read_on(self) -> bool:
        """Read the next block; return False if the end was reached before."""
        if self._ended:
            return False
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._byte)
        block = self._file.read(max(BLOCK_BYTES, len(self._text) - self._at))
        self._text, self._at, self._lines_end = self._text[self._at :] + block, 0, 0
        self._ended = not block
        return True


def find_ends(scanner: LineScanner, start: Position, records: int) -> Iterator[Position]:
    """Yield the position after every ``records`` records, and after the last one."""
    try:
        before = start.record
        while (end := scanner.after(before + records)).record > before:
            yield end
            before = end.record
    finally:
        scanner.close()


def is_transparent(encoding: str) -> bool:
    """Return whether ASCII bytes always mean ASCII in this encoding.

    They do in UTF-8 and in most encodings with one byte per character, but not in UTF-16 and Shift
    JIS.
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
