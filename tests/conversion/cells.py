"""Lists of cells, as a text file, an iterable and an Arrow stream have them."""

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.conversion.families import FAMILIES

MOST_CELLS = 10
EVERY_TEXT = sorted({text for family in FAMILIES for text in family.texts})
EVERY_VALUE = [value for family in FAMILIES for value in family.values]
BAD_BYTES = [b"\xff", b"a\xe9", b"\xed\xa0\x80", b"\xc0\x80", b"12\x80"]
INSERTED = [*" \n\t\x0009\uff11-+.,:eE_/TZ", "\u0301", "\u00a0", "é"]

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint64()]
ANY_TYPE = [
    *(*INTEGERS, pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2)),
    *(pa.decimal256(60, 3), pa.string(), pa.large_string(), pa.string_view(), pa.bool_()),
    *(pa.null(), pa.date32(), pa.date64(), pa.timestamp("us"), pa.timestamp("s", "UTC")),
    *(pa.timestamp("ns"), pa.timestamp("ms", "Europe/Berlin"), pa.time32("s"), pa.time64("ns")),
    *(pa.duration("us"), pa.list_(pa.int64()), pa.struct({"a": pa.string()})),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64())),
]


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cells of one source column."""

    form: str
    """What a source gives: text, python or arrow."""
    column: Any
    """As a batch has them."""

    def __repr__(self):
        if isinstance(self.column, list):
            return f"{self.form} cells: {self.column!r}"
        return f"{self.form} cells of {self.column.type}: {shown(self.column)}"


def shown(column):
    try:
        return repr(column.to_pylist())
    except ValueError:
        return str(column)


def cells_for(family):
    return st.one_of(
        text_cells(family), text_cells(family), python_cells(family), arrow_cells(family)
    )


def changed(text, place, inserted):
    place %= len(text) + 1
    return text[:place] + inserted + text[place:]


def text_for(family):
    """Return texts: half of them are the family's own borders."""
    own = list(family.texts) or EVERY_TEXT
    weighted = own * (len(EVERY_TEXT) // len(own) + 1) + EVERY_TEXT
    return st.one_of(
        st.sampled_from(weighted),
        st.sampled_from(weighted),
        family.text,
        st.builds(changed, st.sampled_from(own), st.integers(0, 40), st.sampled_from(INSERTED)),
    )


def text_cells(family):
    encoded = text_for(family).filter(is_text).map(str.encode)
    cell = st.one_of(*[encoded] * 12, st.sampled_from([*BAD_BYTES, None, b""]))
    few = st.lists(cell, min_size=1, max_size=MOST_CELLS)
    # A column of equal kind goes another way than a mixed one.
    even = st.lists(family.text.filter(is_text).map(str.encode), min_size=1, max_size=MOST_CELLS)
    return st.one_of(few, few, even).map(
        lambda cells: Cells("text", pa.array(cells, type=pa.binary()))
    )


def is_text(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def python_cells(family):
    own = st.sampled_from(list(family.values) or EVERY_VALUE)
    one = st.one_of(
        own, own, family.value, st.none(), st.sampled_from(EVERY_VALUE), text_for(family)
    )
    mixed = st.lists(one, min_size=1, max_size=MOST_CELLS)
    by_type = {}
    for value in family.values:
        by_type.setdefault(type(value), []).append(value)
    pure = st.sampled_from(list(by_type.values()) or [[None]]).flatmap(
        lambda values: st.lists(
            st.sampled_from([*values, *values, None]), min_size=1, max_size=MOST_CELLS
        )
    )
    return st.one_of(mixed, mixed, pure).map(lambda values: Cells("python", values))


def arrow_cells(family):
    kinds = [*family.arrow_types, *family.arrow_types, *ANY_TYPE]
    return st.sampled_from(kinds).flatmap(lambda kind: arrow_array(kind, family))


def arrow_array(kind, family):
    values = st.one_of(*[values_of(kind, family)] * 8, st.none())
    return st.lists(values, min_size=1, max_size=MOST_CELLS).map(
        lambda values: Cells("arrow", built(values, kind))
    )


def built(values, kind):
    if pa.types.is_dictionary(kind):
        plain = built(values, kind.value_type)
        return plain.dictionary_encode().cast(kind)
    if pa.types.is_temporal(kind):
        if pa.types.is_date32(kind):
            return pa.array(values, pa.int32()).cast(kind)
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, width).view(kind)
    return pa.array(values, kind)


def values_of(kind, family):
    types = pa.types
    if types.is_dictionary(kind):
        return values_of(kind.value_type, family)
    if types.is_list(kind) or types.is_large_list(kind):
        return st.lists(values_of(kind.value_type, family), max_size=3)
    if types.is_fixed_size_list(kind):
        inner = values_of(kind.value_type, family)
        return st.lists(inner, min_size=kind.list_size, max_size=kind.list_size)
    if types.is_struct(kind):
        return st.fixed_dictionaries({item.name: values_of(item.type, family) for item in kind})
    for is_kind, values in (
        (types.is_integer, integers),
        (types.is_floating, floats),
        (types.is_decimal, decimals),
        (types.is_temporal, ticks),
        (types.is_boolean, lambda _: st.booleans()),
        (types.is_null, lambda _: st.none()),
    ):
        if is_kind(kind):
            return values(kind)
    return text_for(family).filter(is_text)


def integers(kind):
    bits = kind.bit_width
    is_signed = pa.types.is_signed_integer(kind)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if is_signed else (0, 2**bits)
    borders = [low, low + 1, 0, 1, 2, 5, 10, 100, high - 1, high // 2, high // 2 - 1]
    return st.sampled_from(borders) | st.integers(low, high - 1)


def floats(kind):
    borders = st.sampled_from([0.0, -0.0, 1.0, 1.5, 0.1, 1e4, float("inf"), float("nan")])
    return borders | st.floats(-2048, 2048, width=kind.bit_width)


def decimals(kind):
    top = 10**kind.precision - 1
    small = min(top, 9999)
    unscaled = st.integers(-top, top) | st.integers(-small, small) | st.sampled_from([top, 0])
    return unscaled.map(lambda number: Decimal((number < 0, digits(number), -kind.scale)))


def digits(number):
    return tuple(map(int, str(abs(number))))


PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SECONDS = [
    round(dt.datetime.fromisoformat(f"{moment}+00:00").timestamp())
    for moment in (
        *("0001-01-01T00:00", "1677-09-22T00:00", "1850-01-01T00:00", "1969-12-31T00:00"),
        *("1970-01-01T00:00", "2024-02-29T00:00", "2025-01-05T10:00", "2025-03-30T02:30"),
        *("2025-10-26T00:30", "2025-10-26T02:30", "2038-07-01T00:00", "2262-04-11T00:00"),
        "9999-12-31T23:59:59",
    )
]


def ticks(kind):
    """Return counts of the type's unit, as the array holds them."""
    if pa.types.is_date32(kind):
        days = [seconds // 86_400 for seconds in SECONDS]
        return st.sampled_from([*days, days[0] - 1, days[-1] + 1]) | st.integers(
            -800_000, 3_000_000
        )
    if pa.types.is_date64(kind):
        return st.sampled_from([seconds // 86_400 * 86_400_000 for seconds in SECONDS])
    per_second = PER_SECOND[kind.unit]
    if pa.types.is_time(kind):
        return st.integers(0, 86_400 * per_second - 1) | st.sampled_from([0, 9_000 * per_second])
    borders = [
        tick
        for seconds in SECONDS
        for tick in (seconds * per_second, seconds * per_second + per_second // 2, seconds - 1)
        if is_tick(tick)
    ]
    every = st.integers(-(10**11) * per_second // 2, 3 * 10**11 * per_second)
    whole = st.integers(-(10**9), 3 * 10**9).map(lambda seconds: seconds * per_second)
    return st.one_of(st.sampled_from(borders), every.filter(is_tick), whole.filter(is_tick))


def is_tick(number):
    return abs(number) < 2**63
