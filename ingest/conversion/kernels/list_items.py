"""The items of lists: their format in a source, and their bytes in PostgreSQL's arrays."""

from __future__ import annotations

import array
import dataclasses
import datetime as dt
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.kernels.datetimes import DateKernel
from ingest.conversion.kernels.documents import ESCAPED
from ingest.conversion.kernels.numbers import (
    BooleanKernel,
    DecimalKernel,
    FloatKernel,
    IntegerKernel,
)
from ingest.conversion.kernels.texts import UUID_BYTES, TextKernel, UUIDKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.conversion.kernels.base import Kernel, Mask
    from ingest.postgres.encoding import ColumnEncoding

    Dump = Callable[[Any], bytes]

HEAD_BYTES = 24
"""The bytes before the content of the first item of a one-dimensional array."""
_DAYS_BEFORE_2000 = 10_957
"""The days from 1970, Arrow's epoch, to 2000, PostgreSQL's epoch."""
_ARRAY_CODES = {2: "h", 4: "i", 8: "q"}
_TEXT = rf'"(?:[^"\\\x00-\x1f]|\\[\\/bfnrt]|{ESCAPED})*"'
"""A string without an escaped quotation mark, so that each mark begins or ends an item."""
_INTEGER = "-?(?:0|[1-9][0-9]{0,17})"
_EXACT = rf"{_INTEGER}(?:\.[0-9]{{1,38}})?"
_PART, _EXPONENT = r"\.[0-9]{1,30}", "[eE][+-]?[0-9]{1,2}"
_FLOAT = rf"(?:0|-?[1-9][0-9]{{0,17}}|{_INTEGER}(?:{_PART}|(?:{_PART})?{_EXPONENT}))"
"""Not -0, which JSON reads as the integer 0."""
_DAY = '"[0-9]{4}-[0-9]{2}-[0-9]{2}"'
_UUID = '"[0-9a-fA-F-]{32,36}"'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemKind:
    """The items of one type of PostgreSQL's arrays."""

    kernel: type[Kernel]
    """The kernel that judges an item."""
    pattern: str
    """A pattern for an item in the text of a JSON list."""
    example: Any
    made_type: pa.DataType
    """The Arrow type of the kernel's values."""
    given_type: pa.DataType
    """The Arrow type for items that are Python values."""
    python_type: type
    adopts: Callable[[pa.DataType], bool]
    """Whether the kernel takes Arrow items of a type."""
    width: int | None = None
    """The number of bytes of an integer."""
    is_quoted: bool = False
    is_exact: bool = False

    @property
    def example_value(self) -> Any:
        """The example as an Arrow value."""
        return self.example.bytes if isinstance(self.example, UUID) else self.example

    @property
    def reach(self) -> tuple[int, int] | None:
        """The least and the greatest integer that the type holds."""
        if self.width is None:
            return None
        return -(2 ** (8 * self.width - 1)), 2 ** (8 * self.width - 1) - 1

    def fits(self, items: Kernel, encoding: ColumnEncoding) -> bool:
        """Return whether the column holds exactly the values that the item's field accepts."""
        if not self.is_exact:
            return True
        field: Any = items.field
        modifier: int = (field.max_digits << 16 | field.decimal_places) + 4
        return encoding.column.type_modifier == modifier

    def read(self, kernel: Kernel, items: pa.Array) -> tuple[pa.Array, Mask]:
        """Return the items converted by the kernel, and which of them it takes."""
        if not pa.types.is_string(items.type):
            found = (items, None) if pa.types.is_fixed_size_binary(items.type) else None
            found = found or kernel.adopt(items)
            return (pa.nulls(len(items), self.made_type), None) if found is None else found
        if self.kernel is BooleanKernel:
            items = pc.if_else(pc.equal(items, "true"), "t", items)
            items = pc.if_else(pc.equal(items, "false"), "f", items)
        return kernel.parse(items)

    def to_bytes(self, values: pa.Array, dump: Dump) -> pa.Array:
        """Return the bytes of each item's content; no item is null."""
        kind = values.type
        if pa.types.is_string(kind) or pa.types.is_fixed_size_binary(kind):
            return pc.cast(values, pa.binary())
        if pa.types.is_boolean(kind):
            return pc.if_else(values, pa.scalar(b"\x01"), pa.scalar(b"\x00"))
        if pa.types.is_decimal(kind):
            coded = values.dictionary_encode()
            written = [dump([value])[HEAD_BYTES:] for value in coded.dictionary.to_pylist()]
            return pa.array(written, pa.binary()).take(coded.indices)
        if pa.types.is_float64(kind):
            return big_endian(values.view(pa.int64()))
        if pa.types.is_date32(kind):
            return big_endian(
                pc.subtract(values.view(pa.int32()), pa.scalar(_DAYS_BEFORE_2000, pa.int32()))
            )
        return big_endian(pc.cast(values, _INTEGERS[self.width or 8]))


