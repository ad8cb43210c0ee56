"""Choose which records are written together.

With more records, the pages of the table and its indexes are visited fewer times. But the first
records should not wait, and all records may be refused, which takes memory.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.sources.batch import Batch
from ingest.sources.joining import concatenated, kinds_of_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ingest.conversion import TypedBatch

MOST_RECORDS = 65_536
"""The most records of one batch that are written together. A batch of narrow rows has more."""
JOINED_RECORDS = 2 * MOST_RECORDS
"""The most records of several batches that are written together, if hardly any are refused."""
GROWTH = 8
"""How many times as large as the last group, of which hardly any were refused, the next may be."""
JOINED_BYTES = 12 << 20
"""The most bytes of their rows in memory. Two groups are in memory at a time, each as it was read
and as it is stored."""


def in_pieces(batch: TypedBatch) -> Iterator[TypedBatch]:
    """Yield a batch in pieces that are small enough for all of their records to be refused."""
    # Whether the parents created for a batch are kept depends on all of its records.
    if len(batch.records) <= MOST_RECORDS or getattr(batch.batch, "made", None):
        yield batch
        return
    rejects, source, begin = batch.rejects, batch.batch, batch.batch.byte_span[0]
    for start in range(0, len(batch.records), MOST_RECORDS):
        records = batch.records[start : start + MOST_RECORDS]
        is_last = start + MOST_RECORDS >= len(batch.records)
        count = len(rejects)
        if not is_last:
            count = bisect_right(rejects, records[-1], key=lambda reject: reject.record)
        mine, rejects = rejects[:count], rejects[count:]
        rows = batch.rows.slice(start, MOST_RECORDS)
        end = source.byte_span[1]
        if not is_last:
            end = source.byte_after(bisect_right(source.records, records[-1]))
        part = dataclasses.replace(
            source, skipped=source.skipped if is_last else 0, byte_span=(begin, end)
        )
        begin = end
        yield dataclasses.replace(batch, rows=rows, records=records, rejects=mine, batch=part)


def grouped(batches: Iterable[TypedBatch], may_wait: Callable[[], bool]) -> Iterator[TypedBatch]:
    """Yield groups of batches as one batch each, up to eight times as large as the last.

    ``may_wait`` returns whether another batch may be read before the last one is sent.
    """
    given = iter(batches)
    before = 0
    first = next(given, None)
    while first is not None:
        group = [first]
        first, size, room = None, len(group[0].records), min(GROWTH * before, JOINED_RECORDS)
        while size < room and _is_joinable(group[0]) and may_wait():
            first = next(given, None)
            if first is None or not _belongs(group, first) or size + len(first.records) > room:
                break
            group.append(first)
            size += len(first.records)
            first = None
        before = size
        if len(group) == 1:
            yield from in_pieces(group[0])
        else:
            yield joined(group)
        del group  # while the next one is read
        if first is None:
            first = next(given, None)


def _is_joinable(batch: TypedBatch) -> bool:
    # A layout's batches have additional data, such as the parents created for them.
    return type(batch.batch) is Batch and 0 < len(batch.records) <= MOST_RECORDS


def _belongs(group: Sequence[TypedBatch], batch: TypedBatch) -> bool:
    """Return whether a batch can be joined to those before it."""
    last = group[-1]
    one, other = last.batch, batch.batch
    return (
        _is_joinable(batch)
        and last.source == batch.source
        and last.records[-1] < batch.records[0]
        and last.rows.schema.equals(batch.rows.schema)
        and last.origins == batch.origins
        and one.split_misfit == other.split_misfit
        and (one.find_original is None) == (other.find_original is None)
        and kinds_of_cells(one) == kinds_of_cells(other)
        and sum(item.rows.nbytes for item in (*group, batch)) <= JOINED_BYTES
    )


def joined(group: Sequence[TypedBatch]) -> TypedBatch:
    """Return consecutive batches of a source as one batch."""
    last, sources = group[-1], [item.batch for item in group]
    find_line = _line_finder(group)
    batch = dataclasses.replace(
        sources[-1],  # the position in the source is that of the last batch
        records=_numbers(sources),
        find_line=find_line,
        find_original=_original_finder(sources),
        columns=tuple(
            concatenated([item.columns[at] for item in sources])
            for at in range(len(sources[-1].columns))
        ),
        rejects=tuple(reject for item in sources for reject in item.rejects),
        misfits={number: it for item in sources for number, it in item.misfits.items()},
        padded=frozenset().union(*(item.padded for item in sources)),
        cut=frozenset().union(*(item.cut for item in sources)),
        errors=tuple(reject for item in sources for reject in item.errors),
        skipped=sum(item.skipped for item in sources),
        refused=tuple(reject for item in sources for reject in item.refused),
        blamed=frozenset().union(*(item.blamed for item in sources)),
        leaves_cells=any(item.leaves_cells for item in sources),
        byte_span=(sources[0].byte_span[0], sources[-1].byte_span[1]),
    )
    return dataclasses.replace(
        last,
        rows=pa.concat_batches([item.rows for item in group]),
        records=_numbers(group),
        find_line=find_line,
        rejects=tuple(reject for item in group for reject in item.rejects),
        records_read=sum(item.records_read for item in group),
        batch=batch,
    )


def _numbers(batches: Sequence[Batch] | Sequence[TypedBatch]) -> Sequence[int]:
    if all(isinstance(item.records, range) and item.records.step == 1 for item in batches):
        first, last = batches[0].records[0], batches[-1].records[-1]
        if last - first + 1 == sum(len(item.records) for item in batches):
            return range(first, last + 1)
    return [number for item in batches for number in item.records]


def _original_finder(
    batches: Sequence[Batch],
) -> Callable[[str | None, int, Any], Any] | None:
    """Return a function like ``Batch.find_original`` for several batches."""
    firsts = [min(batch.numbers() or (0,)) for batch in batches]
    finders = [batch.find_original for batch in batches]

    def find(field: str | None, record: int, value: Any) -> Any:
        finder = finders[max(bisect_right(firsts, record) - 1, 0)]
        return value if finder is None else finder(field, record, value)

    return None if finders[0] is None else find


def _line_finder(group: Sequence[TypedBatch]) -> Callable[[int], int | None]:
    """Return a function that returns the line on which a record begins."""
    firsts = [min(item.batch.numbers() or (0,)) for item in group]
    finders = [item.find_line for item in group]
    return lambda record: finders[max(bisect_right(firsts, record) - 1, 0)](record)
