"""Ranges of whole numbers that include both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

Range = tuple[int, int]


def ranges_of(numbers: pa.Array) -> list[Range]:
    """Return distinct whole numbers as ranges without gaps, in order."""
    # Django imports this module with the models at every start, when Arrow is not needed yet.
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(numbers):
        return []
    numbers = pc.cast(numbers, pa.int64())
    if pc.min(pc.pairwise_diff(numbers)).as_py() in (None, 1):  # usually they are in order
        values = numbers
    else:
        values = numbers.take(pc.sort_indices(numbers))
    jumps = pc.fill_null(pc.greater(pc.pairwise_diff(values), 1), False)
    starts = [0, *pc.indices_nonzero(jumps).to_pylist()]
    ends = [*(start - 1 for start in starts[1:]), len(values) - 1]
    firsts, lasts = values.take(pa.array(starts)), values.take(pa.array(ends))
    return list(zip(firsts.to_pylist(), lasts.to_pylist(), strict=True))


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join adjacent or overlapping ranges, which must be sorted by their first key."""
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
