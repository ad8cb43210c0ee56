"""One JSON array of objects, read as a stream: each element is read as a line of JSON Lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from ingest.exceptions import SourceError
from ingest.sources.json_lines import LINE_BYTES, JsonLinesSource
from ingest.sources.text import show

if TYPE_CHECKING:
    from ingest.sources.base import SourceOptions
    from ingest.sources.files import InputFile
    from ingest.sources.text import TextReader

_BLANK = re.compile(rb"[ \t\r\n]*+")
_FLAT = re.compile(rb'\{(?:[^{}\[\]"]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)
"""Matches an object without lists and objects inside, as most are."""
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
_PLAIN = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"|[^,\[\]{}"]++)*+', re.DOTALL)
_CLOSING = {b"{": b"}", b"[": b"]"}
SHOWN_BYTES = 40


class JsonArraySource(JsonLinesSource):
    """A file that is one JSON array of objects, with any layout.

    Each element is read like a line of JSON Lines, so that an invalid one is refused alone.
    """

    format = "json"
    place = 16
    is_one_array = True

    def __init__(self, file: InputFile, reader: TextReader, options: SourceOptions) -> None:
        self._text = b""
        self._line = 1
        self._counted = 0, 1  # a place in the text, and its line
        self._number = 0
        self._is_begun = self._is_over = False
        super().__init__(file, reader, options)

    @property
    def _can_seek(self) -> bool:
        return False  # where an element begins is known only after reading all before it

    def _next_block(self) -> bytes:
        """Return the next elements, one on each line; empty at the end."""
        elements: list[bytes] = []
        self._lines_of_block: list[int] = []
        while not (elements or self._is_over):
            more = self._reader.read_chunk()
            self._text += more
            self._counted = 0, self._line
            at = 0 if self._is_begun else self._begin()
            while self._may_go_on and (found := self._find_element(at)) is not None:
                start, stop, at = found
                elements.append(self._take(start, stop))
            self._pass(at)
            if not more:
                self._check_end()
            elif not elements and len(self._text) > LINE_BYTES:
                self._refuse(0, f"is longer than {LINE_BYTES:,} bytes")
        if not elements:
            self._check_rest()
        return b"".join(elements)

    def _find_columns(self) -> tuple[str, ...]:
        return super()._find_columns() if self._block else ()  # of an empty array

    @property
    def _may_go_on(self) -> bool:
        return self._is_begun and not self._is_over

    def _note_span(self) -> None:
        self._rest = self._text
        super()._note_span()

    def _find_lines(self, lines: list[bytes], line: int) -> list[int]:  # noqa: ARG002
        return self._lines_of_block

    def _take(self, start: int, stop: int) -> bytes:
        """Return an element as a line, and remember the line on which it begins."""
        self._number += 1
        # Line ends are counted from the last element only: a whole chunk may be one line.
        counted, line = self._counted
        line += self._text.count(b"\n", counted, start)
        self._counted = start, line
        self._lines_of_block.append(line)
        element = self._text[start:stop]
        return (element.replace(b"\n", b" ") if b"\n" in element else element) + b"\n"

    def _pass(self, stop: int) -> None:
        self._line += self._text.count(b"\n", 0, stop)
        self._text = self._text[stop:]

    def _begin(self) -> int:
        """Return the place after the opening bracket, or one before it if more text is needed."""
        at = self._skip(0)
        if self._text[at : at + 1] != b"[":
            return at
        first = self._skip(at + 1)
        if first < len(self._text):
            self._is_begun = True
            self._is_over = self._text[first : first + 1] == b"]"
            return first + self._is_over
        return 0

    def _find_element(self, at: int) -> tuple[int, int, int] | None:
        """Return the next element's start and end, and the place after it; None if incomplete."""
        at, text = self._skip(at), self._text
        stop = self._end_of_element(at)
        if stop is None:
            return None
        mark = self._skip(stop)
        after = text[mark : mark + 1]
        if not after:
            return None
        if stop == at:
            self._refuse(at, "is no object")
        if after not in {b",", b"]"}:
            self._refuse(mark, "is followed by neither a comma nor the end of the array")
        self._is_over = after == b"]"
        return at, stop, mark + 1

    def _end_of_element(self, at: int) -> int | None:
        text = self._text
        flat = _FLAT.match(text, at)
        if flat is not None:
            return flat.end()
        if text[at : at + 1] not in _CLOSING:
            found = _PLAIN.match(text, at)
            stop = at if found is None else found.end()
            return stop if stop < len(text) and text[stop : stop + 1] != b'"' else None
        open_: list[bytes] = []
        for token in _TOKEN.finditer(text, at):
            mark = token[0]
            if mark == b'"':
                return None
            if mark in _CLOSING:
                open_.append(_CLOSING[mark])
            elif len(mark) == 1:
                if open_.pop() != mark:
                    self._refuse(token.start(), "has brackets that do not match")
                if not open_:
                    return token.end()
        return None

    def _skip(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return at if found is None else found.end()

    def _check_end(self) -> None:
        """Raise ``SourceError`` if the text ends before the array does."""
        if self._is_over:
            return
        if not self._is_begun:
            raise SourceError(f"{self.name} is empty: it should hold a JSON array.")
        self._refuse(self._skip(0), "is cut off: the array has no end")

    def _check_rest(self) -> None:
        """Raise ``SourceError`` for anything except white space after the array."""
        while self._skip(0) == len(self._text):
            self._pass(len(self._text))
            self._text = self._reader.read_chunk()
            if not self._text:
                return
        self._refuse(self._skip(0), "stands after the end of the array")

    def _refuse(self, at: int, what: str) -> NoReturn:
        line = self._line + self._text.count(b"\n", 0, at)
        shown = show(self._text[at : at + SHOWN_BYTES].decode(errors="replace"))
        raise SourceError(
            f"{self.name}, record {self._number + 1:,} (line {line:,}) {what}: {shown!r}. Fix the "
            "file, or write it again: it is read up to there only."
        )
