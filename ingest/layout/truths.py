"""The layout's words for true and false in boolean fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.layout.definition import FieldLayout, Layout

_OWN = {True: ("True", "t", "1"), False: ("False", "f", "0")}
"""The texts that BooleanField.to_python reads: django/db/models/fields/__init__.py."""


class TruthWords:
    """Words for true and for false. Case and surrounding white space are ignored."""

    def __init__(self, true: Sequence[str], false: Sequence[str]) -> None:
        words = dict.fromkeys(_bare_words(true), "True")
        words |= dict.fromkeys(_bare_words(false), "False")
        self._words = pa.array(list(words), pa.string())
        self._meanings = pa.array(list(words.values()), pa.string())
        self.has_nothing = "" in words
        """Whether an empty cell means one of them."""

    @classmethod
    def of(cls, layout: Layout, name: str, said: FieldLayout) -> Self | None:
        """Return the words of a field; raise ``LayoutError`` for a word with two meanings."""
        if not said.true and not said.false:
            return None
        true, false = _bare_words(said.true or ()), _bare_words(said.false or ())
        null = _bare_words(said.null or ())
        for word in true:
            if word in false:
                raise layout.error(
                    ("fields", name),
                    f"{word!r} means both true and false in the field {name}; case does not "
                    "count. Take it out of one of them.",
                )
        for word in (*true, *false):
            if word in null and word:
                raise layout.error(
                    ("fields", name),
                    f"{word!r} means both an empty cell and {'true' if word in true else 'false'} "
                    f"in the field {name}: take it out of one of them.",
                )
        for meaning, mine, others in ((True, true, false), (False, false, true)):
            turned = set(mine) & set(_bare_words(_OWN[not meaning]))
            if turned and not others:
                raise layout.error(
                    ("fields", name),
                    f"{min(turned)!r} means {meaning} in the field {name}, where it means "
                    f"{not meaning} by itself: name the words for {not meaning}, too.",
                )
        return cls(true, false)

    def read(self, texts: pa.Array) -> pa.Array:
        """Replace the words with texts that the field itself reads; keep other texts."""
        return pc.coalesce(self._meanings.take(self._places(texts)), texts)

    def are(self, texts: pa.Array) -> pa.BooleanArray:
        """Return which texts are words for true or false."""
        return pc.is_valid(self._places(texts))

    def _places(self, texts: pa.Array) -> pa.Array:
        return pc.index_in(_bare(texts), value_set=self._words)


def _bare(texts: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_trim_whitespace(texts))


def _bare_words(words: Sequence[str]) -> list[str]:
    return [str(word) for word in _bare(pa.array(list(words), pa.string())).to_pylist()]
