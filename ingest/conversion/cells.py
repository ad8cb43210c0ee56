"""The cells of a batch, as Arrow and as Python have them."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cleaning import Refusal
from ingest.sources.text import find_undecodable

if TYPE_CHECKING:
    from collections.abc import Collection

_WIDE = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def plain(cells: pa.Array) -> pa.Array:
    """Give the same values in the type of which the kernels know."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
        return pc.cast(cells, pa.string())
    return cells


def python_values(cells: pa.Array | list[Any], places: int | None) -> list[Any]:
    """Give the cells as Python values, and a ``Refusal`` where Python has no such value.

    ``places`` are the decimal places of the field, where it has such.
    """
    if isinstance(cells, list):
        return cells
    try:
        values: list[Any] = cells.to_pylist()
    except (ValueError, OverflowError):
        return [python_value(cell) for cell in cells]
    if places is not None and pa.types.is_decimal(cells.type):
        return [_without_spare_zeros(value, places) for value in values]
    return values


def python_value(cell: pa.Scalar) -> Any:
    """Give one cell as a Python value, or a ``Refusal`` where Python has no such value."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        shown = f" {cell.cast(pa.string())}" if pa.types.is_temporal(cell.type) else ""
        return Refusal(f"Python has no value for this {cell.type}:{shown}")


def decode(cells: pa.Array) -> tuple[pa.Array, dict[int, Refusal]]:
    """Read bytes of a file as text; cells that are no UTF-8 become null, and are refused."""
    try:
        return pc.cast(cells, pa.string()), {}
    except pa.ArrowInvalid:
        refused = {place: _refuse(cells[place].as_py()) for place in find_undecodable(cells)}
    kept = pc.if_else(mask_of(refused, len(cells)), pa.scalar(None, cells.type), cells)
    return pc.cast(kept, pa.string()), refused


def mask_of(places: Collection[int], rows: int) -> pa.BooleanArray:
    """Give a mask that is true at these places."""
    return pc.is_in(pa.arange(0, rows), value_set=pa.array(list(places), pa.int64()))


def _refuse(cell: bytes) -> Refusal:
    try:
        cell.decode()
    except UnicodeDecodeError as error:
        return Refusal(
            f"byte 0x{cell[error.start]:02X} is not valid in the source's encoding: say which "
            "encoding the file has"
        )
    raise AssertionError(cell)  # Arrow and Python agree on what UTF-8 is


def _without_spare_zeros(value: Any, places: int) -> Any:
    """Take off the zeros beyond a field's decimal places, which an Arrow type adds to all."""
    if value is None or -value.as_tuple().exponent <= places:
        return value
    shortest = value.normalize(_WIDE)
    if -shortest.as_tuple().exponent > places:
        return shortest
    return value.quantize(decimal.Decimal(1).scaleb(-places), context=_WIDE)
