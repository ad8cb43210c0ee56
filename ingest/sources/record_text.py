"""Finds where the records of a delimited text begin and end.

All other modules use its results: the parser gets whole records only, and positions, line numbers,
chunks and reject files are computed from the same spans. The rules are those of pyarrow's CSV
parser: a quote opens only at the start of a cell, an escape character escapes the next byte, even a
line end, and blank lines are not records. Only an escaped CRLF differs: it is one line end, of
which that parser would escape only the first half (``ingest.sources.parser``).
https://github.com/apache/arrow/blob/main/cpp/src/arrow/csv/parser.cc
"""

from __future__ import annotations

import dataclasses
import re
import sys
from array import array
from bisect import bisect_left
from functools import cached_property
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.base import SourceOptions
    from ingest.sources.text import TextReader

OPEN_QUOTE = "a quote that is never closed"
TEXT_AFTER_QUOTE = "text after the closing quote of a cell"
NOTHING_ESCAPED = "an escape character with nothing after it"

SMALL_BLOCKS = 2
"""How many blocks are small at first: a load's decisions need only the first two."""
SMALL_PART = 4
"""How many small blocks make a whole one."""
_PLACE_BYTES = 8
_LINE_END = rb"(?:\r\n|\r|\n)"
_BEFORE_AND_AFTER = (0).to_bytes(8, sys.byteorder) + (2).to_bytes(8, sys.byteorder)
"""The offsets from a byte's place to its two neighbours in the text with one byte put in front."""


class RecordTooLongError(Exception):
    """A record is longer than a block."""

    def __init__(self, text: bytes, *, is_open: bool) -> None:
        super().__init__(text, is_open)
        self.text = text
        """The beginning of the record."""
        self.is_open = is_open
        """Whether this text ends inside a quoted cell."""


