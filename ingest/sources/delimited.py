"""Delimited text, such as CSV, from a file, a file object or standard input."""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ConfigurationError, SourceError
from ingest.plurals import counted
from ingest.sources.ahead import ReadAhead
from ingest.sources.base import OF_WORKBOOKS, Source, SourceOptions
from ingest.sources.batch import Batch, Position
from ingest.sources.block_parser import BlockParser
from ingest.sources.delimited_writer import PREFIX, DelimitedWriter
from ingest.sources.files import InputFile
from ingest.sources.head import Head
from ingest.sources.oddities import Oddities
from ingest.sources.parser import split_record
from ingest.sources.placed_block import PlacedBlock
from ingest.sources.record_text import (
    OPEN_QUOTE,
    Block,
    RecordTooLongError,
    count_lines,
    pattern_of,
    read_blocks,
)
from ingest.sources.scanning import is_transparent
from ingest.sources.text import MARK, TextReader, restore, show
from ingest.sources.trailer import cut_trailer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.results.rejects import Reject

BLOCK_BYTES = 2 << 20
"""Bytes parsed at a time, and so the longest record. Larger blocks are not faster here, and a load
needs memory of about ten blocks."""
SMALL_COMPRESSED_BYTES = 64 << 10
"""A compressed file up to this size is read without a thread of its own."""
LARGE_BLOCKS = 4
"""A file of more blocks begins with small ones, so that PostgreSQL waits less for the first
rows."""
BLOCKS_REMEMBERED = 3
"""Earlier blocks whose lines and positions are kept: a layout may hold a record back until it has
seen the next one."""


