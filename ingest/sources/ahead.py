"""How far a parser reads ahead of whoever takes its batches."""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from ingest.sources.text import TextReader

BLOCKS_AHEAD = 4
"""Blocks that are read and not yet a batch. The parser needs the one after a block to know where
its last record ends; Arrow would read 32, which is 64 MB where the server is slower than the file.
https://github.com/apache/arrow/blob/main/cpp/src/arrow/util/iterator.h, kDefaultBackgroundMaxQ"""
STARVING_SECONDS = 0.1
"""How long a parser that is waited for goes without a block, where blocks gave no batch."""


class ReadAhead:
    """A text for pyarrow's parser, which reads it in a thread of its own."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._room = Condition()
        self._blocks = 0
        self._is_waited_for = False

    @property
    def closed(self) -> bool:
        """Is there nothing to be read any more?"""
        return self._reader.closed

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next block once there is room for it."""
        with self._room:
            while self._blocks >= BLOCKS_AHEAD and not self.closed:
                if not self._room.wait(STARVING_SECONDS) and self._is_waited_for:
                    break
            self._blocks += 1
        return self._reader.read(size)

    def follow(self, parser: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the parser's batches; each makes room for a block."""
        batches = iter(parser)
        while True:
            self._is_waited_for = True
            batch = next(batches, None)
            self._is_waited_for = False
            if batch is None:
                return
            with self._room:
                self._blocks = max(self._blocks - 1, 0)
                self._room.notify()
            yield batch

    def close(self) -> None:
        """Close the text, and let go of a thread that waits for room."""
        with self._room:
            self._reader.closed = True
            self._room.notify()
        self._reader.close()
