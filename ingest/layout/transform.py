"""Apply a layout: convert batches of source columns to batches of a model's fields."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ConfigurationError
from ingest.layout import Layout
from ingest.layout.cells import place_of
from ingest.layout.completing import complete, find_field, needs_layout
from ingest.layout.field_cells import FieldCells
from ingest.layout.mapped_batch import Made, MappedBatch
from ingest.layout.parents import Parents
from ingest.layout.row_filters import Hook, Selection
from ingest.layout.text_reader import KINDS_READ, as_text
from ingest.results.rejects import Reject, shorten
from ingest.sources.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from django.db import models

    from ingest.layout.cells import Cells
    from ingest.postgres.session import Session
    from ingest.results.rejects import Kind
    from ingest.sources import Source

    Judge = Callable[["MappedBatch"], set[int]]
    """Returns the records of a batch that their fields refuse."""


class LayoutTransform:
    """Applies a layout to the batches of one load."""

    def __init__(  # noqa: PLR0913 - it is built in two places
        self,
        layout: Layout,
        model: type[models.Model],
        source: Source,
        session: Session,
        alias: str,
        *,
        refuses: bool = False,
        sends: bool = True,
    ) -> None:
        """Prepare the layout; raise ``LayoutError`` if it does not fit the source or the model.

        ``refuses``: whether records are refused alone; then a refused record leaves no parent
        behind. ``sends``: whether each batch is sent before the next is made. If not, a record of a
        tree is not refused because its parent is missing: that may be an earlier record.
        """
        self._layout, self._notes = complete(layout, model, source)
        self._source = source
        self._session = session
        self._refuses, self._sends = refuses, sends
        names = self._layout.fields
        if self._layout.model and self._layout.model.lower() != model._meta.label_lower:
            raise layout.error(
                ("model",), f"the layout is for {self._layout.model}, not for {model._meta.label}."
            )
        self.fields = tuple(find_field(self._layout, model, name) for name in names)
        self._hook = None if layout.hook is None else Hook(layout, layout.hook)
        self._selection = Selection(layout)
        fields = dict(zip(names, self.fields, strict=True))
        self._cells = FieldCells(self._layout, fields, source)
        self._parents = Parents(self._layout, self._cells, session, alias, refuses=refuses)
        session.looks_back = session.reads_own_rows = self._parents.is_tree
        if self._hook is None:  # a hook may add columns
            for name, picker in self._cells.pickers.items():
                for column in picker.feeding:
                    place_of(self._layout, column, source.columns, ("fields", name))
        self._check_asked()
        self.source_columns = tuple(map(self._cells.shown_column, names))
        """The names of each field's source columns in messages."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about matched columns, changed values, and parents that were kept."""
        warnings = (text for picker in self._cells.pickers.values() for text in picker.warnings)
        return (*self._notes, *warnings, *self._parents.warnings)

    @property
    def joins_files(self) -> bool:
        """Return whether records of several files may be in one batch: none asks for its file."""
        return self._layout.continuation is None and not self._cells.file_values

    @property
    def used_columns(self) -> frozenset[str] | None:
        """The source columns that affect how a record is loaded; None means all."""
        if self._hook is not None:
            return None
        conditions = self._selection.columns
        feeding = [column for picker in self._cells.pickers.values() for column in picker.feeding]
        names = self._source.columns
        return frozenset(
            names[place_of(self._layout, column, names, ("fields",))]
            for column in (*feeding, *conditions)
        )

    def apply(self, batches: Iterable[Batch], judge: Judge | None = None) -> Iterator[MappedBatch]:
        """Pick, name and read the columns of each batch.

        ``judge`` returns the records that other fields refuse; no parents are created for these.
        """
        named = self._selection.put_together(map(self._named, batches))
        for batch, names in named:
            for piece in self._parents.pieces(self._selection.leave_out(batch, names), names):
                yield self._map(piece, names, judge if self._refuses else None)

    def take_back(self, batch: MappedBatch, accepted: Collection[int]) -> None:
        """Delete the parents that were created for a batch and that none of its rows uses.

        ``accepted``: the numbers of the records whose rows were loaded.
        """
        self._parents.take_back(batch, accepted)

    def judge_constants(self, judge: Callable[[int, bytes], str | None]) -> None:
        """Raise ``LayoutError`` for a constant that its field refuses, before the first row.

        ``judge`` returns why the field at a place refuses a cell, or None.
        """
        for place, name in enumerate(self._layout.fields):
            rules = self._layout.fields[name]
            if rules.constant is None or rules.lookup:
                continue
            reason = judge(place, as_text(rules.constant).encode())
            if reason is not None:
                raise self._layout.error(
                    ("fields", name),
                    f"{name} refuses the value that all records get, "
                    f"{shorten(rules.constant)}: {reason}",
                )
        for place, name in enumerate(self._layout.fields):
            for file, value in self._cells.file_values.values_of(name):
                reason = None
                if not self._layout.fields[name].lookup:
                    reason = judge(place, value.text.encode())
                if reason is not None:
                    raise self._layout.error(
                        ("fields", name),
                        f"{name} refuses the value that all records of {file} get, "
                        f"{shorten(value.text)}: {reason}",
                    )

    def _find_original(self, batch: MappedBatch, field: str | None, record: int, value: Any) -> Any:
        """Return the value that the source has for a field of a record."""
        # A record that could not be read at all has no field, and is not in the batch.
        if field not in self._cells.pickers:
            return value
        return self._cells.original(batch, field, bisect_left(batch.records, record))

    def _check_asked(self) -> None:
        """Raise ``ConfigurationError`` if an option of the caller applies to no field."""
        read = [
            picker
            for name, picker in self._cells.pickers.items()
            if picker.feeding or name in self._cells.file_values
        ]
        for key, option in self._layout.asked.items():
            if not any(picker.is_read_by(key) for picker in read):
                raise ConfigurationError(
                    f"{option} has no effect: {self._source.name} feeds no field that is "
                    f"{KINDS_READ[key]}{' as it says' if key == 'formats' else ''}. Leave it out."
                )

    def _named(self, batch: Batch) -> tuple[Batch, tuple[str, ...]]:
        names = self._source.columns
        if self._hook is None:
            return batch, names
        made, names = self._hook.call(batch, names)
        return dataclasses.replace(made, columns=(*made.columns, *batch.columns)), names

    def _map(self, batch: Batch, names: tuple[str, ...], judge: Judge | None = None) -> MappedBatch:
        self._session.looks_back = self._session.reads_own_rows
        if not self._parents:
            return self._build(batch, names, {})
        places = self._parents.find(batch, names)
        missing = self._parents.missing(places)
        if not missing:
            return self._build(batch, names, places)
        refused = set() if judge is None else self._judge(batch, names, places, missing, judge)
        made = self._parents.make(batch, places, missing, refused)
        built = self._build(batch, names, places, refused)
        if judge is None:
            return built
        # Which of them are used must be known before the next batch is looked up.
        self._session.looks_back |= any(made.values())
        return dataclasses.replace(
            built, made={name: Made(new, places[name]) for name, new in made.items() if new}
        )

    def _judge(
        self,
        batch: Batch,
        names: tuple[str, ...],
        places: Mapping[str, pa.Array],
        missing: Mapping[str, pa.BooleanArray],
        judge: Judge,
    ) -> set[int]:
        """Return the records that are refused even if their missing parents are created.

        One accepted record is enough to create a parent. So the first record of each parent is
        judged, and the others only if it was refused.
        """
        first = {at for name, mask in missing.items() for at in _first_places(places[name], mask)}
        refused = self._judge_places(first, batch, names, places, missing, judge)
        records = pa.array(batch.records)
        is_wanted = pc.and_not(
            pc.is_in(records, value_set=pa.array([batch.records[at] for at in first], pa.int64())),
            pc.is_in(records, value_set=pa.array(list(refused), pa.int64())),
        )
        rest: set[int] = set()
        for name, mask in missing.items():
            wanted = places[name].filter(pc.and_(mask, is_wanted)).unique()
            is_open = pc.and_not(mask, pc.is_in(places[name], value_set=wanted))
            rest.update(pc.indices_nonzero(is_open).to_pylist())
        rest -= first
        if rest:
            refused |= self._judge_places(rest, batch, names, places, missing, judge)
        return refused

    def _judge_places(
        self,
        chosen: set[int],
        batch: Batch,
        names: tuple[str, ...],
        places: Mapping[str, pa.Array],
        missing: Mapping[str, pa.BooleanArray],
        judge: Judge,
    ) -> set[int]:
        """Return the refused ones of the chosen records; try to make instances of their parents."""
        at = pa.array(sorted(chosen), pa.int64())
        few = _take_records(batch, at)
        found = {name: keys.take(at) for name, keys in places.items()}
        refused = judge(self._build(few, names, found, waits=True))
        for name, mask in missing.items():
            gone = self._parents.find_unmakeable(name, found[name], mask.take(at))
            refused |= {few.records[place] for place in pc.indices_nonzero(gone).to_pylist()}
        return refused

    def _build(
        self,
        batch: Batch,
        names: tuple[str, ...],
        places: Mapping[str, pa.Array],
        quiet: Collection[int] = (),
        *,
        waits: bool = False,
    ) -> MappedBatch:
        """Read all columns; ``places`` are the places of the parents.

        The records in ``quiet`` are refused for other reasons than a missing parent. ``waits``: no
        record is refused because of a missing parent.
        """
        cells: dict[str, Cells] = {}
        refused: list[Reject] = []
        blamed: set[tuple[int, str]] = set()
        shell = _shell(batch, names)
        for name in self._cells.pickers:
            if name in self._cells.copies:
                continue
            if name in self._parents:
                picked = self._parents.keys(name, places[name])
                kind: Kind = "reference"
            else:
                picked, kind = self._cells.pick(name, batch, names), "value"
            cells[name] = picked.cells
            dependants = [
                copy for copy, (origin, _) in self._cells.copies.items() if origin == name
            ]
            for place, reason in picked.refused:
                blamed |= {(batch.records[place], field) for field in (name, *dependants)}
                if name in places and self._parents.is_pending(name, places[name][place].as_py()):
                    is_excused = waits or batch.records[place] in quiet
                    may_be_earlier = self._parents.is_of_tree(name) and not self._sends
                    if may_be_earlier or (self._parents.can_make(name) and is_excused):
                        continue
                refused.append(self._reject(shell, name, place, reason, kind))
            for place, reason in self._parents.unfit_keys(name, batch, names):
                blamed |= {(batch.records[place], field) for field in (name, *dependants)}
                refused.append(self._reject(shell, name, place, reason, "value"))
        for name, (origin, number) in self._cells.copies.items():
            cells[name] = self._parents.values(origin, number, places[origin])
        common = {item.name: getattr(batch, item.name) for item in dataclasses.fields(Batch)}
        return MappedBatch(
            **{
                **common,
                "columns": tuple(cells[name] for name in self._cells.pickers),
                "refused": tuple(refused),
                "blamed": frozenset(blamed),
                "find_original": partial(self._find_original, shell),
            },
            given=batch.columns,
            names=names,
        )

    def _reject(self, batch: MappedBatch, name: str, place: int, reason: str, kind: Kind) -> Reject:
        return batch.reject(
            place,
            reason,
            kind,
            column=self._cells.shown_column(name),
            field=name,
            value=self._cells.original(batch, name, place),
        )


