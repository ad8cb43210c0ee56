"""Finds the table in a sheet of a workbook, whose cells are typed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.sources.batch import CellText
from ingest.sources.cell_text import text_of
from ingest.sources.detection.dialects import Dialect
from ingest.sources.detection.tables import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.batch import Batch
    from ingest.sources.detection.detected import DetectedColumn
    from ingest.sources.detection.tables import DetectedTable

SHEET_BATCHES = 4
"""Batches of rows that are examined."""


def rows_of(batch: Batch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch, with texts as ``str``."""
    columns = [
        column if isinstance(column, list) else column.to_pylist() for column in batch.columns
    ]
    for row in zip(*columns, strict=True):
        yield tuple(_plain(cell) for cell in row)


def _plain(cell: Any) -> Any:
    return (
        cell.decode() if isinstance(cell, bytes) else str(cell) if type(cell) is CellText else cell
    )


def find_sheet_table(rows: Sequence[tuple[Any, ...]], *, is_whole: bool) -> DetectedTable:
    """Find the table among the rows of a sheet.

    A row with at most half of its cells filled is cut after the last filled one, so that a title
    does not look like a record of the table.
    """
    records = []
    for row in rows:
        cells = [text_of(cell) or "" for cell in row]
        filled = [place for place, cell in enumerate(cells) if cell]
        records.append(cells if 2 * len(filled) > len(cells) else cells[: max(filled) + 1])
    width = max(map(len, records))
    return locate(records, width, Dialect(",", '"'), is_whole=is_whole)


def with_types(
    columns: Sequence[DetectedColumn], table: DetectedTable, rows: Sequence[tuple[Any, ...]]
) -> tuple[DetectedColumn, ...]:
    """Return the columns, without marks and other formats for those with typed cells."""
    body = rows[table.start + (table.header is not None) : table.stop]
    found = []
    for place, column in enumerate(columns):
        cells = [row[place] for row in body if row[place] != ""]
        is_typed = bool(cells) and not any(isinstance(cell, str) for cell in cells)
        found.append(
            dataclasses.replace(
                column,
                other_date_format=None,
                decimal_mark=None,
                thousands_mark=None,
                unclear_mark=None,
                is_plain=True,
            )
            if is_typed
            else column
        )
    return tuple(found)
