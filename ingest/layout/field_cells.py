"""Read the cells of each field of a layout from the columns of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.layout.cells import place_of, texts_of
from ingest.layout.columns import Picked, Picker
from ingest.layout.file_values import FileValues
from ingest.layout.lookup_cache import join_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db import models

    from ingest.layout.definition import Layout
    from ingest.layout.mapped_batch import MappedBatch
    from ingest.sources import Batch, Source


class FieldCells:
    """Where the fields of a layout get their cells from, and how their text is read."""

    def __init__(
        self, layout: Layout, fields: Mapping[str, models.Field[Any, Any]], source: Source
    ) -> None:
        self._layout = layout
        self._source = source
        self.pickers = {name: Picker(layout, name, field) for name, field in fields.items()}
        self.copies = {
            name: self._split_copy(name)
            for name, rules in layout.fields.items()
            if rules.copy is not None
        }
        """The fields that are copied from a parent: the field that is looked up, and the number of
        the parent's column."""
        self.file_values = FileValues(layout, self.pickers, source)

    def pick(self, name: str, batch: Batch, names: tuple[str, ...]) -> Picked:
        """Return the cells of a field that is not looked up."""
        rows = len(batch.records)
        if name in self.file_values:
            text = self.file_values.text(name, batch)
            return Picked(cells=pa.repeat(pa.scalar(text.encode()), rows))
        return self.pickers[name].pick(batch.columns, names, rows)

    def read_keys(
        self, name: str, batch: Batch, names: tuple[str, ...]
    ) -> tuple[pa.Array, dict[int, str]]:
        """Return natural keys, empty where one cannot be read, and why it cannot, by place."""
        picker, rules = self.pickers[name], self._layout.fields[name]
        if rules.constant is not None:
            cells = picker.pick(batch.columns, names, len(batch.records)).cells
            return texts_of(cells)[0], {}
        if name in self.file_values:
            return pa.repeat(self.file_values.text(name, batch), len(batch.records)), {}
        unfit: dict[int, str] = {}
        parts = []
        for column in picker.columns:
            place = place_of(self._layout, column, names, ("fields", name))
            part, refused = picker.read_key(batch.columns[place])
            parts.append(part)
            unfit = {**dict(refused), **unfit}
        keys = join_parts(parts)
        if unfit:  # such a record has no parent, also if other parts of its key are read
            is_unfit = pc.is_in(
                pa.arange(0, len(keys)), value_set=pa.array(list(unfit), pa.int64())
            )
            keys = pc.if_else(is_unfit, "", keys)
        return keys, unfit

    def copied_from(self, name: str) -> list[str]:
        """Return the parent's fields that are copied, in the order of the fields that take them."""
        copies = [rules.copy.partition(".") for rules in self._layout.fields.values() if rules.copy]
        return [field for origin, _, field in copies if origin == name]

    def feeding(self, name: str) -> tuple[Any, ...]:
        """Return the source columns that feed a field, by name or by position."""
        return self.pickers[self._origin(name)].feeding

    def original(self, batch: MappedBatch, name: str, place: int) -> Any:
        """Return the value that the source has for a field."""
        feeding = self.feeding(name)
        origin = self._origin(name)
        if origin in self.file_values:
            return self.file_values.original(origin, batch)
        if not feeding:
            return self._layout.fields[name].constant
        at = [place_of(self._layout, column, batch.names, ("fields", name)) for column in feeding]
        values = [_value(batch.given[number][place]) for number in at]
        return values[0] if len(values) == 1 else values

    def shown_column(self, name: str) -> str:
        """Return the names of a field's source columns, for messages."""
        return ", ".join(
            str(column) if isinstance(column, str) else self._name_at(column)
            for column in self.feeding(name)
        ) or self.file_values.shown(name)

    def _origin(self, name: str) -> str:
        return self.copies[name][0] if name in self.copies else name

    def _name_at(self, position: int) -> str:
        names = self._source.columns
        return (names[position - 1] if position <= len(names) else "") or str(position)

    def _split_copy(self, name: str) -> tuple[str, int]:
        """Return the field whose parent is copied from, and the number of the copied column."""
        origin = str(self._layout.fields[name].copy).partition(".")[0]
        if origin not in self._layout.fields or not self._layout.fields[origin].lookup:
            raise self._layout.error(
                ("fields", name, "copy"),
                f"{name} is copied from {origin!r}, which the layout does not look up: write "
                f"{origin} = {{column = …, lookup = …}}.",
            )
        takers = [
            taker
            for taker, rules in self._layout.fields.items()
            if rules.copy and rules.copy.partition(".")[0] == origin
        ]
        return origin, 1 + takers.index(name)


def _value(cell: Any) -> Any:
    cell = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    return cell.decode(errors="replace") if isinstance(cell, bytes) else cell