class RecordPattern:
    """The records of one dialect as regular expressions.

    Every quantifier is possessive and every alternative begins with another byte, so a text is
    scanned once, at about 100 MB/s.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.quote = options.quote.encode()
        self.escape = (options.escape or "").encode()
        self._delimiter = options.delimiter.encode()
        self._doubled = options.doubled_quotes
        self.comment = (options.comment or "").encode()
        mark = re.escape(self.comment)
        blank = blank_at_end = rb"[\r\n]*+"
        no_comment = comment = b""
        if self.comment:
            line = mark + rb"[^\r\n]*+"
            blank = rb"(?:[\r\n]++|" + line + _LINE_END + rb")*+"
            blank_at_end = rb"(?:[\r\n]++|" + line + rb")*+"
            no_comment = rb"(?!" + mark + rb")"
            comment = line + _LINE_END + rb"|"
        self._may_be_beside = b"\r\n" + self._delimiter + (self.quote if self._doubled else b"")
        self._others = bytes(set(range(256)).difference(b"\r\n", self.quote))
        anything, strict = self._text(strict=False), self._text(strict=True)
        compiled = [
            re.compile(pattern, re.DOTALL)
            for pattern in (
                blank + rb"(" + no_comment + anything + _LINE_END + rb")",
                rb"(?:" + comment + no_comment + strict + _LINE_END + rb")*+",
                anything,
                strict,
                self._cell() + re.escape(self._delimiter),
                blank,
                blank_at_end,
            )
        ]
        self._record, self._good_records, self._anything, self._strict, *others = compiled
        self._cell_and_delimiter, self._blank, self._blank_at_end = others

    def _text(self, *, strict: bool) -> bytes:
        """Return the pattern of a record without its line end.

        ``strict``: text after a closing quote does not match.
        """
        mark, escape = re.escape(self.quote), re.escape(self.escape)
        kinds = [rb"[^" + mark + escape + rb"\r\n]++"]
        if mark:
            # A line end before the quote ends the previous record, or it was escaped: see below.
            at_start = rb"[^" + re.escape(self._delimiter) + rb"\r\n]"
            after = rb"(?![^" + re.escape(self._delimiter) + rb"\r\n])" if strict else b""
            kinds += [
                rb"(?<!" + at_start + rb")" + self._quoted() + after,
                rb"(?<=" + at_start + rb")" + mark,
            ]
        if escape:
            # A cell does not start after an escaped byte, so a quote after it opens nothing.
            kinds.append(escape + rb"(?:\r\n|.)" + (b"(?:" + mark + b")*+" if mark else b""))
        return b"(?:" + b"|".join(kinds) + b")*+"

    def _quoted(self) -> bytes:
        mark, escape = re.escape(self.quote), re.escape(self.escape)
        inner = b"[^" + mark + escape + b"]*+"
        again = [mark * 2] if self._doubled else []
        if escape:
            again.append(escape + b".")
        more = b"(?:(?:" + b"|".join(again) + b")" + inner + b")*+" if again else b""
        return mark + inner + more + mark

    def _cell(self) -> bytes:
        mark, escape = re.escape(self.quote), re.escape(self.escape)
        bare = b"[^" + re.escape(self._delimiter) + escape + b"]*+"
        if escape:
            bare += b"(?:" + escape + b"." + bare + b")*+"
        if not mark:
            return bare
        return b"(?:" + self._quoted() + bare + b"|(?!" + mark + b")" + bare + b")"

    def is_plain(self, text: bytes) -> bool:
        """Return whether every line end of the text ends a record."""
        return not ((self.quote and self.quote in text) or (self.escape and self.escape in text))

    def first_record(self, text: bytes, *, is_last: bool) -> tuple[int, int] | None:
        """Return the span of the first record with its line end; None if it is incomplete.

        ``is_last``: no more text follows, so that the end of the text ends the record.
        """
        stop = len(text) - (not is_last and text.endswith(b"\r"))
        found = self._record.match(text, 0, stop)
        if found is not None:
            return found.span(1)
        return (self.blank_end(text, is_last=True), len(text)) if is_last else None

    def blank_end(self, text: bytes, at: int = 0, *, is_last: bool = False) -> int:
        """Return the end of the blank lines and comments that begin at ``at``.

        ``is_last``: a comment at the end of the text needs no line end.
        """
        found = (self._blank_at_end if is_last else self._blank).match(text, at)
        return found.end() if found else at

    def has_comment(self, text: bytes) -> bool:
        """Return whether a line of the text begins with the comment mark."""
        mark = self.comment
        return bool(mark) and (
            text.startswith(mark) or b"\n" + mark in text or b"\r" + mark in text
        )

    def fault_of(self, text: bytes) -> str | None:
        """Return the fault in the quotes or escapes of one record without its line end, or None."""
        if self._strict.fullmatch(text):
            return None
        end = self.content_end(text, 0)
        if end == len(text):
            return TEXT_AFTER_QUOTE
        return OPEN_QUOTE if text[end : end + 1] == self.quote else NOTHING_ESCAPED

    def split(self, text: str) -> list[str] | None:
        """Return the cells of a record with their quotes; None if the record does not end."""
        record = self.content(text.encode(errors="surrogatepass"))
        if self.fault_of(record) in {OPEN_QUOTE, NOTHING_ESCAPED}:
            return None
        cells, at = [], 0
        while (found := self._cell_and_delimiter.match(record, at)) is not None:
            cells.append(record[at : found.end() - len(self._delimiter)])
            at = found.end()
        return [cell.decode(errors="surrogatepass") for cell in (*cells, record[at:])]

    def cut(self, text: bytes, *, is_last: bool) -> Block | None:
        """Return the whole records at the beginning of a text; None if there is none."""
        # The rest of this line end may follow in the next bytes.
        stop = len(text) - (not is_last and text.endswith(b"\r"))
        faults: dict[int, str] = {}
        if self.is_plain(text):
            end = max(text.rfind(b"\n", 0, stop), text.rfind(b"\r", 0, stop)) + 1
            end = well_quoted = stop if is_last else end
        else:
            well_quoted = self._end_of_well_quoted(text, stop)
            end, faults = self._walk(text, well_quoted, stop)
            if is_last and (start := self.blank_end(text, end, is_last=True)) < stop:
                fault = self.fault_of(text[start:])
                faults.update({start: fault} if fault else {})
            end = stop if is_last else end
        return Block(text[:end], self, faults, well_quoted == end) if end else None

    def content_end(self, text: bytes, start: int) -> int:
        """Return the end of the record that begins at ``start``, without its line end."""
        found = self._anything.match(text, start)
        return found.end() if found else start

    def content(self, text: bytes) -> bytes:
        """Return the text of one record without its line end."""
        end = self.content_end(text, 0)
        return text if text[end:].strip(b"\r\n") else text[:end]

    def is_open(self, text: bytes) -> bool:
        """Return whether a text in which no record ends has an open quote at its end."""
        end = self.content_end(text, self.blank_end(text))
        return bool(self.quote) and text[end : end + 1] == self.quote

    def _walk(self, text: bytes, at: int, stop: int) -> tuple[int, dict[int, str]]:
        """Return the end of the last whole record, and the faults after ``at`` by their places."""
        faults: dict[int, str] = {}
        while True:
            good = self._good_records.match(text, at, stop)
            at = good.end() if good else at
            faulty = self._record.match(text, at, stop)
            if faulty is None:
                return at, faults
            faults[faulty.start(1)] = TEXT_AFTER_QUOTE
            at = faulty.end()

    def _end_of_well_quoted(self, text: bytes, stop: int) -> int:
        """Return the end of a record before which every quote opens or closes a whole cell.

        For most quoted files this is ten times as fast as the regular expressions, which continue
        from there. It examines all quotes at once: if the first of each pair follows a delimiter or
        a line end, and the second precedes one, the pairs are cells. A doubled quote ends one pair
        and begins the next.
        """
        if not self.quote or (self.escape and self.escape in text):
            return 0
        quotes, good = self._quotes(text)
        count = good - good % 2
        end = quotes[count] if count < len(quotes) else stop
        while True:
            start = quotes[count - 1] + 1 if count else 0
            line_end = max(text.rfind(b"\n", start, end), text.rfind(b"\r", start, end))
            if line_end >= 0 or not count:
                return line_end + 1
            count -= 2
            end = quotes[count]

    def has_line_end_in_cell(self, text: bytes) -> bool:
        """Return whether a well quoted text has a line end inside quotes."""
        # If it has none, each line has an even number of quotes.
        if not self.quote or self.quote not in text:
            return False
        marks = text.translate(None, self._others)
        return self.quote in marks.replace(self.quote * 2, b"")

    def _quotes(self, text: bytes) -> tuple[memoryview, int]:
        """Return the places of the quotes, and how many come before the first misplaced one."""
        # With a line end on both sides, so that each quote has two neighbours.
        padded = pa.py_buffer(b"".join((b"\n", text, b"\n")))
        letters = pa.Array.from_buffers(pa.uint8(), len(padded), [None, padded])
        inner = letters[1:-1]
        places = pc.indices_nonzero(pc.equal(inner, pa.scalar(self.quote[0], pa.uint8())))
        steps = pa.py_buffer(_BEFORE_AND_AFTER * -(-len(places) // 2))
        beside = pc.add(places, pa.Array.from_buffers(pa.uint64(), len(places), [None, steps]))
        beside = pc.take(letters, beside, boundscheck=False)
        neighbours = beside.buffers()[1].to_pybytes()[: len(places)]
        odd = neighbours.translate(None, self._may_be_beside)
        good = neighbours.index(odd[:1]) if odd else len(places)
        return memoryview(places.buffers()[1]).cast("Q")[: len(places)], good

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each record, without blank lines and comments."""
        at = 0
        while (found := self._record.match(text, at)) is not None:
            yield found.span(1)
            at = found.end()
        if (start := self.blank_end(text, at, is_last=True)) < len(text):
            yield start, len(text)


