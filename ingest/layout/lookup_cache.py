"""Cache the results of natural-key look-ups, and find them for whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.layout.cells import Cells
    from ingest.layout.lookups import Found, NaturalKey, NaturalKeyLookup
    from ingest.layout.new_parents import NewParents, Prepared

_BETWEEN = "\x1f"
"""The unit separator, between the texts of a natural key of several columns."""
_ESCAPES = (("\x1b", "\x1be"), (_BETWEEN, "\x1bs"))
"""The separator within a text is escaped, and so is the escape."""
REMEMBERED_PARENTS = 500_000
"""Natural keys cached for each foreign key, some 100 MB at most; a key that was dropped is queried
again."""


def join_parts(parts: Sequence[pa.Array]) -> pa.Array:
    """Return natural keys as one text each; ``split_parts`` is the inverse."""
    if len(parts) == 1:
        return parts[0]
    for plain, escaped in _ESCAPES:
        parts = [pc.replace_substring(part, plain, escaped) for part in parts]
    return pc.binary_join_element_wise(*parts, _BETWEEN)


def split_parts(text: str, count: int) -> NaturalKey:
    """Return the natural key of ``count`` columns that was joined to a text."""
    if count == 1:
        return (text,)
    parts = text.split(_BETWEEN)
    for plain, escaped in reversed(_ESCAPES):
        parts = [part.replace(escaped, plain) for part in parts]
    return tuple(parts)


class LookupCache:
    """The parents that were found so far for the natural keys of one foreign key.

    Each distinct text of a natural key has a place (a number) in the cache.
    """

    def __init__(self, parents: NaturalKeyLookup, new: NewParents) -> None:
        self._parents = parents
        self._new = new
        self.forget()

    @property
    def can_make(self) -> bool:
        """Return whether missing parents are created."""
        return self._new.can_make

    @property
    def is_tree(self) -> bool:
        """Return whether the parents are rows of the table that is loaded."""
        return self._parents.is_tree

    def places_of(self, texts: pa.Array) -> pa.Array:
        """Return the place of each text; unknown texts are looked up in the database first."""
        encoded = texts.dictionary_encode()
        distinct = encoded.dictionary
        places = pc.index_in(distinct, value_set=self._texts)
        if places.null_count:
            unknown = distinct.filter(pc.is_null(places))
            if len(self._found) + len(unknown) > REMEMBERED_PARENTS:
                self.forget()
                unknown = distinct
            self._ask(unknown)
            places = pc.index_in(distinct, value_set=self._texts)
        if self.missing and self.is_tree:  # a record loaded since then may be the parent
            self._ask_again([at for at in places.to_pylist() if at in self.missing])
        return places.take(encoded.indices)

    def is_missing(self, places: pa.Array) -> pa.BooleanArray:
        """Return which places have no row yet, but one that could be created or come later."""
        return pc.is_in(places, value_set=pa.array(list(self.missing), places.type))

    def prepare(self, places: Collection[int]) -> list[Prepared]:
        """Make instances for the missing parents at these places, or set the reason if refused."""
        keys = {self.missing[place]: place for place in places}
        prepared, refused = self._new.prepare(list(keys))
        for key, reason in refused.items():
            self._refuse(keys[key], reason)
        return prepared

    def make(self, prepared: Sequence[Prepared]) -> frozenset[int]:
        """Insert rows, and return the places of those that were inserted."""
        places = {key: place for place, key in self.missing.items()}
        found, made = self._new.make(prepared)
        for key, item in found.items():
            self._know(places[key], item)
        return frozenset(places[key] for key in made)

    def comparable(self, keys: Sequence[NaturalKey]) -> list[Any]:
        """Return natural keys in a form in which keys that PostgreSQL may find equal are equal."""
        known = {key: self._parents.comparable(key) for key in set(keys)}
        return [known[key] for key in keys]

    def comparable_missing(self, places: pa.Array) -> dict[int, Any]:
        """Return the natural keys of missing parents at these places in that form, by place."""
        return {
            place: self._parents.comparable(self.missing[place])
            for place in places.unique().to_pylist()
            if place in self.missing
        }

    def referred(self, places: Collection[int]) -> list[Any]:
        """Return the values by which foreign keys refer to the rows at these places."""
        items = [self._found[place] for place in places]
        return [item[0] for item in items if isinstance(item, tuple)]

    def take_back(self, values: Sequence[Any]) -> str:
        """Delete the created rows to which nothing refers; return why some were kept, or "".

        All cached parents, also of other foreign keys, must be forgotten afterwards.
        """
        self._new.take_back(values)
        return self._new.kept

    def values(self, number: int, places: pa.Array) -> Cells:
        """Return the values of the parents' selected column of this number, for these places."""
        if number not in self._columns:
            values = [item[number] if isinstance(item, tuple) else None for item in self._found]
            try:
                is_known = any(value is not None for value in values)
                column = pa.array(values) if is_known else pa.nulls(len(values), pa.int64())
            except pa.ArrowException:
                column = values
            self._columns[number] = column
        column = self._columns[number]
        if isinstance(column, list):
            return [None if at is None else column[at] for at in places.to_pylist()]
        return column.take(places)

    def forget(self) -> None:
        """Drop all cached results, so that they are queried again."""
        self._texts = pa.array([], pa.string())
        self._found: list[Found | None] = []
        self._columns: dict[int, Any] = {}
        self.reasons: dict[int, str] = {}
        """Why there is no parent, by place."""
        self.missing: dict[int, NaturalKey] = {}
        """The natural keys that have no row yet, by place; they have reasons, too.

        Only for parents that can be created, or that can be earlier records."""

    def _ask(self, unknown: pa.Array) -> None:
        texts = unknown.to_pylist()
        keys = (split_parts(text, self._parents.parts) for text in texts)
        # Empty texts are not queried.
        asked = {place: key for place, key in enumerate(keys, len(self._found)) if any(key)}
        self._found += [None] * len(texts)
        found = self._parents.find(list(asked.values()))
        for place, key in asked.items():
            if key in found:
                self._know(place, found[key])
            else:
                self._miss(place, key)
        self._texts = pa.concat_arrays([self._texts, unknown])
        self._columns.clear()

    def _ask_again(self, places: list[int]) -> None:
        found = self._parents.find([self.missing[place] for place in places])
        for place in places:
            if self.missing[place] in found:
                self._know(place, found[self.missing[place]])

    def _know(self, place: int, item: Found) -> None:
        self.missing.pop(place, None)
        self.reasons.pop(place, None)
        self._columns.clear()
        if isinstance(item, str):
            self.reasons[place] = item
        self._found[place] = item

    def _refuse(self, place: int, reason: str) -> None:
        del self.missing[place]
        self.reasons[place] = reason

    def _miss(self, place: int, key: NaturalKey) -> None:
        if self.can_make or self.is_tree:
            self.missing[place] = key
        self.reasons[place] = self._parents.why_missing(key)
