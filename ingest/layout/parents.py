"""Look up the parents of a batch for each field that has a look-up, and create missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.layout.cells import texts_of
from ingest.layout.columns import Picked
from ingest.layout.lookup_cache import LookupCache
from ingest.layout.lookups import NaturalKeyLookup
from ingest.layout.new_parents import NewParents
from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from django.db import models

    from ingest.layout.cells import Cells
    from ingest.layout.definition import Layout
    from ingest.layout.field_cells import FieldCells
    from ingest.layout.mapped_batch import MappedBatch
    from ingest.layout.new_parents import Prepared
    from ingest.postgres.session import Session
    from ingest.sources import Batch


class Parents:
    """The parents of a load's records, by the field that refers to them.

    Each distinct parent of a field has a place, a number, among those that were looked up.
    """

    def __init__(
        self,
        layout: Layout,
        cells: FieldCells,
        session: Session,
        alias: str,
        *,
        refuses: bool,
    ) -> None:
        """Prepare the look-ups; raise ``LayoutError`` for one that does not fit the model.

        ``refuses``: if PostgreSQL refuses to insert a parent, only that parent is refused.
        """
        self._layout = layout
        self._cells = cells
        self._unfit: set[str] = set()
        """The look-ups of which some natural key could not be read so far."""
        self._kept: dict[str, None] = {}
        self._lookups = {
            name: self._prepare(session, alias, name, picker.field, refuses=refuses)
            for name, picker in cells.pickers.items()
            if layout.fields[name].lookup
        }
        self._trees = [name for name, known in self._lookups.items() if known.is_tree]

    def __bool__(self) -> bool:
        return bool(self._lookups)

    def __contains__(self, name: str) -> bool:
        return name in self._lookups

    @property
    def is_tree(self) -> bool:
        """Whether some parents are rows of the table that is loaded."""
        return bool(self._trees)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why unused parents were kept, a sentence each."""
        return tuple(self._kept)

    def pieces(self, batch: Batch, names: tuple[str, ...]) -> Iterator[Batch]:
        """Split a batch before each record whose parent may be an earlier record of the piece.

        The parent is then in the table when the record's own piece is looked up.
        """
        if not self._trees or not len(batch.records):
            yield batch
            return
        cuts: set[int] = set()
        for name in self._trees:
            cuts |= self._cuts(name, batch, names)
        records = batch.records
        for place in sorted(cuts):
            piece, batch = batch.split(records[place] - 1)
            yield piece
        yield batch

    def find(self, batch: Batch, names: tuple[str, ...]) -> dict[str, pa.Array]:
        """Return the places of the records' parents, by field."""
        return {
            name: known.places_of(self._natural_keys(name, batch, names))
            for name, known in self._lookups.items()
        }

    def missing(self, places: Mapping[str, pa.Array]) -> dict[str, pa.BooleanArray]:
        """Return which records have a parent that must be created first, by field."""
        missing = {
            name: self._lookups[name].is_missing(at)
            for name, at in places.items()
            if self._lookups[name].can_make and self._lookups[name].missing
        }
        return {name: mask for name, mask in missing.items() if pc.any(mask).as_py()}

    def is_pending(self, name: str, parent: int) -> bool:
        """Return whether a parent has no row yet, but one may be created or come later."""
        return name in self._lookups and parent in self._lookups[name].missing

    def is_of_tree(self, name: str) -> bool:
        """Return whether a field's parents are rows of the table that is loaded."""
        return name in self._trees

    def can_make(self, name: str) -> bool:
        """Return whether a field's missing parents are created."""
        return self._lookups[name].can_make

    def find_unmakeable(
        self, name: str, places: pa.Array, mask: pa.BooleanArray
    ) -> pa.BooleanArray:
        """Make instances of the missing parents under the mask; return which are refused."""
        self._instances(name, places.filter(mask))
        return pc.and_not(mask, self._lookups[name].is_missing(places))

    def make(
        self,
        batch: Batch,
        places: Mapping[str, pa.Array],
        missing: Mapping[str, pa.BooleanArray],
        refused: set[int],
    ) -> dict[str, frozenset[int]]:
        """Create the missing parents of the records that are not refused; return their places."""
        made = {}
        is_out = pc.is_in(pa.array(batch.records), value_set=pa.array(list(refused), pa.int64()))
        for name, mask in missing.items():
            prepared = self._instances(name, places[name].filter(pc.and_not(mask, is_out)))
            made[name] = self._lookups[name].make(prepared) if prepared else frozenset()
        return made

    def take_back(self, batch: MappedBatch, accepted: Collection[int]) -> None:
        """Delete the parents that were created for a batch and that none of its rows uses.

        ``accepted``: the numbers of the records whose rows were loaded. A parent is kept if another
        row refers to it, and also, with a warning, if PostgreSQL refuses to delete it.
        """
        is_in = pc.is_in(pa.array(batch.records), value_set=pa.array(accepted, pa.int64()))
        unused = {
            name: self._lookups[name].referred(
                made.parents - set(made.places.filter(is_in).to_pylist())
            )
            for name, made in batch.made.items()
        }
        for name, values in unused.items():
            if values:
                self._kept.update(
                    dict.fromkeys(filter(None, [self._lookups[name].take_back(values)]))
                )
        if any(unused.values()):
            for known in self._lookups.values():
                known.forget()

    def keys(self, name: str, places: pa.Array) -> Picked:
        """Return the keys of the parents at these places, and why some have none."""
        known = self._lookups[name]
        refused = []
        if known.reasons:
            bad = pc.is_in(places, value_set=pa.array(list(known.reasons), places.type))
            refused = [
                (place, _sentence(known.reasons[places[place].as_py()]))
                for place in pc.indices_nonzero(bad).to_pylist()
            ]
        return Picked(cells=known.values(0, places), refused=refused)

    def values(self, name: str, number: int, places: pa.Array) -> Cells:
        """Return the values of the parents' selected column of this number, for these places."""
        return self._lookups[name].values(number, places)

    def unfit_keys(
        self, name: str, batch: Batch, names: tuple[str, ...]
    ) -> Iterable[tuple[int, str]]:
        """Return the places of cells without a natural key, and why."""
        if name not in self._unfit:
            return ()
        return self._cells.read_keys(name, batch, names)[1].items()

    def _instances(self, name: str, places: pa.Array) -> list[Prepared]:
        known = self._lookups[name]
        return known.prepare([at for at in places.unique().to_pylist() if at in known.missing])

    def _natural_keys(self, name: str, batch: Batch, names: tuple[str, ...]) -> pa.Array:
        keys, unfit = self._cells.read_keys(name, batch, names)
        if unfit:
            self._unfit.add(name)
        return keys

    def _cuts(self, name: str, batch: Batch, names: tuple[str, ...]) -> set[int]:
        """Return the places before which a batch is split, for one look-up in its own table."""
        known, cells = self._lookups[name], self._cells
        places = known.places_of(self._natural_keys(name, batch, names))
        is_missing = known.is_missing(places)
        if not pc.any(is_missing).as_py():
            return set()
        own: list[pa.Array] = []
        for field in self._layout.fields[name].lookup or ():
            if field in self._lookups or field in cells.copies or field not in cells.pickers:
                # The key is known only after the record is loaded, so each may wait for the others.
                return {place for place in pc.indices_nonzero(is_missing).to_pylist() if place}
            picked = cells.pick(field, batch, names)
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

    def _prepare(
        self,
        session: Session,
        alias: str,
        name: str,
        field: models.Field[Any, Any],
        *,
        refuses: bool,
    ) -> LookupCache:
        rules = self._layout.fields[name]
        lookup = rules.lookup or ()
        columns = self._cells.pickers[name].columns or ("",)
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
            copies=self._cells.copied_from(name),
        )
        return LookupCache(parents, NewParents(parents, rules.create, refuses=refuses))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