_patterns: dict[tuple[Any, ...], RecordPattern] = {}
_MOST_PATTERNS = 64


def pattern_of(options: SourceOptions) -> RecordPattern:
    """Return the pattern of a dialect; many small files would spend their time compiling it."""
    key = (
        *(options.quote, options.escape, options.delimiter),
        *(options.doubled_quotes, options.comment),
    )
    found = _patterns.get(key)
    if found is None:
        if len(_patterns) >= _MOST_PATTERNS:
            _patterns.clear()
        found = _patterns[key] = RecordPattern(options)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Whole records of a text."""

    text: bytes
    pattern: RecordPattern
    faults: dict[int, str]
    """The faults in records' quotes or escapes, by the byte at which the record begins."""
    is_well_quoted: bool
    """Whether every quote is known to open or close a whole cell, or to be doubled."""
    byte_span: tuple[int, int] = (0, 0)
    """The bytes of the file at which it begins and ends, possibly estimated."""

    @cached_property
    def spans(self) -> tuple[Sequence[int], Sequence[int]]:
        """The starts of the records, and their ends with the line ends."""
        if self._has_a_record_on_each_line:
            ends = _line_ends(self.text)
            return ends[:-1], ends[1:]
        spans = list(self.pattern.spans(self.text))
        return array("q", [span[0] for span in spans]), array("q", [span[1] for span in spans])

    @property
    def records(self) -> int:
        """The number of records."""
        if "spans" not in vars(self) and self._has_a_record_on_each_line:
            return count_lines(self.text) + (not self.text.endswith((b"\r", b"\n")))
        return len(self.spans[0])

    @cached_property
    def _has_a_record_on_each_line(self) -> bool:
        text = self.text
        if self._has_comment or not self.is_well_quoted or self.pattern.has_line_end_in_cell(text):
            return False
        has_returns = b"\r" in text  # a fast search
        ends = (b"\n\n", b"\r\r", b"\n\r") if has_returns else (b"\n\n",)
        return text[:1] not in (b"\r", b"\n") and not any(end in text for end in ends)

    @cached_property
    def _has_comment(self) -> bool:
        return self.pattern.has_comment(self.text)

    @property
    def record_text(self) -> bytes:
        """The text without comments."""
        if not self._has_comment:
            return self.text
        return b"".join(self.text[start:stop] for start, stop in zip(*self.spans, strict=True))

    @cached_property
    def lines(self) -> Sequence[int]:
        """The number of lines before each record."""
        starts, _ = self.spans
        if self._has_a_record_on_each_line:
            return range(len(starts))
        between = zip([0, *starts], starts, strict=False)
        return array("q", accumulate(count_lines(self.text, *part) for part in between))

    @property
    def faulty_places(self) -> dict[int, str]:
        """The faults by the records' places, from 0."""
        if not self.faults:
            return {}
        starts, _ = self.spans
        return {bisect_left(starts, start): fault for start, fault in self.faults.items()}

    def record(self, place: int) -> bytes:
        """Return the text of a record without its line end."""
        starts, stops = self.spans
        start, stop = starts[place], stops[place]
        if self.faults.get(start) not in {OPEN_QUOTE, NOTHING_ESCAPED}:
            stop = self.pattern.content_end(self.text, start)
        return self.text[start:stop]


