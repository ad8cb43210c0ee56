"""Delimited text, such as CSV, from a file, a file object or standard input."""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ConfigurationError, IngestError, SourceError
from ingest.plurals import counted
from ingest.sources.ahead import ReadAhead
from ingest.sources.base import OF_WORKBOOKS, Source, SourceOptions
from ingest.sources.batch import Batch, Position
from ingest.sources.delimited_writer import PREFIX, DelimitedWriter
from ingest.sources.files import InputFile
from ingest.sources.head import Head
from ingest.sources.oddities import JOINED, Oddities, joined_places
from ingest.sources.parser import CellParser, split_record
from ingest.sources.record_text import (
    NOTHING_ESCAPED,
    OPEN_QUOTE,
    TEXT_AFTER_QUOTE,
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
    from collections.abc import Callable, Iterator, Sequence

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
        told = []
        if skipped := self._options.skip_records:
            what = "header" if self._options.has_header else "first record"
            told.append(
                f"Left out: {counted(skipped, 'record')} before the {what} of {self.name}, as "
                "skip_records says; not counted as read."
            )
        if self._trailer is not None:
            name = "trailer_pattern" if self._options.trailer_pattern else "trailer_records"
            told.append(
                f"Left out: {counted(self._trailer, 'record')} at the end of {self.name}, as "
                f"{name} says; counted as skipped."
            )
        return (*told, *self._oddities.warnings(has_controls=self._reader.has_controls))

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
        parser = CellParser(self._options, self._width)
        is_empty = True
        try:
            for placed in self._place(blocks, self._start):
                yield self._batch(placed, self._parse(parser, placed))
                is_empty = False
        finally:
            if self._ahead is not None:
                self._ahead.let_go()
        if is_empty:
            columns = tuple(pa.array([], pa.binary()) for _ in range(self._width))
            yield Batch(source=self.name, records=(), columns=columns)

    def _parse(self, parser: CellParser, placed: PlacedBlock) -> _Parsed:
        """Return the columns of a block, and the reasons why some of its records are left out."""
        block = placed.text
        try:
            columns, widths = parser.parse(block.record_text)
        except pa.ArrowInvalid as error:
            raise SourceError(f"{self.name} cannot be read as delimited text: {error}") from error
        placed.count = len(columns[0]) + len(widths)
        # PostgreSQL writes no mark: there, it is the beginning of a value.
        joined = () if self.has_postgres_text else joined_places(block)
        faults = {**dict.fromkeys(joined, JOINED), **block.faulty_places}
        if (faults or widths) and placed.count != block.records:
            raise IngestError(
                f"{self.name}: {counted(placed.count, 'record was', 'records were')} parsed from "
                f"line {placed.start.line} on, but {block.records:,} counted. This is a "
                "fault of django-ingest: please report it with the file's dialect."
            )
        padded: list[int] = []
        cut: list[int] = []
        if self._options.lenient and widths:
            padded, cut = self._find_adaptable(widths, faults)
            columns = self._adapt(block, columns, widths, [*padded, *cut])
            adapted = {*padded, *cut}
            widths = {place: width for place, width in widths.items() if place not in adapted}
        refused = {place: self._misfit_reason(width) for place, width in widths.items()}
        dropped = [place for place in faults if place not in widths]
        if dropped:
            columns = _without_rows(columns, dropped, sorted(widths), placed.count)
        refused.update({place: _FAULTS[fault] for place, fault in faults.items()})
        return _Parsed(columns, dict(sorted(refused.items())), padded, cut)

    def _find_adaptable(
        self, widths: dict[int, int], faults: dict[int, str]
    ) -> tuple[list[int], list[int]]:
        """Return the places of the records to pad and of the records to cut."""
        lenient, sound = self._options.lenient, [it for it in widths.items() if it[0] not in faults]
        padded = [place for place, width in sound if "pad" in lenient and width < self._width]
        cut = [place for place, width in sound if "cut" in lenient and width > self._width]
        return padded, cut

    def _adapt(
        self,
        block: Block,
        columns: list[pa.Array],
        widths: dict[int, int],
        adapted: list[int],
    ) -> list[pa.Array]:
        """Insert records of other widths among the rows, padded or cut.

        ``widths``: the widths of all records that have no row yet, by their places.
        """
        places_of_width: dict[int, list[int]] = {}
        for place in adapted:
            places_of_width.setdefault(widths[place], []).append(place)
        count = len(columns[0]) + len(widths)
        order = [place for place in range(count) if place not in widths]
        parts = [columns]
        for width, places in places_of_width.items():
            text = b"\n".join(map(block.record, places)) + b"\n"
            read, _ = CellParser(self._options, width).parse(text)
            if width < self._width and self._head.reasons_at is not None:
                read[-1] = _without_old_reasons(read[-1])
            cell = None if self._options.is_postgres_csv else b""
            empty = pa.array([cell] * len(places), pa.binary())
            parts.append((read + [empty] * (self._width - width))[: self._width])
            order += places
        rows = pc.sort_indices(pa.array(order, pa.int64()))
        return [pa.concat_arrays(column).take(rows) for column in zip(*parts, strict=True)]

    def _split_misfit(self, _record: int, text: Any) -> list[str] | None:
        """Return the cells of a record that has too few or too many."""
        record = str(text).encode(errors="surrogatepass").removeprefix(BOM_UTF8)
        if self._pattern.fault_of(record) is not None:
            return None
        cells = split_record(record, self._options)
        if self._head.reasons_at is not None:
            cells = [cell for cell in cells if not cell.startswith(PREFIX)]
        return cells

    def _batch(self, placed: PlacedBlock, parsed: _Parsed) -> Batch:
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

    def _misfit_reason(self, width: int) -> str:
        cells, columns = counted(width, "cell"), counted(self._width, "column")
        if width > self._width:
            return (
                f"it has {cells}, more than the {columns}: {{text!r}}. Fix the line, "
                "quote the cell that holds a delimiter, or drop surplus cells with --lenient cut"
            )
        return (
            f"it has {cells}, fewer than the {columns}: {{text!r}}. Fix the line, or "
            "fill it with empty cells with --lenient pad"
        )

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
                "quote, or say the quote and the escape if they are others."
            )
        return SourceError(
            f"{where} is longer than {BLOCK_BYTES:,} bytes: {shown!r}. Cut the record, or say the "
            "encoding if it is another."
        )


