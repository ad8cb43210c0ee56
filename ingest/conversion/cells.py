"""Convert the cells of a batch between Arrow types and to Python values."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cleaning import NANOSECONDS, RefusedValue
from ingest.sources.text import find_undecodable, why_undecodable

if TYPE_CHECKING:
    from collections.abc import Collection

NO_TIME_OF_DAY = "it is not a time of day, from 00:00 to before 24:00: give another in the source"
_OF_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_WIDE = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def plain(cells: pa.Array) -> pa.Array:
    """Return the same values in a type that the kernels support."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return plain(cells.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.cast(cells, pa.string())
    return cells


def within_a_day(cells: pa.Array) -> pa.Array | list[Any]:
    """Return times of day, with a ``RefusedValue`` for each outside of a day, such as 24:00.

    Arrow would convert those to other times in Python.
    """
    kind = cells.type
    if not pa.types.is_time(kind):
        return cells
    counted = cells.view(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    fits = pc.and_(pc.greater_equal(counted, 0), pc.less(counted, _OF_A_DAY[kind.unit]))
    if pc.all(fits).as_py() is not False:
        return cells
    kept = without_nanoseconds(pc.if_else(fits, cells, pa.scalar(None, kind)))
    values = kept if isinstance(kept, list) else kept.to_pylist()
    return [
        RefusedValue(NO_TIME_OF_DAY) if is_none else value
        for value, is_none in zip(values, pc.invert(fits).to_pylist(), strict=True)
    ]


def without_nanoseconds(cells: pa.Array) -> pa.Array | list[Any]:
    """Return times in microseconds, with a ``RefusedValue`` for each that has nanoseconds."""
    kind = cells.type
    coarser = _in_microseconds(kind)
    if coarser is None:
        return cells
    try:
        return pc.cast(cells, coarser)
    except pa.ArrowInvalid:
        pass
    counted = cells.cast(pa.int64())
    is_whole = pc.equal(pc.multiply(pc.divide(counted, 1000), 1000), counted)
    kept = pc.cast(pc.if_else(is_whole, cells, pa.scalar(None, kind)), coarser).to_pylist()
    fine = pc.fill_null(pc.invert(is_whole), False).to_pylist()
    return [
        RefusedValue(NANOSECONDS) if is_fine else value
        for value, is_fine in zip(kept, fine, strict=True)
    ]


def _in_microseconds(kind: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_temporal(kind) or getattr(kind, "unit", None) != "ns":
        return None
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    return pa.time64("us") if pa.types.is_time(kind) else pa.duration("us")


def as_shortest_texts(cells: pa.Array) -> pa.Array | list[Any]:
    """Return floats as their shortest exact texts, and floats in lists as such decimals."""
    texts = _type_of_texts(cells.type)
    if texts == cells.type:
        return cells
    if pa.types.is_float16(cells.type):
        cells = pc.cast(cells, pa.float32())
    found = pc.cast(cells, texts)
    return (
        found if pa.types.is_string(texts) else [_in_decimals(item) for item in found.to_pylist()]
    )


def _type_of_texts(kind: pa.DataType) -> pa.DataType:
    """Return an Arrow type with strings instead of floats."""
    if pa.types.is_floating(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_type_of_texts(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_type_of_texts(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_type_of_texts(kind.value_type), kind.list_size)
    return kind


def _in_decimals(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_decimals(item) for item in value]
    return None if value is None else decimal.Decimal(value)


def shortest_text(value: Any) -> Any:
    """Return a float as its shortest text, and a list with its numbers as decimals.

    ``ArrayField`` does not let its ``base_field`` convert the items of a list.
    """
    if type(value) is float:
        return repr(value)
    return _with_decimals(value) if type(value) in {list, tuple} else value


def _with_decimals(value: Any) -> Any:
    value = without_numpy(value)
    if type(value) in {list, tuple}:
        items = [_with_decimals(item) for item in value]
        is_changed = any(item is not given for item, given in zip(items, value, strict=True))
        return items if is_changed else value
    return decimal.Decimal(str(value)) if type(value) in {int, float} else value


def without_numpy(value: Any) -> Any:
    """Return a value of NumPy or pandas as the equivalent Python value."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and kind.__name__ == "ndarray":
        return [without_numpy(item) for item in value] if value.ndim else without_numpy(value[()])
    if library == "numpy" and hasattr(value, "item"):
        if kind.__name__ in {"datetime64", "timedelta64"}:
            return _moment_of(value)
        if kind.__name__ == "longdouble":  # its item() is itself
            return decimal.Decimal(str(value))
        return float(str(value)) if kind.__name__ in {"float32", "float16"} else value.item()
    if library == "pandas":
        if kind.__name__ in {"Period", "Interval"}:  # as to_csv() writes them
            return str(value)
        if kind.__name__ in {"NaTType", "NAType"}:
            return None
        if kind.__name__ == "Timestamp":
            return RefusedValue(NANOSECONDS) if value.nanosecond else value.to_pydatetime()
        if kind.__name__ == "Timedelta":
            return RefusedValue(NANOSECONDS) if value.nanoseconds else value.to_pytimedelta()
    return value


def _plain_value(value: Any) -> Any:
    """Return a value of NumPy, pandas or Arrow, or a list of them, as a Python value.

    A list that contains a refused value is refused as a whole.
    """
    value = _length_of(value) if type(value) is pa.MonthDayNano else without_numpy(value)
    if type(value) not in {list, tuple}:
        return value
    items = [_plain_value(item) for item in value]
    for item in items:
        if type(item) is RefusedValue:
            return item
    is_changed = any(item is not given for item, given in zip(items, value, strict=True))
    return items if is_changed else value


def _length_of(value: pa.MonthDayNano) -> Any:
    """Return an Arrow interval as a ``timedelta``; refuse one with months (no fixed length)."""
    months, days, nanoseconds = value
    if months:
        return RefusedValue(
            "it has months, which are of no fixed length: give days and seconds in the source"
        )
    if nanoseconds % 1000:
        return RefusedValue(NANOSECONDS)
    return dt.timedelta(days=days, microseconds=nanoseconds // 1000)


def _is_of_other_times(kind: pa.DataType) -> bool:
    """Return whether Arrow converts these times to its own or to pandas' types."""
    while (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        kind = kind.value_type
    return pa.types.is_interval(kind) or _in_microseconds(kind) is not None


def _moment_of(value: Any) -> Any:
    """Return a NumPy time as a Python one; refuse it if it has nanoseconds."""
    moment = value.item()  # a number, if the unit is finer than microseconds
    if not isinstance(moment, int):
        return moment
    exact = value.astype(f"{type(value).__name__}[us]")
    return exact.item() if exact == value else RefusedValue(NANOSECONDS)


def python_values(cells: pa.Array | list[Any], places: int | None) -> list[Any]:
    """Return the cells as Python values, with a ``RefusedValue`` if Python has no such value.

    ``places`` is the number of the field's decimal places, or None.
    """
    if isinstance(cells, list):
        return [_plain_value(value) for value in cells]
    try:
        values: list[Any] = cells.to_pylist()
    except (ValueError, OverflowError):
        return [python_value(cell) for cell in cells]
    if _is_of_other_times(cells.type):
        return [_plain_value(value) for value in values]
    if places is not None and pa.types.is_decimal(cells.type):
        return [_without_spare_zeros(value, places) for value in values]
    return values


def python_value(cell: pa.Scalar) -> Any:
    """Return one cell as a Python value, or a ``RefusedValue`` if Python has no such value."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        why = ""
        if pa.types.is_timestamp(cell.type) or pa.types.is_date(cell.type):
            why = ", whose years are 1 to 9999: give another value, or none, in the source"
        return RefusedValue(f"Python has no value for this {cell.type}{why}")


def decode(cells: pa.Array) -> tuple[pa.Array, dict[int, RefusedValue]]:
    """Decode the bytes of a file; cells that are not valid UTF-8 become null and are refused."""
    try:
        return pc.cast(cells, pa.string()), {}
    except pa.ArrowInvalid:
        refused = {
            place: RefusedValue(why_undecodable(cells[place].as_py()))
            for place in find_undecodable(cells)
        }
    kept = pc.if_else(mask_of(refused, len(cells)), pa.scalar(None, cells.type), cells)
    return pc.cast(kept, pa.string()), refused


def mask_of(places: Collection[int], rows: int) -> pa.BooleanArray:
    """Return a mask that is true at these places."""
    return pc.is_in(pa.arange(0, rows), value_set=pa.array(list(places), pa.int64()))


def _without_spare_zeros(value: Any, places: int) -> Any:
    """Remove the zeros beyond a field's decimal places, which an Arrow type adds to all values."""
    if value is None or -value.as_tuple().exponent <= places:
        return value
    shortest = value.normalize(_WIDE)
    if -shortest.as_tuple().exponent > places:
        return shortest
    return value.quantize(decimal.Decimal(1).scaleb(-places), context=_WIDE)
