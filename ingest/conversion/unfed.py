"""Fill columns that nothing feeds with their ``Model()`` defaults, and judge these."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.conversion.columns import RefusedCell, TypedColumn
from ingest.conversion.defaults import (
    cure,
    fill,
    is_automatic,
    is_constant,
    is_static,
    needs_instance,
)
from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.conversion.columns import ColumnConverter


class FilledColumn:
    """A column that the source does not have."""

    def __init__(self, converter: ColumnConverter, *, judges: bool) -> None:
        """``judges``: also run the field's validators, not only check that it can be stored."""
        self._converter = converter
        self._judges = judges
        self.field = converter.field
        self._is_computed = needs_instance(self.field)
        self._static: TypedColumn | None = None
        self._values: Iterable[Any] = ()

    def judge(self) -> RefusedCell | None:
        """Judge a constant default before the first row; return it if the field refuses it."""
        if self._is_computed or not is_constant(self.field):
            return None  # a counter must be called exactly once for each row
        typed = self._convert([fill(self.field)])
        if is_static(self.field):
            self._static = typed
        return next(iter(typed.refused), None)

    def fill(self, rows: int) -> TypedColumn:
        """Return the column for a number of rows."""
        if self._is_computed:
            self._values = ()
            return TypedColumn(pa.nulls(rows, self._converter.encoding.arrow_type))
        if not is_constant(self.field):
            self._values = values = [fill(self.field) for _ in range(rows)]
            return self._convert(values)
        value = fill(self.field)
        typed = self._static or self._convert([value])
        if is_automatic(self.field):
            self._values = repeat(value, rows)
        else:  # each row gets a separate list or dict
            self._values = (fill(self.field) for _ in range(rows))
        refused = [
            RefusedCell(place, cell.value, cell.reason)
            for cell in typed.refused
            for place in range(rows)
        ]
        return TypedColumn(pa.repeat(typed.values[0], rows), refused)

    def _convert(self, values: list[Any]) -> TypedColumn:
        if self._judges:
            return self._converter.convert(values)
        return self._converter.store(values, values)

    def values(self, rows: int) -> Iterable[Any] | None:
        """Return the values that the last ``fill`` set, or None if the field computes them."""
        return None if self._is_computed and rows else self._values


def judge_unfed(columns: Sequence[FilledColumn]) -> dict[str, str]:
    """Return the fields that refuse their default, each with a message."""
    told = {}
    for column in columns:
        refused = column.judge()
        if refused is None:
            continue
        field = column.field
        name = f"{field.model._meta.label}.{field.name}"
        told[field.name] = (
            f"The default of {name} is refused, {shorten(refused.value)}: {refused.reason} "
            f"No source column feeds the field: {cure(field)}."
            if field.has_default()
            else f"No source column feeds {name}, and without a value it is refused: "
            f"{refused.reason} To load it, {cure(field)}."
        )
    return told
