"""A layout at work: batches of source columns become batches of a model's fields."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import LayoutError
from ingest.known_parents import BETWEEN_PARTS, KnownParents
from ingest.layout import FieldLayout, match_fields
from ingest.layout.cells import map_distinct, place_of, texts_of
from ingest.layout.picking import Picked, Picker
from ingest.layout.reading import as_text
from ingest.layout.selecting import Hook, Selection
from ingest.lookups import Parents
from ingest.rejects import Reject, shorten
from ingest.sources.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db import models

    from ingest.conversion import Converter, TypedBatch
    from ingest.layout import Layout
    from ingest.layout.cells import Cells
    from ingest.rejects import Kind
    from ingest.session import Session
    from ingest.sources import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrangedBatch(Batch):
    """A batch with a column for each field, and what is needed to tell of refused cells."""

    refused: tuple[Reject, ...] = ()
    """Cells that the layout refused; they are null in ``columns``."""
    blamed: frozenset[tuple[int, str]] = frozenset()
    """The record and the field of cells that are null for a reason told already."""
    given: tuple[Cells, ...] = ()
    """The source's columns, as they were."""
    names: tuple[str, ...] = ()
    """Their names."""

    @property
    def source_columns(self) -> tuple[Cells, ...]:
        """The source's own columns; a hook's come before them."""
        return self.given[len(self.names) :] or self.given