def find_transform(
    layout: Layout | None,
    model: type[models.Model],
    source: Source,
    session: Session,
    alias: str,
    **how: bool,
) -> LayoutTransform | None:
    """Return the transform for a layout; None if the columns feed the fields unchanged.

    ``how`` is passed to ``LayoutTransform``. Raises ``LayoutError`` if the layout does not fit the
    source or the model.
    """
    if layout is None and needs_layout(model, source):
        layout = Layout(others="match")
    return None if layout is None else LayoutTransform(layout, model, source, session, alias, **how)


def _shell(batch: Batch, names: tuple[str, ...]) -> MappedBatch:
    common = {item.name: getattr(batch, item.name) for item in dataclasses.fields(Batch)}
    return MappedBatch(**common, given=batch.columns, names=names)


def _first_places(places: pa.Array, mask: pa.BooleanArray) -> list[int]:
    """Return the first place of each distinct value under the mask."""
    at = pc.indices_nonzero(mask)
    found = pa.table({"place": places.take(at), "at": at}).group_by("place")
    return list(found.aggregate([("at", "min")])["at_min"].to_pylist())


def _take_records(batch: Batch, places: pa.Array) -> Batch:
    """Return some records of a batch, without the rejects of records that could not be split."""
    at = places.to_pylist()

    def take(cells: Cells) -> Cells:
        return [cells[place] for place in at] if isinstance(cells, list) else cells.take(places)

    return dataclasses.replace(
        batch,
        records=[batch.records[place] for place in at],
        columns=tuple(map(take, batch.columns)),
        rejects=(),
    )
