"""What travels from a source: batches of raw cells, and where in the source they stand."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from ingest.results.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from ingest.results.rejects import Kind


class CellText(str):
    """A text among typed values that is read as a cell of a text file: an empty one is NULL."""

    __slots__ = ()


class _LeftToPostgreSQL:
    """The value of a cell for which PostgreSQL's own default of the column counts."""

    def __repr__(self) -> str:
        return "(the column's default)"


LEFT_TO_POSTGRESQL = _LeftToPostgreSQL()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """A place between two records of a source."""

    record: int = 0
    """The number of the record before it."""
    byte: int | None = None
    """Where the next record begins, in bytes from the start of the file; None: not known."""
    line: int | None = None
    """How many physical lines there are before it."""
    file: int = 0
    """Which file it is in, from 0, where a source has several."""


def no_line(_record: int) -> int | None:
    """Say that the records are not on lines."""
    return None


def no_cells(_given: Any) -> Sequence[Any] | None:
    """Say that a record has no cells."""
    return None


def only_record(record: int) -> Position:
    """Return the position after a record of which no more than its number is known."""
    return Position(record=record)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedRecords:
    """Which records of a source there are in a batch, and how to reject one of them."""

    source: str
    """The name of the source that the records are numbered in: of several files, the one."""
    records: Sequence[int]
    """The records' numbers in the source, from 1."""
    find_line: Callable[[int], int | None] = no_line
    """Says on which physical line of the file the record of this number begins."""

    def reject(  # noqa: PLR0913 - what a reject says
        self,
        place: int,
        reason: str,
        kind: Kind,
        *,
        column: str | None,
        field: str | None,
        value: Any,
        constraint: str | None = None,
    ) -> Reject:
        """Return the reject of the record at this place of the batch."""
        record = self.records[place]
        return Reject(
            source=self.source,
            record=record,
            line=self.find_line(record),
            column=column,
            field=field,
            value=value,
            reason=reason,
            kind=kind,
            constraint=constraint,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch(NumberedRecords):
    """Records on their way, column by column."""

    columns: tuple[pa.Array | list[Any], ...]
    """The cells of each source column, each as long as ``records``."""
    rejects: tuple[Reject, ...] = ()
    """Records between these that could not be taken apart."""
    misfits: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    """These records as they stood, by their numbers."""
    padded: frozenset[int] = frozenset()
    """The records that had too few cells and got empty ones."""
    cut: frozenset[int] = frozenset()
    """The records that had too many cells and lost the surplus ones."""
    split_misfit: Callable[[Any], Sequence[Any] | None] = no_cells
    """Gives the cells of a misfit, in the order of the source's columns: they may be too few or too
    many. None where it has none."""
    errors: tuple[Reject, ...] = ()
    """Cells that show an error in the place of a value: a record that uses one is refused."""
    skipped: int = 0
    """How many records the options said to leave out: those of a trailer."""
    find_position: Callable[[int], Position] = only_record
    """Gives the position after the record of this number, for ever greater numbers."""
    refused: tuple[Reject, ...] = ()
    """Cells that a layout refused; they are null in ``columns``."""
    blamed: frozenset[tuple[int, str]] = frozenset()
    """The record and the field of cells that are null for a reason which is known already."""
    as_given: Callable[[Any, Reject], Reject] | None = None
    """Returns a reject of this batch with the source's own value, where a layout changed it."""
    leaves_cells: bool = False
    """Whether some cell is ``LEFT_TO_POSTGRESQL``."""
    through: int | None = None
    """The last record that this batch and those before it account for, once it is known."""
    byte_span: tuple[int, int] = (0, 0)
    """Where in the input its records begin and end, in bytes, for the progress; of a compressed
    file as nearly as can be said. Zeros where the source is not made of bytes."""

    @property
    def source_columns(self) -> tuple[pa.Array | list[Any], ...]:
        """The source's own columns, whatever was made of them."""
        return self.columns

    @property
    def records_read(self) -> int:
        """How many records the source had for this batch: the refused too, not the skipped."""
        return len(self.records) + len({reject.record for reject in self.rejects})

    def byte_after(self, count: int) -> int:
        """Return about where the first ``count`` of its records end in the input."""
        start, stop = self.byte_span
        return start + (stop - start) * count // max(len(self.records), 1)

    def numbers(self) -> tuple[int, int] | None:
        """Return the least and the greatest number of its records, the refused too."""
        ends = [reject.record for reject in self.rejects]
        if len(self.records):
            ends += [self.records[0], self.records[-1]]
        return (min(ends), max(ends)) if ends else None

    def split(self, record: int) -> tuple[Batch, Batch]:
        """Return the records up to this number, and those after it."""
        at = bisect_right(self.records, record)
        until = self.byte_after(at)
        first = dataclasses.replace(
            self,
            records=self.records[:at],
            byte_span=(self.byte_span[0], until),
            columns=tuple(column[:at] for column in self.columns),
            rejects=tuple(reject for reject in self.rejects if reject.record <= record),
            padded=frozenset(number for number in self.padded if number <= record),
            cut=frozenset(number for number in self.cut if number <= record),
            skipped=0,
            through=record,
        )
        rest = dataclasses.replace(
            self,
            records=self.records[at:],
            byte_span=(until, self.byte_span[1]),
            columns=tuple(column[at:] for column in self.columns),
            rejects=tuple(reject for reject in self.rejects if reject.record > record),
            padded=frozenset(number for number in self.padded if number > record),
            cut=frozenset(number for number in self.cut if number > record),
        )
        return first, rest


def in_pieces(batches: Iterator[Batch], rows: int | None) -> Iterator[Batch]:
    """Cut batches where a multiple of ``rows`` records has been read, and number their ends."""
    left = rows
    for whole in batches:
        rest = whole
        while (ends := rest.numbers()) is not None:
            first, last = ends
            if left is None or last - first + 1 <= left:
                left = left if left is None else left - (last - first + 1)
                rest = dataclasses.replace(rest, through=last)
                break
            piece, rest = rest.split(first + left - 1)
            yield piece
            left = rows
        yield rest
        left = left or rows
