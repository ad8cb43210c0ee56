"""A block of whole records, and its position in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.sources.batch import Position
from ingest.sources.record_text import count_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.sources.record_text import Block


class PlacedBlock:
    """A block of whole records, and its position in the file."""

    def __init__(
        self,
        text: Block,
        start: Position,
        earlier: tuple[PlacedBlock, ...],
        measure: Callable[[bytes], int] | None,
    ) -> None:
        """``measure`` returns how many bytes of the file a text takes; None if that is unknown."""
        self.text = text
        self.start = start
        self.count = 0
        """The number of its records, once they have been counted."""
        self._earlier = tuple(block.alone() for block in earlier)
        self._measure = measure
        self._known = 0, start.byte or 0  # a place in the text, and its byte in the file

    def alone(self) -> PlacedBlock:
        """Return this block without the earlier ones, which it would keep in memory."""
        block = PlacedBlock(self.text, self.start, (), self._measure)
        block.count = self.count
        return block

    @property
    def next_record(self) -> int:
        """The number of the first record after it."""
        return self.start.record + self.count + 1

    def end(self) -> Position:
        """Return the position after it."""
        text = self.text.text
        lines = count_lines(text) + (not text.endswith((b"\n", b"\r")))
        line = (self.start.line or 0) + lines
        record = self.start.record + self.count
        return Position(record=record, byte=self._byte(len(text)), line=line)

    def find_line(self, record: int) -> int | None:
        """Return the line on which a record of this or a recent block begins."""
        place = record - self.start.record - 1
        if place >= 0:
            return (self.start.line or 0) + self.text.lines[place] + 1
        found = self._block_of(record)
        return None if found is None else found.find_line(record)

    def position_after(self, record: int) -> Position:
        """Return the position after a record of this or a recent block."""
        place = record - self.start.record - 1
        if place >= 0:
            start, stop = (side[place] for side in self.text.spans)
            lines = self.text.lines[place] + (count_lines(self.text.text, start, stop) or 1)
            line = (self.start.line or 0) + lines
            return Position(record=record, byte=self._byte(stop), line=line)
        found = self._block_of(record)
        return Position(record=record) if found is None else found.position_after(record)

    def _block_of(self, record: int) -> PlacedBlock | None:
        latest_first = reversed(self._earlier)
        return next((block for block in latest_first if record > block.start.record), None)

    def _byte(self, stop: int) -> int | None:
        """Return the byte of the file for a place in the text; fast for increasing places."""
        if self._measure is None or self.start.byte is None:
            return None
        known, byte = self._known if self._known[0] <= stop else (0, self.start.byte)
        byte += self._measure(self.text.text[known:stop])
        self._known = stop, byte
        return byte
