"""Fetch defaults from PostgreSQL for single cells of a column whose other cells have values.

COPY sends a column for all rows or for none. So the default for such a cell is queried and sent;
it is the value that ``INSERT … DEFAULT`` would have stored.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import connections

from ingest.conversion.defaults import fill, is_automatic
from ingest.sources.batch import LEFT_TO_POSTGRESQL, CellText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.conversion.columns import ColumnConverter
    from ingest.postgres.catalog import Table
    from ingest.sources.batch import Batch


def complete(batch: Batch, columns: Sequence[ColumnConverter], table: Table, alias: str) -> Batch:
    """Return the batch with the default in every cell that was left to PostgreSQL."""
    if not batch.leaves_cells:
        return batch
    completed = [
        _complete(cells, converter.field, table, alias) if isinstance(cells, list) else cells
        for converter, cells in zip(columns, batch.columns, strict=False)
    ]
    return dataclasses.replace(batch, columns=tuple(completed), leaves_cells=False)


def _complete(
    cells: list[Any], field: models.Field[Any, Any], table: Table, alias: str
) -> list[Any]:
    count = sum(cell is LEFT_TO_POSTGRESQL for cell in cells)
    if not count:
        return cells
    if is_automatic(field):
        now = fill(field)
        return [now if cell is LEFT_TO_POSTGRESQL else cell for cell in cells]
    values = iter(_evaluate(field, table, alias, count))
    return [next(values) if cell is LEFT_TO_POSTGRESQL else cell for cell in cells]


def _evaluate(
    field: models.Field[Any, Any], table: Table, alias: str, count: int
) -> list[CellText | None]:
    """Return PostgreSQL's default of a column, evaluated for ``count`` new rows."""
    name = table.column(str(field.column)).name
    default = next((item for item in table.facts["defaults"] if item["column"] == name), None)
    if default is None:
        return [None] * count
    if default["identity"]:
        expression, parameters = "pg_catalog.nextval(%s::pg_catalog.regclass)", [default["name"]]
    else:  # as pg_get_expr writes it, for the search path that both connections have
        expression, parameters = str(default["expression"]).replace("%", "%%"), []
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"SELECT ({expression})::pg_catalog.text FROM pg_catalog.generate_series(1, %s)",
            [*parameters, count],
        )
        return [None if text is None else CellText(text) for (text,) in cursor.fetchall()]