class DelimitedSource(Source):
    """A text file of records whose cells are separated by a delimiter."""

    format = "delimited"
    place = 20
    is_of_files = True
    ignores = OF_WORKBOOKS

    def __init__(self, file: InputFile, options: SourceOptions) -> None:
        _check(options)
        self.name = file.name
        self.bytes_total = file.bytes_total
        self.paths = file.paths
        self._file = file
        self._options = options
        self.has_postgres_text = options.is_postgres_csv
        self._reader = TextReader(file, options.encoding)
        head = Head(self._reader, file.name, options)
        self.columns = head.columns
        self.preamble = head.preamble.decode(errors="replace")
        self.file_name = file.file_name
        self._head = head
        self._pattern = pattern_of(options)
        byte = self._reader.first_byte + head.bytes if self._can_seek else None
        self._start = self._first = Position(line=head.lines, byte=byte)
        self._ahead: ReadAhead[Block] | None = None
        self._oddities = Oddities(file.name, options, head.columns)
        self._trailer: int | None = None
        """The number of records in the trailer, once it has been read."""

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return isinstance(given, str | Path) or hasattr(given, "read")

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        file = InputFile(given)
        try:
            return cls(file, options)
        except BaseException:
            file.close()
            raise

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        left_out = []
        if skipped := self._options.skip_records:
            what = "header" if self._options.has_header else "first record"
            left_out.append(
                f"Left out: {counted(skipped, 'record')} before the {what} of {self.name}, as "
                "skip_records says; not counted as read."
            )
        if self._trailer is not None:
            name = "trailer_pattern" if self._options.trailer_pattern else "trailer_records"
            left_out.append(
                f"Left out: {counted(self._trailer, 'record')} at the end of {self.name}, as "
                f"{name} says; counted as skipped."
            )
        return (*left_out, *self._oddities.warnings(has_controls=self._reader.has_controls))

    def batches(self) -> Iterator[Batch]:
        trailer = 0
        for batch in cut_trailer(map(self._without_reasons, self._batches()), self._options):
            trailer += batch.skipped
            yield batch
        self._trailer = trailer or None
        self._oddities.end(trailer)

    def writer(self, suffix: str = "") -> DelimitedWriter:  # noqa: ARG002
        return DelimitedWriter(
            self._options, self._head.text, self._head.reasons_at, len(self.columns)
        )

    def go_to(self, position: Position) -> bool:
        if position.byte is None or not self._can_seek:
            return False
        self._reader.go_to(position.byte)
        self._start = position
        return True

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        # Which records are the trailer is known only after reading the whole file.
        if not self._can_seek or self._options.trailer_records:
            return None
        return self._find_ends(self._first if start.byte is None else start, records)

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.let_go()
        self._reader.close()
        if self._ahead is not None:
            self._ahead.join()

    @property
    def _can_seek(self) -> bool:
        # Where a trailer begins is known only after reading the file from its start.
        return (
            self._file.can_seek
            and self._options.trailer_pattern is None
            and is_transparent(self._options.encoding)
        )

    @property
    def _is_small(self) -> bool:
        """Return whether it is a local file of one block, for which a thread costs too much."""
        most = SMALL_COMPRESSED_BYTES if self._file.is_compressed else BLOCK_BYTES
        return bool(self.paths) and (self.bytes_total or 0) <= most

    @property
    def _width(self) -> int:
        return len(self.columns) + (self._head.reasons_at is not None)

    def _find_ends(self, start: Position, records: int) -> Iterator[Position]:
        with closing(InputFile(self.paths[0])) as file:
            reader = TextReader(file, self._options.encoding)
            reader.go_to(start.byte or 0)
            last = latest = start
            next_end = start.record + records
            for block in self._place(read_blocks(reader, self._pattern, BLOCK_BYTES), start):
                block.count = block.text.records
                while next_end < block.next_record:
                    last = block.position_after(next_end)
                    yield last
                    next_end += records
                if block.count:
                    latest = block.position_after(block.next_record - 1)
            if latest.record > last.record:
                yield latest

    def _place(self, blocks: Iterator[Block], start: Position) -> Iterator[PlacedBlock]:
        """Yield each block with its position; the caller must set its ``count`` before the next."""
        position = start
        earlier: deque[PlacedBlock] = deque(maxlen=BLOCKS_REMEMBERED)
        measure = self._reader.bytes_in_file if self._can_seek else None
        while True:
            try:
                block = next(blocks, None)
            except RecordTooLongError as error:
                raise self._too_long(error, position) from error
            if block is None:
                return
            placed = PlacedBlock(block, position, tuple(earlier), measure)
            yield placed
            earlier.append(placed)
            position = placed.end()

    def _batches(self) -> Iterator[Batch]:
        is_large = (self.bytes_total or 0) > LARGE_BLOCKS * BLOCK_BYTES
        blocks = read_blocks(self._reader, self._pattern, BLOCK_BYTES, starts_small=is_large)
        if not self._is_small:
            blocks = self._ahead = ReadAhead(blocks)
        parser = BlockParser(self.name, self._options, self._width, self._head.reasons_at)
        is_empty = True
        try:
            for placed in self._place(blocks, self._start):
                yield self._batch(parser, placed)
                is_empty = False
        finally:
            if self._ahead is not None:
                self._ahead.let_go()
        if is_empty:
            columns = tuple(pa.array([], pa.binary()) for _ in range(self._width))
            yield Batch(source=self.name, records=(), columns=columns)

    def _split_misfit(self, _record: int, text: Any) -> list[str] | None:
        """Return the cells of a record that has too few or too many."""
        record = str(text).encode(errors="surrogatepass").removeprefix(BOM_UTF8)
        if self._pattern.fault_of(record) is not None:
            return None
        cells = split_record(record, self._options)
        if self._head.reasons_at is not None:
            cells = [cell for cell in cells if not cell.startswith(PREFIX)]
        return cells

    def _batch(self, parser: BlockParser, placed: PlacedBlock) -> Batch:
        parsed = parser.parse(placed.text, placed.start)
        placed.count = parsed.records
        columns, refused = parsed.columns, parsed.refused
        first = placed.start.record + 1
        self._oddities.look(placed.text, columns, _numbers(first, placed.count, refused))
        texts = {first + place: placed.text.record(place).decode() for place in refused}
        return Batch(
            source=self.name,
            records=_numbers(first, placed.count, refused),
            columns=tuple(map(self._restored, columns)),
            rejects=tuple(
                self._reject(placed, first + place, show(texts[first + place]), reason)
                for place, reason in refused.items()
            ),
            misfits=texts,
            padded=frozenset(first + place for place in parsed.padded),
            cut=frozenset(first + place for place in parsed.cut),
            split_misfit=self._split_misfit,
            find_line=placed.find_line,
            find_position=placed.position_after,
            byte_span=placed.text.byte_span,
        )

    def _without_reasons(self, batch: Batch) -> Batch:
        place = self._head.reasons_at
        if place is None:
            return batch
        columns = (*batch.columns[:place], *batch.columns[place + 1 :])
        return dataclasses.replace(batch, columns=columns)

    def _restored(self, column: pa.Array) -> pa.Array:
        if not self._reader.has_undecodable:
            return column
        cells = column.buffers()[-1]
        if cells is None or MARK.encode() not in cells.to_pybytes():
            return column
        is_marked = pc.match_substring(column, MARK)
        restored = map(restore, column.filter(is_marked).to_pylist())
        return pc.replace_with_mask(column, is_marked, pa.array(restored, pa.binary()))

    def _reject(self, placed: PlacedBlock, record: int, text: str, reason: str) -> Reject:
        return self.reject(
            record, text, reason.format(text=text[:60]), line=placed.find_line(record)
        )

    def _too_long(self, error: RecordTooLongError, position: Position) -> SourceError:
        blank = self._pattern.blank_end(error.text)
        line = (position.line or 0) + count_lines(error.text[:blank]) + 1
        shown = show(error.text[blank:][:40].decode(errors="replace"))
        where = f"{self.name}, record {position.record + 1:,} (line {line:,})"
        if error.is_open:
            return SourceError(
                f"{where} opens {OPEN_QUOTE} within {BLOCK_BYTES:,} bytes: {shown!r}. Close the "
                "quote, or give the quote and the escape character if they are different."
            )
        return SourceError(
            f"{where} is longer than {BLOCK_BYTES:,} bytes: {shown!r}. Cut the record, or give the "
            "encoding if it is different."
        )


def _numbers(first: int, count: int, refused: dict[int, str]) -> Sequence[int]:
    """Return the numbers of a block's records, which begin at ``first``, without refused ones."""
    if not refused:
        return range(first, first + count)
    return [first + place for place in range(count) if place not in refused]


def _check(options: SourceOptions) -> None:
    said = {"delimiter": options.delimiter, "quote": options.quote, "escape": options.escape}
    for name, mark in said.items():
        may_be_empty = name != "delimiter"
        if may_be_empty and not mark:
            continue
        if not mark or len(mark) != 1 or not mark.isascii() or mark in "\r\n\0":
            raise ConfigurationError(
                f"The {name} {mark!r} cannot be used: it must be one ASCII character."
            )
    if options.delimiter in (options.quote, options.escape):
        raise ConfigurationError(f"The delimiter {options.delimiter!r} has two meanings.")
    if options.escape and options.escape == options.quote:
        raise ConfigurationError(
            f"The escape {options.escape!r} is the quote: leave it out, for a quote that is "
            "written twice stands for itself without it."
        )
    comment = options.comment
    if comment is not None and (
        not comment
        or comment[0] in {options.delimiter, options.quote, options.escape}
        or any(mark in comment for mark in "\r\n")
    ):
        raise ConfigurationError(
            f"The comment mark {comment!r} cannot be used: it must be text on one line that does "
            "not begin with the delimiter, the quote or the escape."
        )