_FAULTS = {
    OPEN_QUOTE: f"its last cell opens {OPEN_QUOTE}: {{text!r}}. Close the quote",
    TEXT_AFTER_QUOTE: (
        f"it has {TEXT_AFTER_QUOTE}: {{text!r}}. Write each quote inside the cell twice, or "
        "escape it; or take the quotes away"
    ),
    JOINED: (
        f"it begins with {JOINED}, as where files were joined: {{text!r}}. Take the mark away, and "
        "the line if it is a header; or give the files themselves, one after the other"
    ),
    NOTHING_ESCAPED: f"it ends with {NOTHING_ESCAPED}: {{text!r}}. Take it away, or write it twice",
}
"""Why a record with invalid quotes or escapes is refused."""


class _Parsed(NamedTuple):
    """The parsed records of a block, which are identified by their places in it, from 0."""

    columns: list[pa.Array]
    refused: dict[int, str]
    """The reasons why records are not in the columns, by place."""
    padded: list[int]
    cut: list[int]


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


def _numbers(first: int, count: int, refused: dict[int, str]) -> Sequence[int]:
    """Return the numbers of a block's records, which begin at ``first``, without refused ones."""
    if not refused:
        return range(first, first + count)
    return [first + place for place in range(count) if place not in refused]


def _without_rows(
    columns: list[pa.Array], dropped: list[int], gaps: list[int], count: int
) -> list[pa.Array]:
    """Return the columns without the dropped records; the records at ``gaps`` have no rows."""
    gone = set(gaps)
    places = [place for place in range(count) if place not in gone]
    unwanted = set(dropped)
    keep = pa.array([place not in unwanted for place in places], pa.bool_())
    return [column.filter(keep) for column in columns]


def _without_old_reasons(cells: pa.Array) -> pa.Array:
    """Empty the cells that contain an earlier load's reasons for refusing a record."""
    is_reason = pc.starts_with(cells, PREFIX)
    return pc.if_else(is_reason, pa.scalar(b"", cells.type), cells)


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
