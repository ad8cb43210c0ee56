"""Batches of raw cells, and their positions in the source."""

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
    """Text among typed values that is read like a cell of a text file: an empty one is NULL."""

    __slots__ = ()


class _LeftToPostgreSQL:
    """The value of a cell that gets the column's default in PostgreSQL."""

    def __repr__(self) -> str:
        return "(the column's default)"


LEFT_TO_POSTGRESQL = _LeftToPostgreSQL()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """A place between two records of a source."""

    record: int = 0
    """The number of the record before it."""
    byte: int | None = None
    """The byte of the file at which the next record begins; None if unknown."""
    line: int | None = None
    """The number of physical lines before it."""
    file: int = 0
    """The file's place, from 0, if the source has several."""


def no_line(_record: int) -> int | None:
    """Return None: the records are not on lines."""
    return None


def no_cells(_record: int, _given: Any) -> Sequence[Any] | None:
    """Return None: the record has no cells."""
    return None


def only_record(record: int) -> Position:
    """Return the position after a record, if only its number is known."""
    return Position(record=record)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedRecords:
    """The numbers of a batch's records, which a reject of one of them needs."""

    source: str
    """The name of the source in which the records are numbered; of several files, the one file."""
    records: Sequence[int]
    """The records' numbers in the source, from 1."""
    find_line: Callable[[int], int | None] = no_line
    """Returns the physical line of the file on which a record begins."""

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
        """Return a reject for the record at this place of the batch."""
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


class FileRecords:
    """The files of a batch that has records of several files, which are numbered consecutively.

    It is small, because some loads keep it until they end.
    """

    def __init__(self, firsts: Sequence[int], shifts: Sequence[int], names: Sequence[str]) -> None:
        """Take the first number of each file's records, and what to subtract from its numbers."""
        self._firsts, self._shifts, self._names = firsts, shifts, names

    def __len__(self) -> int:
        return len(self._names)

    def at(self, record: int) -> tuple[int, int]:
        """Return the place of the file of a record, and the record's number in that file."""
        place = max(bisect_right(self._firsts, record) - 1, 0)
        return place, record - self._shifts[place]

    def origin(self, record: int) -> tuple[str, int]:
        """Return the name of the file of a record, and the record's number in that file."""
        place, number = self.at(record)
        return self._names[place], number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch(NumberedRecords):
    """Records of a source, column by column."""

    columns: tuple[pa.Array | list[Any], ...]
    """The cells of each source column, each as long as ``records``."""
    rejects: tuple[Reject, ...] = ()
    """Rejects for records among these that could not be split into cells."""
    misfits: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    """The rejected records as they are in the source, by their numbers."""
    padded: frozenset[int] = frozenset()
    """The records with too few cells, to which empty cells were added."""
    cut: frozenset[int] = frozenset()
    """The records with too many cells, whose extra cells were dropped."""
    split_misfit: Callable[[int, Any], Sequence[Any] | None] = no_cells
    """Returns the cells of a misfit, given its number and its text, in the order of the source's
    columns; there may be too few or too many. None if it has none."""
    errors: tuple[Reject, ...] = ()
    """Cells with an error in place of a value: a record that uses one is refused."""
    skipped: int = 0
    """How many records were left out as a trailer, as the options ask."""
    find_position: Callable[[int], Position] = only_record
    """Returns the position after a record; must be called with increasing numbers."""
    refused: tuple[Reject, ...] = ()
    """Rejects for cells that a layout refused; the cells are null in ``columns``."""
    blamed: frozenset[tuple[int, str]] = frozenset()
    """The record and field of cells that are null for a reason that is already reported."""
    find_original: Callable[[str | None, int, Any], Any] | None = None
    """Returns the source's own value for a field and a record, if a layout has changed the value.

    The third argument is the changed value; it is returned for a field without a column."""
    leaves_cells: bool = False
    """Whether any cell is ``LEFT_TO_POSTGRESQL``."""
    through: int | None = None
    """The last record that this batch and the ones before it account for, once it is known."""
    byte_span: tuple[int, int] = (0, 0)
    """The bytes of the input at which its records begin and end, for the progress; approximate for
    a compressed file, and zeros if the source is not made of bytes."""
    files: FileRecords | None = None
    """The files of its records, if it has records of several files."""

    def origin(self, record: int) -> tuple[str, int]:
        """Return the name of the file of a record, and the record's number in that file."""
        return (self.source, record) if self.files is None else self.files.origin(record)

    def told(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        """Return rejects of this batch for users: each with its own file and number there."""
        if self.files is None:
            return rejects
        origins = [self.files.origin(reject.record) for reject in rejects]
        return [
            dataclasses.replace(reject, source=name, record=number)
            for reject, (name, number) in zip(rejects, origins, strict=True)
        ]

    @property
    def source_columns(self) -> tuple[pa.Array | list[Any], ...]:
        """The source's own columns, before a layout changed them."""
        return self.columns

    @property
    def records_read(self) -> int:
        """The number of records read for this batch: with refused, without skipped ones."""
        return len(self.records) + len({reject.record for reject in self.rejects})

    def byte_after(self, count: int) -> int:
        """Return the approximate byte of the input at which the first ``count`` records end."""
        start, stop = self.byte_span
        return start + (stop - start) * count // max(len(self.records), 1)

    def numbers(self) -> tuple[int, int] | None:
        """Return the smallest and the largest number of its records, including refused ones."""
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
    """Split batches after every ``rows`` records, and set their ``through``."""
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
