"""On which physical line a record of a delimited text begins.

A record is not a line: a quoted cell may hold line ends, and blank lines are no records. The text
is taken apart again only when a reject asks for its line.
"""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_right
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.sources.base import SourceOptions
    from ingest.sources.files import InputFile
    from ingest.sources.text import TextReader

NOTES_KEPT = 1_000_000
"""16 MB of notes, which is more records of several lines than wait at any time."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


def count_ends(text: bytes, start: int, stop: int, line_end: re.Pattern[bytes]) -> int:
    """Count the line ends of a part of a text; where all are newlines that is done at once."""
    if text.find(b"\r", start, stop) < 0:
        return text.count(b"\n", start, stop)
    return len(line_end.findall(text, start, stop))


class RecordPattern:
    """Takes a text apart into records as the parser does: a quote opens at a cell's start only.

    Every quantifier is possessive, so that a text is walked once, at some 100 MB/s.
    """

    line_end = _LINE_END

    def __init__(self, options: SourceOptions) -> None:
        self._record = re.compile(_record(options, _quoted(options, b"")), re.DOTALL)
        plain = _record(options, _quoted(options, rb"\r\n"))
        self._plain_lines = re.compile(rb"(?:(?![\r\n])" + plain + rb"(?:\r\n|\r|\n))*+", re.DOTALL)
        self.quote = options.quote.encode()
        self._escape = (options.escape or "").encode()

    def is_whole(self, text: bytes) -> bool:
        """Is the text, which starts a record, not the beginning of a cell whose quote is open?"""
        match = self._record.match(text)
        return match is not None and not text[match.end() :].strip(b"\r\n")

    def is_blank(self, text: bytes, start: int, _stop: int) -> bool:
        """Does a blank line begin there, which is no record?"""
        return text[start : start + 1] in {b"\r", b"\n", b""}

    def end_of_lines(self, text: bytes, start: int) -> int:
        """Say how far there are records of one line each, and no blank lines."""
        if self.is_plain(text, start):  # which is found out ten times as fast
            return max(text.rfind(b"\n") + 1, start)
        match = self._plain_lines.match(text, start)
        return match.end() if match else start

    def is_plain(self, text: bytes, start: int) -> bool:
        """Is each line of the text a record?"""
        return (
            text.find(b"\r", start) < 0
            and not text.startswith(b"\n", start)
            and text.find(b"\n\n", start) < 0
            and not (self.quote and text.find(self.quote, start) >= 0)
            and not (self._escape and text.find(self._escape, start) >= 0)
        )

    def end_of_record(self, text: bytes, start: int) -> int | None:
        """Say where a record, or a blank line, ends with its line end; None if it is not whole."""
        match = self._record.match(text, start)
        end = _LINE_END.match(text, match.end()) if match else None
        return end.end() if end else None


def _quoted(options: SourceOptions, forbidden: bytes) -> bytes:
    """Give the pattern of a quoted cell; none where nothing is quoted."""
    mark = re.escape(options.quote.encode())
    if not mark:
        return b""
    inner = b"[^" + mark + forbidden + b"]*+"
    if options.escape:  # what follows it stands for itself
        escape = re.escape(options.escape.encode())
        inner = b"(?:[^" + mark + escape + forbidden + b"]|" + escape + b".)*+"
    again = b"(?:" + mark + mark + inner + b")*+" if options.doubled_quotes else b""
    return mark + inner + again + mark


def _record(options: SourceOptions, quoted: bytes) -> bytes:
    delimiter = re.escape(options.delimiter.encode())
    bare = b"[^" + delimiter + rb"\r\n]*+"
    if options.escape:
        escape = re.escape(options.escape.encode())
        bare = b"(?:[^" + delimiter + escape + rb"\r\n]|" + escape + b".)*+"
    cell = bare
    if quoted:
        cell = (
            b"(?:"
            + quoted
            + bare
            + b"|(?!"
            + re.escape(options.quote.encode())
            + b")"
            + bare
            + b")"
        )
    return cell + b"(?:" + delimiter + cell + b")*+"


class LineCounter:
    """Tells the line of each record of a text that it is fed chunk by chunk.

    It keeps a note only of records that are followed by more than one line end, and of at most
    ``NOTES_KEPT`` of these.
    """

    def __init__(self, pattern: RecordPattern, lines_before: int, records_before: int = 0) -> None:
        self._pattern = pattern
        self._rest = b""
        self.ends_open = False
        """Does the text, once it is fed whole, end inside a cell whose quote is open?"""
        self._next_record = records_before + 1
        self._next_line = lines_before + 1
        # From record _records[i] on, a record's line is its number plus _surplus[i].
        self._records = array("q", [records_before + 1])
        self._surplus = array("q", [lines_before - records_before])

    @property
    def records(self) -> int:
        """How many whole records it has been fed."""
        return self._next_record - 1

    def line(self, record: int) -> int | None:
        """Give the line on which a record begins; None where the note is gone."""
        place = bisect_right(self._records, record) - 1
        return record + self._surplus[place] if place >= 0 else None

    def feed(self, chunk: bytes) -> None:
        """Count the records of the next chunk; an empty one is the end of the text."""
        text = self._rest + chunk if self._rest else chunk
        # The other half of a line end may come with the next chunk.
        cut = b"\r" if chunk and text.endswith(b"\r") else b""
        text = text.removesuffix(cut) if cut else text
        self._rest = text[self._count(text) :] + cut
        if not chunk and self._rest:
            self.ends_open = not self._pattern.is_whole(self._rest)
            self._note(1, 1 + len(_LINE_END.findall(self._rest)))
            self._rest = b""

    def _count(self, text: bytes) -> int:
        """Count whole records and give the place where the last one ends."""
        at = 0
        while True:
            end = self._pattern.end_of_lines(text, at)
            if end > at:
                self._count_lines(count_ends(text, at, end, _LINE_END))
                at = end
            following = self._pattern.end_of_record(text, at)
            if following is None:
                return at
            is_blank = text[at : at + 1] in (b"\r", b"\n")
            self._note(0 if is_blank else 1, count_ends(text, at, following, _LINE_END))
            at = following

    def _count_lines(self, count: int) -> None:
        self._next_record += count
        self._next_line += count

    def _note(self, records: int, lines: int) -> None:
        self._next_record += records
        self._next_line += lines
        if records != lines:
            surplus = self._next_line - self._next_record
            if self._records[-1] == self._next_record:
                self._surplus[-1] = surplus
            else:
                self._records.append(self._next_record)
                self._surplus.append(surplus)
        if len(self._records) > NOTES_KEPT:
            del self._records[: NOTES_KEPT // 2], self._surplus[: NOTES_KEPT // 2]


class LineFinder:
    """Says on which line a record begins.

    A file is read a second time, as far as the record, once that is asked. What can be read only
    once is counted as it passes.
    """

    def __init__(
        self,
        reader: TextReader,
        pattern: RecordPattern,
        read_again: Callable[[], tuple[InputFile, TextReader]] | None,
        *,
        lines_before: int,
        records_before: int = 0,
    ) -> None:
        self._counter = LineCounter(pattern, lines_before, records_before)
        self._lock = Lock()  # the parser reads ahead in a thread of its own
        self._read_again = read_again
        self._again: tuple[InputFile, TextReader] | None = None
        if read_again is None:
            reader.tee = self._feed

    def __call__(self, record: int) -> int | None:
        """Give the line on which the record of this number begins, from 1."""
        if self._read_again is not None:
            self._read_on(record)
        with self._lock:
            return self._counter.line(record)

    def ends_open(self) -> bool:
        """Does the text, which has been read to its end, end in a quote that is never closed?"""
        if self._read_again is not None:
            self._read_on(sys.maxsize)
        return self._counter.ends_open

    def close(self) -> None:
        """Close the file that was opened a second time."""
        if self._again is not None:
            self._again[0].close()

    def _read_on(self, record: int) -> None:
        while self._counter.records < record:
            if self._again is None and self._read_again is not None:
                self._again = self._read_again()
            chunk = self._again[1].read_chunk() if self._again else b""
            self._feed(chunk)
            if not chunk:
                return

    def _feed(self, chunk: bytes) -> None:
        with self._lock:
            self._counter.feed(chunk)
