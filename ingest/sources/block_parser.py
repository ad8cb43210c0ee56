"""Parses blocks of records to columns; refuses, pads or cuts records of another width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import IngestError, SourceError
from ingest.plurals import counted
from ingest.sources.delimited_writer import PREFIX
from ingest.sources.oddities import JOINED, joined_places
from ingest.sources.parser import CellParser
from ingest.sources.record_text import NOTHING_ESCAPED, OPEN_QUOTE, TEXT_AFTER_QUOTE

if TYPE_CHECKING:
    from ingest.sources.base import SourceOptions
    from ingest.sources.batch import Position
    from ingest.sources.record_text import Block

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


class ParsedBlock(NamedTuple):
    """The parsed records of a block, which are identified by their places in it, from 0."""

    records: int
    """The number of all records."""
    columns: list[pa.Array]
    refused: dict[int, str]
    """The reasons why records are not in the columns, by place."""
    padded: list[int]
    cut: list[int]


class BlockParser:
    """Parses the blocks of one file."""

    def __init__(
        self, name: str, options: SourceOptions, width: int, reasons_at: int | None
    ) -> None:
        """``reasons_at``: the place of the column with an earlier load's reasons, if there is one.

        ``width``: the number of columns, including that one.
        """
        self._name = name
        self._options = options
        self._width = width
        self._reasons_at = reasons_at
        self._parser = CellParser(options, width)

    def parse(self, block: Block, start: Position) -> ParsedBlock:
        """Return the columns of a block, and the reasons why some of its records are left out."""
        try:
            columns, widths = self._parser.parse(block.record_text)
        except pa.ArrowInvalid as error:
            raise SourceError(f"{self._name} cannot be read as delimited text: {error}") from error
        count = len(columns[0]) + len(widths)
        # PostgreSQL writes no mark: there, it is the beginning of a value.
        joined = () if self._options.is_postgres_csv else joined_places(block)
        faults = {**dict.fromkeys(joined, JOINED), **block.faulty_places}
        if (faults or widths) and count != block.records:
            raise IngestError(
                f"{self._name}: {counted(count, 'record was', 'records were')} parsed from "
                f"line {start.line} on, but {block.records:,} counted. This is a "
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
            columns = _without_rows(columns, dropped, sorted(widths), count)
        refused.update({place: _FAULTS[fault] for place, fault in faults.items()})
        return ParsedBlock(count, columns, dict(sorted(refused.items())), padded, cut)

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
            if width < self._width and self._reasons_at is not None:
                read[-1] = _without_old_reasons(read[-1])
            cell = None if self._options.is_postgres_csv else b""
            empty = pa.array([cell] * len(places), pa.binary())
            parts.append((read + [empty] * (self._width - width))[: self._width])
            order += places
        rows = pc.sort_indices(pa.array(order, pa.int64()))
        return [pa.concat_arrays(column).take(rows) for column in zip(*parts, strict=True)]

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