class Arrangement:
    """Applies a layout to the batches of one load."""

    def __init__(
        self,
        layout: Layout,
        model: type[models.Model],
        source: Source,
        session: Session,
        alias: str,
    ) -> None:
        """Plan it, or raise ``LayoutError`` for what does not fit the source or the model."""
        self._layout = _complete(layout, model, source)
        self._source = source
        names = self._layout.fields
        if self._layout.model and self._layout.model.lower() != model._meta.label_lower:
            raise layout.error(
                ("model",), f"the layout is for {self._layout.model}, not for {model._meta.label}."
            )
        self.fields = tuple(_find_field(self._layout, model, name) for name in names)
        self._pickers = {
            name: Picker(self._layout, name, field)
            for name, field in zip(names, self.fields, strict=True)
        }
        self._hook = None if layout.hook is None else Hook(layout, layout.hook)
        self._selection = Selection(layout)
        self._parents = {
            name: self._find_parents(session, alias, name, field)
            for name, field in zip(names, self.fields, strict=True)
            if names[name].lookup
        }
        self._copies = {
            name: self._split_copy(name) for name, said in names.items() if said.copy is not None
        }
        if self._hook is None:  # which may add columns
            for name, picker in self._pickers.items():
                for column in picker.feeding:
                    place_of(self._layout, column, source.columns, ("fields", name))
        self.source_columns = tuple(map(self._shown_column, names))
        """How messages call the source columns of each field."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was read otherwise than it stands in the source, a sentence each."""
        return tuple(text for picker in self._pickers.values() for text in picker.warnings)

    def apply(self, batches: Iterable[Batch]) -> Iterator[ArrangedBatch]:
        """Pick, name and read the columns of each batch."""
        named = self._selection.put_together(map(self._named, batches))
        for batch, names in named:
            yield self._arrange(self._selection.leave_out(batch, names), names)

    def judge_constants(self, converter: Converter) -> None:
        """Raise ``LayoutError`` for a constant that its field refuses, before the first row."""
        for place, name in enumerate(self._layout.fields):
            said = self._layout.fields[name]
            if said.constant is None or said.lookup:
                continue
            reason = converter.judge(place, as_text(said.constant).encode())
            if reason is not None:
                raise self._layout.error(
                    ("fields", name),
                    f"{name} refuses the value that all records get, "
                    f"{shorten(said.constant)}: {reason}",
                )

    def settle(self, typed: TypedBatch, batch: ArrangedBatch) -> TypedBatch:
        """Add what the layout refused, and show the source's own values in every reject."""
        if not typed.rejects and not batch.refused:
            return typed
        own = []
        for reject in typed.rejects:
            if (reject.record, reject.field) in batch.blamed:
                continue
            # A record that could not be read at all has no field, and is not among the batch's.
            if reject.field in self._pickers:
                place = bisect_left(batch.records, reject.record)
                value = self._original(batch, str(reject.field), place)
                own.append(dataclasses.replace(reject, value=value))
            else:
                own.append(reject)
        settled = dataclasses.replace(typed, rejects=tuple(own))
        settled = settled.without(batch.refused)
        rejects = sorted(settled.rejects, key=lambda reject: reject.record)
        return dataclasses.replace(settled, rejects=tuple(rejects))

    def _named(self, batch: Batch) -> tuple[Batch, tuple[str, ...]]:
        names = self._source.columns
        if self._hook is None:
            return batch, names
        made, names = self._hook.call(batch, names)
        return dataclasses.replace(made, columns=(*made.columns, *batch.columns)), names

    def _arrange(self, batch: Batch, names: tuple[str, ...]) -> ArrangedBatch:
        rows = len(batch.records)
        cells: dict[str, Cells] = {}
        refused: list[Reject] = []
        blamed: set[tuple[int, str]] = set()
        found: dict[str, pa.Array] = {}
        shell = _shell(batch, names)
        for name, picker in self._pickers.items():
            if name in self._copies:
                continue
            if name in self._parents:
                picked, found[name] = self._look_up(name, batch, names)
                kind: Kind = "reference"
            else:
                picked, kind = picker.pick(batch.columns, names, rows), "value"
            cells[name] = picked.cells
            dependants = [copy for copy, (origin, _) in self._copies.items() if origin == name]
            for place, reason in picked.refused:
                refused.append(self._reject(shell, name, place, reason, kind))
                blamed |= {(batch.records[place], field) for field in (name, *dependants)}
        for name, (origin, number) in self._copies.items():
            cells[name] = self._parents[origin].values(number, found[origin])
        common = {item.name: getattr(batch, item.name) for item in dataclasses.fields(Batch)}
        return ArrangedBatch(
            **{**common, "columns": tuple(cells[name] for name in self._pickers)},
            refused=tuple(refused),
            blamed=frozenset(blamed),
            given=batch.columns,
            names=names,
        )

    def _look_up(self, name: str, batch: Batch, names: tuple[str, ...]) -> tuple[Picked, pa.Array]:
        """Give the keys of the parents, and for each record the place of its parent's values."""
        known = self._parents[name]
        places = known.places_of(self._natural_keys(name, batch, names))
        refused = []
        if known.reasons:
            bad = pc.is_in(places, value_set=pa.array(known.reasons, places.type))
            refused = [
                (place, _sentence(known.reasons[places[place].as_py()]))
                for place in pc.indices_nonzero(bad).to_pylist()
            ]
        return Picked(cells=known.values(0, places), refused=refused), places

    def _natural_keys(self, name: str, batch: Batch, names: tuple[str, ...]) -> pa.Array:
        picker, said = self._pickers[name], self._layout.fields[name]
        if said.constant is not None:
            cells = picker.pick(batch.columns, names, len(batch.records)).cells
            return texts_of(cells)[0]
        parts = []
        for column in picker.columns:
            place = place_of(self._layout, column, names, ("fields", name))
            texts = pc.fill_null(texts_of(batch.columns[place])[0], "")
            parts.append(map_distinct(texts, picker.prepare_key))
        return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, BETWEEN_PARTS)

    def _reject(
        self, batch: ArrangedBatch, name: str, place: int, reason: str, kind: Kind
    ) -> Reject:
        record = batch.records[place]
        return Reject(
            source=batch.source or self._source.name,
            record=record,
            column=self._shown_column(name),
            field=name,
            value=self._original(batch, name, place),
            reason=reason,
            kind=kind,
            line=batch.find_line(record),
        )

    def _original(self, batch: ArrangedBatch, name: str, place: int) -> Any:
        feeding = self._feeding(name)
        if not feeding:
            return self._layout.fields[name].constant
        at = [place_of(self._layout, column, batch.names, ("fields", name)) for column in feeding]
        values = [_value(batch.given[number][place]) for number in at]
        return values[0] if len(values) == 1 else values

    def _feeding(self, name: str) -> tuple[Any, ...]:
        return self._pickers[self._copies[name][0] if name in self._copies else name].feeding

    def _shown_column(self, name: str) -> str:
        return (
            ", ".join(
                str(column) if isinstance(column, str) else self._name_at(column)
                for column in self._feeding(name)
            )
            or "(the layout)"
        )

    def _name_at(self, position: int) -> str:
        names = self._source.columns
        return (names[position - 1] if position <= len(names) else "") or str(position)

    def _find_parents(
        self, session: Session, alias: str, name: str, field: models.Field[Any, Any]
    ) -> KnownParents:
        said = self._layout.fields[name]
        lookup = said.lookup or ()
        columns = self._pickers[name].columns or ("",)
        if len(columns) != len(lookup):
            raise self._layout.error(
                ("fields", name, "lookup"),
                f"{name} is looked up by {len(lookup)} fields in {len(columns)} columns.",
            )
        parents = Parents(
            session,
            alias,
            self._layout,
            field,
            lookup=lookup,
            create=said.create,
            copies=self._copied_from(name),
        )
        return KnownParents(parents)

    def _copied_from(self, name: str) -> list[str]:
        """Give the parent's fields that are copied, in the order of the fields that take them."""
        copies = [said.copy.partition(".") for said in self._layout.fields.values() if said.copy]
        return [field for origin, _, field in copies if origin == name]

    def _split_copy(self, name: str) -> tuple[str, int]:
        """Give the field whose parent is copied from, and the place of the value among its."""
        origin = str(self._layout.fields[name].copy).partition(".")[0]
        if origin not in self._parents:
            raise self._layout.error(
                ("fields", name, "copy"),
                f"{name} is copied from {origin!r}, which the layout does not look up: say "
                f"{origin} = {{column = …, lookup = …}}.",
            )
        takers = [
            taker
            for taker, said in self._layout.fields.items()
            if said.copy and said.copy.partition(".")[0] == origin
        ]
        return origin, 1 + takers.index(name)


