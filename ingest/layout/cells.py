"""Find a source column in a batch, and convert its cells to text."""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import did_you_mean
from ingest.plurals import counted
from ingest.sources.cell_text import text_of
from ingest.sources.text import find_undecodable, why_undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.layout.definition import Column, Layout

_WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
Cells: TypeAlias = "pa.Array | list[Any]"


def place_of(layout: Layout, column: Column, names: Sequence[str], keys: tuple[str, ...]) -> int:
    """Return the position of a source column, from 0, or raise ``LayoutError``."""
    if isinstance(column, int):
        if column <= len(names):
            return column - 1
        raise layout.error(
            keys, f"there is no column {column}: the source has {counted(len(names), 'column')}."
        )
    if names.count(column) > 1:
        raise layout.error(
            keys, f"the source has several columns {column!r}: give its position, from 1."
        )
    if column in names:
        return names.index(column)
    if is_position(column, names):
        return int(column) - 1
    shown = ", ".join(map(repr, names))
    raise layout.error(
        keys,
        f"the source has no column {column!r}.{did_you_mean(column, names)} Its columns are "
        f"{shown[:400]}.",
    )


def is_position(column: str, names: Sequence[str]) -> bool:
    """Return whether a text is the position of a column that no name tells from the others.

    The command's options have texts only.
    """
    if column in names or not (column.isascii() and column.isdigit()):
        return False
    if not 0 < int(column) <= len(names):
        return False
    name = names[int(column) - 1]
    return not name or names.count(name) > 1


def is_raw(cells: Cells) -> bool:
    """Return whether these are the cells of a text file, unchanged."""
    return isinstance(cells, pa.Array) and pa.types.is_binary(cells.type)


def is_text(cells: Cells) -> bool:
    """Return whether these are texts, from a text file or not."""
    if isinstance(cells, list):
        return {type(value) for value in cells} <= {str, type(None)}
    return is_raw(cells) or pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)


def texts_of(cells: Cells) -> tuple[pa.Array, pa.Array | None]:
    """Return cells as strings, and which of them cannot be decoded (None: all can).

    A typed value always has the same text (Python's), whatever kind of source it comes from.
    """
    if isinstance(cells, list):
        return _texts_of_values(cells)
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    if not is_raw(cells):
        if is_text(cells) or pa.types.is_integer(cells.type):
            return pc.cast(cells, pa.string()), None
        values = cells.to_pylist()
        if pa.types.is_decimal(cells.type):  # its trailing zeros come from the type
            values = [value if value is None else value.normalize(_WIDE) for value in values]
        return texts_of(values)
    try:
        return pc.cast(cells, pa.string()), None
    except pa.ArrowInvalid:
        pass
    bad = pa.array(find_undecodable(cells), pa.int64())
    undecodable = pc.is_in(pa.arange(0, len(cells)), value_set=bad)
    texts = pc.if_else(undecodable, pa.scalar(b"", cells.type), cells)
    return pc.cast(texts, pa.string()), undecodable


def refusals_of(cells: Cells, undecodable: pa.Array | None) -> list[tuple[int, str]]:
    """Return the places of the cells that ``texts_of`` could not decode, and why."""
    if undecodable is None:
        return []
    refused = []
    for place in pc.indices_nonzero(undecodable).to_pylist():
        cell = cells[place]
        cell = cell.as_py() if isinstance(cell, pa.Scalar) else text_of(cell)
        why = why_undecodable(cell if isinstance(cell, bytes) else str(cell))
        refused.append((place, why[:1].upper() + why[1:]))
    return refused


def _texts_of_values(values: list[Any]) -> tuple[pa.Array, pa.Array | None]:
    texts = [text_of(value) for value in values]
    try:
        return pa.array(texts, pa.string()), None
    except UnicodeEncodeError:
        pass
    bad = [text is not None and any("\ud800" <= it <= "\udfff" for it in text) for text in texts]
    kept = ["" if is_bad else text for text, is_bad in zip(texts, bad, strict=True)]
    return pa.array(kept, pa.string()), pa.array(bad, pa.bool_())


def map_distinct(texts: pa.Array, function: Callable[[pa.Array], Any]) -> Any:
    """Apply a function to the distinct texts.

    It must return an array, or a tuple of arrays and None.
    """
    encoded = texts.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    got = function(encoded.dictionary)
    if not isinstance(got, tuple):
        return got.take(encoded.indices)
    return tuple(None if item is None else item.take(encoded.indices) for item in got)


def as_raw(texts: pa.Array) -> pa.Array:
    """Return strings as the cells of a text file."""
    return pc.cast(texts, pa.binary())
