"""Cells with an error in place of a value, such as ``#N/A`` in a workbook."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ingest.sources.batch import Batch


def refuse_errors(batches: Iterable[Batch], used: Collection[str] | None) -> Iterator[Batch]:
    """Refuse the records that have an error in one of the used columns (None: all columns)."""
    for batch in batches:
        yield _without_errors(batch, used) if batch.errors else batch


def _without_errors(batch: Batch, used: Collection[str] | None) -> Batch:
    errors = [it for it in batch.errors if used is None or it.column in used]
    refused = {it.record for it in errors}.intersection(batch.records)
    if not refused:
        return batch
    misfits = {
        record: [_cell(column, place) for column in batch.columns]
        for place, record in enumerate(batch.records)
        if record in refused
    }
    kept = [place for place, record in enumerate(batch.records) if record not in refused]
    rejects = [*batch.rejects, *(it for it in errors if it.record in refused)]
    return dataclasses.replace(
        batch,
        records=[batch.records[place] for place in kept],
        columns=tuple(_take(column, kept) for column in batch.columns),
        rejects=tuple(sorted(rejects, key=lambda it: it.record)),
        misfits={**batch.misfits, **misfits},
        padded=batch.padded - refused,
        cut=batch.cut - refused,
        errors=(),
    )


def _take(column: pa.Array | list[Any], places: list[int]) -> pa.Array | list[Any]:
    if isinstance(column, list):
        return [column[at] for at in places]
    return column.take(pa.array(places, pa.int64()))


def _cell(column: pa.Array | list[Any], place: int) -> Any:
    if isinstance(column, list):
        return column[place]
    value = column[place].as_py()
    return value.decode() if isinstance(value, bytes) else value
