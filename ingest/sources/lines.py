"""On which physical line a record of a delimited text begins.

A record is not a line: a quoted cell may hold line ends, and blank lines are no records. The text
is taken apart again only when a reject asks for its line.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest.sources.base import SourceOptions
    from ingest.sources.files import InputFile
    from ingest.sources.text import TextReader

NOTES_KEPT = 1_000_000
"""16 MB of notes, which is more records of several lines than wait at any time."""
_LINE_END = re.compile(rb"\r\n|\r|\n")


class QuotedCells:
    """Finds the quoted cells of a text as the parser does: a quote opens at a cell's start only."""

    def __init__(self, options: SourceOptions) -> None:
        self.mark = options.quote.encode()
        self._pattern = _pattern(options) if self.mark else None

    def find(self, text: bytes) -> Iterator[tuple[int, int, bool]]:
        """Give the start and end of each quoted cell of ``text``, and whether it is closed."""
        if self._pattern is None or self.mark not in text:
            return
        for match in self._pattern.finditer(text):
            yield match.start(), match.end(), bool(match[1])

    def is_open(self, text: bytes) -> bool:
        """Does the text, which starts a record, end inside a quoted cell?"""
        closed = True
        for *_, closed in self.find(text):  # noqa: B007 - the last one is asked for
            pass
        return not closed


def _pattern(options: SourceOptions) -> re.Pattern[bytes]:
    mark = re.escape(options.quote.encode())
    delimiter = re.escape(options.delimiter.encode())
    inner = b"[^" + mark + b"]"
    if options.escape:  # what follows it stands for itself
        escape = re.escape(options.escape.encode())
        inner = b"(?:[^" + mark + escape + b"]|" + escape + b".)"
    body = inner + b"*+"
    again = b"(?:" + mark + mark + body + b")*" if options.doubled_quotes else b""
    start = rb"(?:\A|(?<=" + delimiter + rb")|(?<=[\r\n]))"
    return re.compile(start + mark + body + again + b"(" + mark + b"?)", re.DOTALL)


class LineCounter:
    """Tells the line of each record of a text that it is fed chunk by chunk.

    It keeps a note only of records that are followed by more than one line end, and of at most
    ``NOTES_KEPT`` of these.
    """

    def __init__(self, options: SourceOptions, lines_before: int) -> None:
        self._cells = QuotedCells(options)
        self._rest = b""
        self._next_record = 1
        self._next_line = lines_before + 1
        # From record _records[i] on, a record's line is its number plus _surplus[i].
        self._records = array("q", [1])
        self._surplus = array("q", [lines_before])

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
        stop = text.rfind(b"\n") + 1
        if self._is_plain(text[:stop]):
            count = text.count(b"\n")
            self._next_record += count
            self._next_line += count
            text = text[stop:]
        self._rest = text if b"\n" not in text and b"\r" not in text else self._count(text, chunk)
        if not chunk and self._rest:
            self._note(1, 1 + len(_LINE_END.findall(self._rest)))
            self._rest = b""

    def _is_plain(self, text: bytes) -> bool:
        """Is each line of the text a record?"""
        return (
            b"\r" not in text
            and not text.startswith(b"\n")
            and b"\n\n" not in text
            and not (self._cells.mark and self._cells.mark in text)
        )

    def _count(self, text: bytes, chunk: bytes) -> bytes:
        """Count line by line, and give what is not a whole record yet."""
        embedded = [
            (start, stop)
            for start, stop, is_closed in self._cells.find(text)
            if not is_closed or _LINE_END.search(text, start, stop)
        ]
        at = lines = 0
        cells = iter([*embedded, (len(text), len(text))])
        start, stop = next(cells)
        for end in _LINE_END.finditer(text):
            while end.start() >= stop and stop < len(text):
                start, stop = next(cells)
            if end.end() == len(text) and chunk and text.endswith(b"\r"):
                break  # its other half may come
            lines += 1
            if start <= end.start() < stop:
                continue
            is_blank = end.start() == at
            self._note(0 if is_blank else 1, lines)
            lines, at = 0, end.end()
        return text[at:]

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
        lines_before: int,
        options: SourceOptions,
        read_again: Callable[[], tuple[InputFile, TextReader]] | None,
    ) -> None:
        self._counter = LineCounter(options, lines_before)
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
