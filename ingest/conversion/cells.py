"""The cells of a batch, as Arrow and as Python have them."""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cleaning import Refusal

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


def decode(cells: pa.Array) -> pa.Array | None:
    """Read bytes of a file as text, or give None where some are no UTF-8."""
    try:
        return pc.cast(cells, pa.string())
    except pa.ArrowInvalid:
        return None


def decode_singly(cells: pa.Array) -> list[Any]:
    """Read the bytes of each cell as text, and give a ``Refusal`` for those that are no UTF-8."""
    decoded: list[Any] = []
    for cell in cells.to_pylist():
        try:
            decoded.append(None if cell is None else cell.decode())
        except UnicodeDecodeError as error:
            byte = cell[error.start]
            decoded.append(
                Refusal(
                    f"byte 0x{byte:02X} is not valid in the source's encoding: say which encoding "
                    "the file has"
                )
            )
    return decoded


def _without_spare_zeros(value: Any, places: int) -> Any:
    """Take off the zeros beyond a field's decimal places, which an Arrow type adds to all values.

    A value that would lose another digit stays as it is.
    """
    if value is None or -value.as_tuple().exponent <= places:
        return value
    rounded = value.quantize(decimal.Decimal(1).scaleb(-places), context=_WIDE)
    return rounded if rounded == value else value
