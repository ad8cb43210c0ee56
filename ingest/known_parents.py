"""What natural keys lead to, remembered by their text, and found for whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from ingest.layout.cells import Cells
    from ingest.lookups import Found, Parents

BETWEEN_PARTS = "\x1f"
"""The unit separator: it parts the texts of a natural key of several columns."""
REMEMBERED_PARENTS = 500_000
"""Natural keys remembered for each foreign key, some 100 MB at most; one that is forgotten is
asked for again."""


class KnownParents:
    """The parents that one foreign key's natural keys have led to so far."""

    def __init__(self, parents: Parents) -> None:
        self._parents = parents
        self._forget()

    def places_of(self, texts: pa.Array) -> pa.Array:
        """Give for each text the place of what it leads to; what is unknown is asked for."""
        encoded = texts.dictionary_encode()
        distinct = encoded.dictionary
        places = pc.index_in(distinct, value_set=self._texts)
        if places.null_count:
            unknown = distinct.filter(pc.is_null(places))
            if len(self._found) + len(unknown) > REMEMBERED_PARENTS:
                self._forget()
                unknown = distinct
            self._ask(unknown)
            places = pc.index_in(distinct, value_set=self._texts)
        return places.take(encoded.indices)

    def values(self, number: int, places: pa.Array) -> Cells:
        """Give the values of the parents' column of this number, for such places."""
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

    def _forget(self) -> None:
        self._texts = pa.array([], pa.string())
        self._found: list[Found | None] = []
        self._columns: dict[int, Any] = {}
        self.reasons: dict[int, str] = {}
        """Why there is no parent, by the place."""

    def _ask(self, unknown: pa.Array) -> None:
        texts = unknown.to_pylist()
        asked = [text for text in texts if text.strip(BETWEEN_PARTS)]
        answers = self._parents.find([tuple(text.split(BETWEEN_PARTS)) for text in asked])
        found = dict(zip(asked, answers, strict=True))
        for place, text in enumerate(texts, len(self._found)):
            item = found.get(text)  # where there is no text, nothing is asked for
            self._found.append(item)
            if isinstance(item, str):
                self.reasons[place] = item
        self._texts = pa.concat_arrays([self._texts, unknown])
        self._columns.clear()
