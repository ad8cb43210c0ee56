"""Apply a layout: convert batches of source columns to batches of a model's fields."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ConfigurationError
from ingest.layout import Layout
from ingest.layout.cells import place_of, texts_of
from ingest.layout.columns import Picked, Picker
from ingest.layout.completing import complete, find_field, needs_layout
from ingest.layout.found_values import FoundValues
from ingest.layout.lookup_cache import LookupCache, join_parts
from ingest.layout.lookups import NaturalKeyLookup
from ingest.layout.new_parents import NewParents
from ingest.layout.row_filters import Hook, Selection
from ingest.layout.text_reader import KINDS_READ, as_text
from ingest.plurals import counted
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


class Made(NamedTuple):
    """The parents that one field's look-up created for a batch."""

    parents: frozenset[int]
    """The places of the created parents among all known parents."""
    places: pa.Array
    """The place of each record's parent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MappedBatch(Batch):
    """A batch with a column for each field, and the original cells for its rejects."""

    given: tuple[Cells, ...] = ()
    """The source's columns, unchanged."""
    names: tuple[str, ...] = ()
    """The names of these columns."""
    made: Mapping[str, Made] = dataclasses.field(default_factory=dict)
    """The parents that were created for it, by field."""

    @property
    def source_columns(self) -> tuple[Cells, ...]:
        """The source's own columns, without those of a hook, which come before them."""
        return self.given[len(self.names) :] or self.given


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
        self._unfit: set[str] = set()
        """The look-ups of which some natural key could not be read so far."""
        self._kept: dict[str, None] = {}
        names = self._layout.fields
        if self._layout.model and self._layout.model.lower() != model._meta.label_lower:
            raise layout.error(
                ("model",), f"the layout is for {self._layout.model}, not for {model._meta.label}."
            )
        self.fields = tuple(find_field(self._layout, model, name) for name in names)
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
        is_tree = any(known.is_tree for known in self._parents.values())
        session.looks_back = session.reads_own_rows = is_tree
        self._copies = {
            name: self._split_copy(name) for name, said in names.items() if said.copy is not None
        }
        if self._hook is None:  # a hook may add columns
            for name, picker in self._pickers.items():
                for column in picker.feeding:
                    place_of(self._layout, column, source.columns, ("fields", name))
        self._found = FoundValues(self._layout, self._pickers, source)
        self._check_asked()
        self.source_columns = tuple(map(self._shown_column, names))
        """The names of each field's source columns in messages."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about matched columns, changed values, and parents that were kept."""
        warnings = (text for picker in self._pickers.values() for text in picker.warnings)
        return (*self._notes, *warnings, *self._kept)

    @property
    def joins_files(self) -> bool:
        """Return whether records of several files may be in one batch: none asks for its file."""
        return self._layout.continuation is None and not self._found

    @property
    def used_columns(self) -> frozenset[str] | None:
        """The source columns that affect how a record is loaded; None means all."""
        if self._hook is not None:
            return None
        conditions = self._selection.columns
        feeding = [column for picker in self._pickers.values() for column in picker.feeding]
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
            for piece in self._pieces(self._selection.leave_out(batch, names), names):
                yield self._map(piece, names, judge if self._refuses else None)

    def take_back(self, batch: MappedBatch, accepted: Collection[int]) -> None:
        """Delete the parents that were created for a batch and that none of its rows uses.

        ``accepted``: the numbers of the records whose rows were loaded. A parent is kept if another
        row refers to it, and also, with a warning, if PostgreSQL refuses to delete it.
        """
        is_in = pc.is_in(pa.array(batch.records), value_set=pa.array(accepted, pa.int64()))
        unused = {
            name: self._parents[name].referred(
                made.parents - set(made.places.filter(is_in).to_pylist())
            )
            for name, made in batch.made.items()
        }
        for name, values in unused.items():
            if values:
                self._kept.update(
                    dict.fromkeys(filter(None, [self._parents[name].take_back(values)]))
                )
        if any(unused.values()):
            for known in self._parents.values():
                known.forget()

    def judge_constants(self, judge: Callable[[int, bytes], str | None]) -> None:
        """Raise ``LayoutError`` for a constant that its field refuses, before the first row.

        ``judge`` returns why the field at a place refuses a cell, or None.
        """
        for place, name in enumerate(self._layout.fields):
            said = self._layout.fields[name]
            if said.constant is None or said.lookup:
                continue
            reason = judge(place, as_text(said.constant).encode())
            if reason is not None:
                raise self._layout.error(
                    ("fields", name),
                    f"{name} refuses the value that all records get, "
                    f"{shorten(said.constant)}: {reason}",
                )
        for place, name in enumerate(self._layout.fields):
            for file, value in self._found.values_of(name):
                reason = None
                if not self._layout.fields[name].lookup:
                    reason = judge(place, value.text.encode())
                if reason is not None:
                    raise self._layout.error(
                        ("fields", name),
                        f"{name} refuses the value that all records of {file} get, "
                        f"{shorten(value.text)}: {reason}",
                    )

    def _as_given(self, batch: MappedBatch, reject: Reject) -> Reject:
        """Return the reject of a field with the value that the source had."""
        # A record that could not be read at all has no field, and is not in the batch.
        if reject.field not in self._pickers:
            return reject
        place = bisect_left(batch.records, reject.record)
        return dataclasses.replace(reject, value=self._original(batch, reject.field, place))

    def _check_asked(self) -> None:
        """Raise ``ConfigurationError`` if an option of the caller applies to no field."""
        read = [
            picker
            for name, picker in self._pickers.items()
            if picker.feeding or name in self._found
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

    def _pieces(self, batch: Batch, names: tuple[str, ...]) -> Iterator[Batch]:
        """Split a batch before each record whose parent may be an earlier record of the piece.

        The parent is then in the table when the record's own piece is looked up.
        """
        trees = [name for name, known in self._parents.items() if known.is_tree]
        if not trees or not len(batch.records):
            yield batch
            return
        cuts: set[int] = set()
        for name in trees:
            cuts |= self._cuts(name, batch, names)
        records = batch.records
        for place in sorted(cuts):
            piece, batch = batch.split(records[place] - 1)
            yield piece
        yield batch

    def _map(self, batch: Batch, names: tuple[str, ...], judge: Judge | None = None) -> MappedBatch:
        self._session.looks_back = self._session.reads_own_rows
        if not self._parents:
            return self._build(batch, names, {})
        places = {
            name: known.places_of(self._natural_keys(name, batch, names))
            for name, known in self._parents.items()
        }
        missing = {
            name: self._parents[name].is_missing(at)
            for name, at in places.items()
            if self._parents[name].can_make and self._parents[name].missing
        }
        missing = {name: mask for name, mask in missing.items() if pc.any(mask).as_py()}
        if not missing:
            return self._build(batch, names, places)
        refused = set() if judge is None else self._judge(batch, names, places, missing, judge)
        made = self._make(batch, places, missing, refused)
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
            known = self._parents[name]
            wanted = found[name].filter(mask.take(at)).unique().to_pylist()
            known.prepare([place for place in wanted if place in known.missing])
            gone = pc.and_not(mask.take(at), known.is_missing(found[name]))
            refused |= {few.records[place] for place in pc.indices_nonzero(gone).to_pylist()}
        return refused

    def _make(
        self,
        batch: Batch,
        places: Mapping[str, pa.Array],
        missing: Mapping[str, pa.BooleanArray],
        refused: set[int],
    ) -> dict[str, frozenset[int]]:
        made = {}
        is_out = pc.is_in(pa.array(batch.records), value_set=pa.array(list(refused), pa.int64()))
        for name, mask in missing.items():
            known = self._parents[name]
            wanted = places[name].filter(pc.and_not(mask, is_out)).unique().to_pylist()
            prepared = known.prepare([place for place in wanted if place in known.missing])
            made[name] = known.make(prepared) if prepared else frozenset()
        return made

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
        for name in self._pickers:
            if name in self._copies:
                continue
            if name in self._parents:
                picked = self._look_up(name, places[name])
                kind: Kind = "reference"
            else:
                picked, kind = self._pick(name, batch, names), "value"
            cells[name] = picked.cells
            dependants = [copy for copy, (origin, _) in self._copies.items() if origin == name]
            for place, reason in picked.refused:
                blamed |= {(batch.records[place], field) for field in (name, *dependants)}
                known = self._parents.get(name)
                if known is not None and places[name][place].as_py() in known.missing:
                    is_excused = waits or batch.records[place] in quiet
                    may_be_earlier = known.is_tree and not self._sends
                    if may_be_earlier or (known.can_make and is_excused):
                        continue
                refused.append(self._reject(shell, name, place, reason, kind))
            for place, reason in self._unfit_keys(name, batch, names):
                blamed |= {(batch.records[place], field) for field in (name, *dependants)}
                refused.append(self._reject(shell, name, place, reason, "value"))
        for name, (origin, number) in self._copies.items():
            cells[name] = self._parents[origin].values(number, places[origin])
        common = {item.name: getattr(batch, item.name) for item in dataclasses.fields(Batch)}
        return MappedBatch(
            **{
                **common,
                "columns": tuple(cells[name] for name in self._pickers),
                "refused": tuple(refused),
                "blamed": frozenset(blamed),
                "as_given": self._as_given,
            },
            given=batch.columns,
            names=names,
        )

    def _pick(self, name: str, batch: Batch, names: tuple[str, ...]) -> Picked:
        """Return the cells of a field that is not looked up."""
        rows = len(batch.records)
        if name in self._found:
            text = self._found.text(name, batch)
            return Picked(cells=pa.repeat(pa.scalar(text.encode()), rows))
        return self._pickers[name].pick(batch.columns, names, rows)

    def _unfit_keys(
        self, name: str, batch: Batch, names: tuple[str, ...]
    ) -> Iterable[tuple[int, str]]:
        """Return the places of cells without a natural key, and why."""
        if name not in self._unfit:
            return ()
        return self._read_keys(name, batch, names)[1].items()

    def _look_up(self, name: str, places: pa.Array) -> Picked:
        """Return the keys of the parents at these places, and why some have none."""
        known = self._parents[name]
        refused = []
        if known.reasons:
            bad = pc.is_in(places, value_set=pa.array(list(known.reasons), places.type))
            refused = [
                (place, _sentence(known.reasons[places[place].as_py()]))
                for place in pc.indices_nonzero(bad).to_pylist()
            ]
        return Picked(cells=known.values(0, places), refused=refused)

    def _cuts(self, name: str, batch: Batch, names: tuple[str, ...]) -> set[int]:
        """Return the places before which a batch is split, for one look-up in its own table."""
        known, said = self._parents[name], self._layout.fields[name]
        places = known.places_of(self._natural_keys(name, batch, names))
        is_missing = known.is_missing(places)
        if not pc.any(is_missing).as_py():
            return set()
        own: list[pa.Array] = []
        for field in said.lookup or ():
            if field in self._parents or field in self._copies or field not in self._pickers:
                # The key is known only after the record is loaded, so each may wait for the others.
                return {place for place in pc.indices_nonzero(is_missing).to_pylist() if place}
            picked = self._pick(field, batch, names)
            own.append(pc.fill_null(texts_of(picked.cells)[0], ""))
        keys = known.comparable(list(zip(*(texts.to_pylist() for texts in own), strict=True)))
        wanted = known.comparable_missing(places)
        cuts: set[int] = set()
        earlier: set[Any] = set()
        for place, (key, parent) in enumerate(zip(keys, places.to_pylist(), strict=True)):
            if parent in wanted and wanted[parent] in earlier:
                cuts.add(place)
                earlier = set()
            earlier.add(key)
        return cuts

    def _natural_keys(self, name: str, batch: Batch, names: tuple[str, ...]) -> pa.Array:
        return self._read_keys(name, batch, names)[0]

    def _read_keys(
        self, name: str, batch: Batch, names: tuple[str, ...]
    ) -> tuple[pa.Array, dict[int, str]]:
        """Return natural keys, empty where one cannot be read, and why it cannot, by place."""
        picker, said = self._pickers[name], self._layout.fields[name]
        if said.constant is not None:
            cells = picker.pick(batch.columns, names, len(batch.records)).cells
            return texts_of(cells)[0], {}
        if name in self._found:
            return pa.repeat(self._found.text(name, batch), len(batch.records)), {}
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
            self._unfit.add(name)
            keys = pc.if_else(is_unfit, "", keys)
        return keys, unfit

    def _reject(self, batch: MappedBatch, name: str, place: int, reason: str, kind: Kind) -> Reject:
        return batch.reject(
            place,
            reason,
            kind,
            column=self._shown_column(name),
            field=name,
            value=self._original(batch, name, place),
        )

    def _original(self, batch: MappedBatch, name: str, place: int) -> Any:
        feeding = self._feeding(name)
        origin = self._copies[name][0] if name in self._copies else name
        if origin in self._found:
            return self._found.given(origin, batch)
        if not feeding:
            return self._layout.fields[name].constant
        at = [place_of(self._layout, column, batch.names, ("fields", name)) for column in feeding]
        values = [_value(batch.given[number][place]) for number in at]
        return values[0] if len(values) == 1 else values

    def _feeding(self, name: str) -> tuple[Any, ...]:
        return self._pickers[self._copies[name][0] if name in self._copies else name].feeding

    def _shown_column(self, name: str) -> str:
        return ", ".join(
            str(column) if isinstance(column, str) else self._name_at(column)
            for column in self._feeding(name)
        ) or self._found.shown(name)

    def _name_at(self, position: int) -> str:
        names = self._source.columns
        return (names[position - 1] if position <= len(names) else "") or str(position)

    def _find_parents(
        self, session: Session, alias: str, name: str, field: models.Field[Any, Any]
    ) -> LookupCache:
        said = self._layout.fields[name]
        lookup = said.lookup or ()
        columns = self._pickers[name].columns or ("",)
        if len(columns) != len(lookup):
            raise self._layout.error(
                ("fields", name, "lookup"),
                f"{name} is looked up by {counted(len(lookup), 'field')} in "
                f"{counted(len(columns), 'column')}.",
            )
        parents = NaturalKeyLookup(
            session,
            alias,
            self._layout,
            field,
            lookup=lookup,
            copies=self._copied_from(name),
        )
        return LookupCache(parents, NewParents(parents, said.create, refuses=self._refuses))

    def _copied_from(self, name: str) -> list[str]:
        """Return the parent's fields that are copied, in the order of the fields that take them."""
        copies = [said.copy.partition(".") for said in self._layout.fields.values() if said.copy]
        return [field for origin, _, field in copies if origin == name]

    def _split_copy(self, name: str) -> tuple[str, int]:
        """Return the field whose parent is copied from, and the number of the copied column."""
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


def _value(cell: Any) -> Any:
    cell = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    return cell.decode(errors="replace") if isinstance(cell, bytes) else cell


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