def _complete(layout: Layout, model: type[models.Model], source: Source) -> Layout:
    """Add the columns that name a field by themselves, where the layout asks for it."""
    if layout.others == "ignore":
        return layout
    used = {
        place_of(layout, column, source.columns, ("fields", name))
        for name in layout.fields
        for column in Picker(layout, name, _find_field(layout, model, name)).feeding
    }
    left = [name for place, name in enumerate(source.columns) if place not in used]
    taken = [_find_field(layout, model, name) for name in layout.fields]
    taken_names = {name for field in taken for name in (field.name, field.attname)}
    left = [name for name in left if name not in layout.fields and name not in taken_names]
    matched = match_fields(model, left, source.name)
    added = {
        field.name: FieldLayout(column=column)
        for field, column in zip(matched, left, strict=True)
        if field.name not in layout.fields
    }
    return dataclasses.replace(layout, fields={**layout.fields, **added})


def _find_field(layout: Layout, model: type[models.Model], name: str) -> models.Field[Any, Any]:
    try:
        [field] = match_fields(model, [name], "The layout")
    except LayoutError as error:
        raise layout.error(("fields", name), str(error)) from error
    return field


def _shell(batch: Batch, names: tuple[str, ...]) -> ArrangedBatch:
    common = {item.name: getattr(batch, item.name) for item in dataclasses.fields(Batch)}
    return ArrangedBatch(**common, given=batch.columns, names=names)


def _value(cell: Any) -> Any:
    cell = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    return cell.decode(errors="replace") if isinstance(cell, bytes) else cell


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
