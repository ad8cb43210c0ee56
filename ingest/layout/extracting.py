"""Extract a part of a text with a regular expression that has one group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from ingest.layout.definition import Layout


class Pattern:
    """A regular expression with one group, which is the part to extract."""

    def __init__(self, layout: Layout, keys: tuple[str, ...], pattern: str) -> None:
        """Raise ``LayoutError`` if it cannot be used; ``keys`` is its path in the layout."""
        self.text = pattern
        self._whole = rf"(?s:^.*?)(?:{pattern})(?s:.*)$"
        if not _has_group(self._whole, 1, layout, keys, pattern) or _has_group(
            self._whole, 2, layout, keys, pattern
        ):
            raise layout.error(
                keys,
                f"the pattern {pattern!r} must have one group, for the part that is meant: put "
                "that in parentheses, and write other parentheses (?:…).",
            )

    def find(self, text: str) -> str | None:
        """Return the part of one text, or None if it does not match."""
        [part], [fits] = (got.to_pylist() for got in self.apply(pa.array([text], pa.string())))
        return str(part) if fits else None

    def apply(self, texts: pa.Array) -> tuple[pa.Array, pa.BooleanArray]:
        """Return the part of each text, and which texts match; the others are unchanged."""
        fits = pc.match_substring_regex(texts, self._whole)
        return pc.replace_substring_regex(texts, self._whole, r"\1"), fits


def _has_group(
    whole: str, number: int, layout: Layout, keys: tuple[str, ...], pattern: str
) -> bool:
    texts = pa.array([""], pa.string())
    try:
        pc.match_substring_regex(texts, whole)
    except pa.ArrowInvalid as error:
        raise layout.error(keys, f"the pattern {pattern!r} cannot be used: {error}") from error
    try:
        pc.replace_substring_regex(texts, whole, rf"\{number}")
    except pa.ArrowInvalid:  # RE2 counts the groups of the replacement
        return False
    return True
