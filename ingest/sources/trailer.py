"""Removes the trailer of a file, after its last record: totals, balances, a disclaimer."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ConfigurationError
from ingest.results.rejects import as_text
from ingest.sources.cell_text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.sources.base import SourceOptions
    from ingest.sources.batch import Batch


def cut_trailer(batches: Iterator[Batch], options: SourceOptions) -> Iterator[Batch]:
    """Leave out the trailer that the options describe, and count its records as skipped."""
    if options.trailer_pattern is not None:
        batches = _cut_from_match(batches, options.trailer_pattern, options.delimiter)
    if options.trailer_records:
        batches = _cut_last(batches, options.trailer_records)
    return batches


def _cut_last(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    held: deque[Batch] = deque()
    for batch in batches:
        held.append(batch)
        while sum(later.records_read for later in list(held)[1:]) >= count:
            yield held.popleft()
    numbers = sorted(number for batch in held for number in _numbers(batch))
    first = numbers[-count] if len(numbers) > count else 0
    for batch in held:
        yield _before(batch, first)


def _cut_from_match(batches: Iterator[Batch], pattern: str, delimiter: str) -> Iterator[Batch]:
    _check(pattern)
    is_over = False
    for batch in batches:
        found = 0 if is_over else _first_match(batch, pattern, delimiter)
        yield batch if found is None else _before(batch, found)
        is_over |= found is not None


def _check(pattern: str) -> None:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"The trailer's pattern cannot be used: {error}") from error


def _first_match(batch: Batch, pattern: str, delimiter: str) -> int | None:
    numbers = []
    if batch.rejects:
        texts = pa.array([as_text(str(it.value)) for it in batch.rejects], pa.string())
        matches = pc.match_substring_regex(texts, pattern).to_pylist()
        numbers = [
            it.record for it, is_match in zip(batch.rejects, matches, strict=True) if is_match
        ]
    if batch.records:
        columns = map(_as_texts, batch.columns)
        joined = pc.binary_join_element_wise(*columns, delimiter.encode(), null_handling="replace")
        # As text: of bytes, a pattern's "." would match one byte, and "[ÄÖ]" any letter's first.
        matches = pc.match_substring_regex(joined.view(pa.string()), pattern)
        place = pc.index(matches, True).as_py()
        if place >= 0:
            numbers.append(batch.records[place])
    return min(numbers, default=None)


def _as_texts(cells: pa.Array | list[Any]) -> pa.Array:
    if isinstance(cells, list):
        cells = pa.array(map(text_of, cells), pa.string())
    return cells if pa.types.is_binary(cells.type) else cells.cast(pa.string()).cast(pa.binary())


def _before(batch: Batch, record: int) -> Batch:
    """Return the part of a batch before this record; the rest is counted as skipped."""
    kept = sum(number < record for number in batch.records)
    rejects = tuple(reject for reject in batch.rejects if reject.record < record)
    part = dataclasses.replace(
        batch,
        records=batch.records[:kept],
        columns=tuple(column[:kept] for column in batch.columns),
        rejects=rejects,
        padded=frozenset(number for number in batch.padded if number < record),
        cut=frozenset(number for number in batch.cut if number < record),
    )
    skipped = batch.records_read - part.records_read
    return dataclasses.replace(part, skipped=batch.skipped + skipped)


def _numbers(batch: Batch) -> set[int]:
    return {*batch.records, *(reject.record for reject in batch.rejects)}