def read_blocks(
    reader: TextReader, pattern: RecordPattern, block_bytes: int, *, starts_small: bool = False
) -> Iterator[Block]:
    """Yield the text in blocks of whole records, at most ``block_bytes`` each.

    ``starts_small``: the first blocks are smaller, so that the later stages can start sooner.
    Raises ``RecordTooLongError`` for a record that is longer.
    """
    text, is_last, begin = b"", False, reader.byte_before(0)
    sizes = repeat(max(block_bytes // SMALL_PART, 1), SMALL_BLOCKS if starts_small else 0)
    while not is_last:
        size = next(sizes, block_bytes)
        text += reader.read(max(size - len(text), 0))
        is_last = reader.is_exhausted()
        if not text:
            return
        block = pattern.cut(text, is_last=is_last)
        if block is None and size < block_bytes and not is_last:
            continue
        if block is None:
            raise RecordTooLongError(text, is_open=pattern.is_open(text))
        text = text[len(block.text) :]
        end = max(reader.byte_before(len(text)), begin)
        yield dataclasses.replace(block, byte_span=(begin, end))
        begin = end


def _line_ends(text: bytes) -> Sequence[int]:
    """Return 0 and the end of each line, including a last line without a line end."""
    if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
        lines = text.splitlines(keepends=True)
        return array("q", accumulate(map(len, lines), initial=0))
    # This takes a third of the time of splitlines(), because it makes no object for each line.
    letters = pa.Array.from_buffers(pa.uint8(), len(text), [None, pa.py_buffer(text)])
    places = pc.indices_nonzero(pc.equal(letters, pa.scalar(ord("\n"), pa.uint8())))
    ends = pc.add(places, pa.scalar(1, pa.uint64())).buffers()
    begin, end = (
        bytes(_PLACE_BYTES),
        _place(len(text)) if text and not text.endswith(b"\n") else b"",
    )
    stops = memoryview(ends[1])[: len(places) * _PLACE_BYTES] if len(places) else b""
    return memoryview(b"".join((begin, stops, end))).cast("Q")


def _place(at: int) -> bytes:
    return at.to_bytes(_PLACE_BYTES, sys.byteorder)


def count_lines(text: bytes, start: int = 0, stop: int | None = None) -> int:
    r"""Count the line ends of a part of a text: ``\n``, ``\r\n`` and ``\r``."""
    stop = len(text) if stop is None else stop
    newlines = text.count(b"\n", start, stop)
    if text.find(b"\r", start, stop) < 0:
        return newlines
    return newlines + text.count(b"\r", start, stop) - text.count(b"\r\n", start, stop)
