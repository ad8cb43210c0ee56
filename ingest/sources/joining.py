"""Join the batches of small files.

Each step after the source works on whole batches, and needs several messages to the server for
each, which takes as long as some thousand records. So the records of many small files are loaded
together. In a joined batch they are numbered consecutively, and the batch knows the file of each
record and its number there.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.sources.batch import Batch, FileRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.results.rejects import Reject
    from ingest.sources.batch import Position

FEW_RECORDS, FEW_OBJECTS = 2_000, 256
"""The most records of a small batch; fewer if its cells are Python objects, which take more
memory."""
FEW_BYTES = 256 << 10
MOST_RECORDS = 8_192
MOST_BYTES = 1 << 20
MOST_FILES = 256
"""The most batches to join: each keeps in memory what finds the lines of its records."""
MOST_SECONDS = 1.0
"""How long the first records wait for others: files may come slowly from elsewhere."""


def join_small(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Join small batches of several files; before an error is raised, those read are yielded."""
    group: list[Batch] = []
    records = size = 0
    began = time.monotonic()
    while True:
        try:
            batch = next(batches, None)
        except Exception:
            yield from _joined(group)
            raise
        if batch is None:
            yield from _joined(group)
            return
        more = _bytes_of_small(batch)
        count = len(batch.records)
        if more is None:
            yield from _joined(group)
            group, records, size = [], 0, 0
            yield batch
            continue
        is_full = (
            records + count > MOST_RECORDS
            or size + more > MOST_BYTES
            or len(group) == MOST_FILES
            or time.monotonic() - began > MOST_SECONDS
        )
        if group and (is_full or not _fits(group[-1], batch)):
            yield from _joined(group)
            group, records, size = [], 0, 0
        if not group:
            began = time.monotonic()
        group.append(batch)
        records, size = records + count, size + more


def _bytes_of_small(batch: Batch) -> int | None:
    """Return about how much memory the cells of a batch take; None if it is not small."""
    count = len(batch.records)
    if count > FEW_RECORDS:
        return None
    has_objects = any(isinstance(column, list) for column in batch.columns)
    if has_objects:
        start, stop = batch.byte_span
        return None if count > FEW_OBJECTS or stop - start > FEW_BYTES else stop - start
    size = sum(column.nbytes for column in batch.columns if not isinstance(column, list))
    return None if size > FEW_BYTES else size


def _fits(one: Batch, other: Batch) -> bool:
    return kinds_of_cells(one) == kinds_of_cells(other)


def kinds_of_cells(batch: Batch) -> list[Any]:
    """Return the Arrow type of each column, or ``list``; equal ones can be concatenated."""
    return [list if isinstance(cells, list) else cells.type for cells in batch.columns]


def _joined(group: Sequence[Batch]) -> Iterator[Batch]:
    """Yield the batches of a group as one, if they are of several files."""
    if len({batch.source for batch in group}) < 2:  # noqa: PLR2004 - as they are of one file
        yield from group
        return
    firsts, shifts, last = [], [], None
    for batch in group:
        first, end = batch.numbers() or (1, 0)
        shift = 0 if last is None else last + 1 - first
        firsts.append(first + shift)
        shifts.append(shift)
        last = end + shift
    files = FileRecords(firsts, shifts, [batch.source for batch in group])
    found = _Finder(files, group)
    moved = list(zip(group, shifts, strict=True))
    yield Batch(
        source=f"one of the files from {group[0].source} to {group[-1].source}",
        records=_numbers(moved),
        find_line=found.line,
        columns=tuple(
            concatenated([batch.columns[at] for batch in group])
            for at in range(len(group[0].columns))
        ),
        rejects=_moved_rejects([(batch.rejects, shift) for batch, shift in moved]),
        misfits={
            record + shift: given
            for batch, shift in moved
            for record, given in batch.misfits.items()
        },
        padded=frozenset(number + shift for batch, shift in moved for number in batch.padded),
        cut=frozenset(number + shift for batch, shift in moved for number in batch.cut),
        split_misfit=found.split_misfit,
        errors=_moved_rejects([(batch.errors, shift) for batch, shift in moved]),
        skipped=sum(batch.skipped for batch in group),
        find_position=found.position,
        leaves_cells=any(batch.leaves_cells for batch in group),
        byte_span=(group[0].byte_span[0], group[-1].byte_span[1]),
        files=files,
    )


class _Finder:
    """Finds lines and positions of records by the batches that were joined."""

    def __init__(self, files: FileRecords, group: Sequence[Batch]) -> None:
        self._files = files
        # Not the batches, whose cells would stay in memory.
        self._lines = [batch.find_line for batch in group]
        self._positions = [batch.find_position for batch in group]
        self._splitters = [batch.split_misfit for batch in group]

    def line(self, record: int) -> int | None:
        place, number = self._files.at(record)
        return self._lines[place](number)

    def position(self, record: int) -> Position:
        place, number = self._files.at(record)
        return self._positions[place](number)

    def split_misfit(self, record: int, given: Any) -> Sequence[Any] | None:
        place, number = self._files.at(record)
        return self._splitters[place](number, given)


def _moved_rejects(groups: Sequence[tuple[Sequence[Reject], int]]) -> tuple[Reject, ...]:
    return tuple(
        dataclasses.replace(reject, record=reject.record + shift)
        for rejects, shift in groups
        for reject in rejects
    )


def _numbers(moved: Sequence[tuple[Batch, int]]) -> Sequence[int]:
    numbers = [
        range(batch.records.start + shift, batch.records.stop + shift)
        if isinstance(batch.records, range) and batch.records.step == 1
        else [record + shift for record in batch.records]
        for batch, shift in moved
        if len(batch.records)
    ]
    if not numbers:
        return ()
    first, last = numbers[0][0], numbers[-1][-1]
    if last - first + 1 == sum(map(len, numbers)):
        return range(first, last + 1)
    return [record for part in numbers for record in part]


def concatenated(columns: Sequence[pa.Array | list[Any]]) -> pa.Array | list[Any]:
    """Return the cells of a column of several batches."""
    if isinstance(columns[0], list):
        return [cell for column in columns for cell in column]
    return pa.concat_arrays(columns)