_INTEGERS = {2: pa.int16(), 4: pa.int32(), 8: pa.int64()}


def big_endian(numbers: pa.Array) -> pa.Array:
    """Return the bytes of each number in network byte order."""
    width = numbers.type.bit_width // 8
    swapped = array.array(_ARRAY_CODES[width])
    if len(numbers):
        start = numbers.offset * width
        swapped.frombytes(memoryview(numbers.buffers()[1])[start : start + len(numbers) * width])
    if sys.byteorder == "little":
        swapped.byteswap()
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(numbers), [None, pa.py_buffer(swapped)]
    )


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.UuidType)


def _integers(width: int) -> ItemKind:
    return ItemKind(
        kernel=IntegerKernel,
        pattern=_INTEGER,
        example=1,
        made_type=pa.int64(),
        given_type=pa.int64(),
        python_type=int,
        adopts=pa.types.is_integer,
        width=width,
    )


_TEXTS = ItemKind(
    kernel=TextKernel,
    pattern=_TEXT,
    example="a",
    made_type=pa.string(),
    given_type=pa.string(),
    python_type=str,
    adopts=pa.types.is_string,
    is_quoted=True,
)
ITEM_KINDS: dict[str, ItemKind] = {
    "_int2": _integers(2),
    "_int4": _integers(4),
    "_int8": _integers(8),
    "_text": _TEXTS,
    "_varchar": _TEXTS,
    "_bool": ItemKind(
        kernel=BooleanKernel,
        pattern="(?:true|false)",
        example=True,
        made_type=pa.bool_(),
        given_type=pa.bool_(),
        python_type=bool,
        adopts=pa.types.is_boolean,
    ),
    "_date": ItemKind(
        kernel=DateKernel,
        pattern=_DAY,
        example=dt.date(2000, 1, 2),
        made_type=pa.date32(),
        given_type=pa.date32(),
        python_type=dt.date,
        adopts=pa.types.is_date32,
        is_quoted=True,
    ),
    "_float8": ItemKind(
        kernel=FloatKernel,
        pattern=_FLOAT,
        example=1.5,
        made_type=pa.float64(),
        given_type=pa.float64(),
        python_type=float,
        adopts=pa.types.is_float64,
    ),
    "_numeric": ItemKind(
        kernel=DecimalKernel,
        pattern=_EXACT,
        example=Decimal(0),
        made_type=pa.decimal128(38, 0),
        given_type=pa.null(),
        python_type=type(None),
        adopts=pa.types.is_null,
        is_exact=True,
    ),
    "_uuid": ItemKind(
        kernel=UUIDKernel,
        pattern=_UUID,
        example=UUID(int=1),
        made_type=pa.binary(UUID_BYTES),
        given_type=pa.binary(UUID_BYTES),
        python_type=UUID,
        adopts=_is_uuid,
        is_quoted=True,
    ),
}
"""By the name of the column's type."""
