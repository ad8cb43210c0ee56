"""Lists of texts and whole numbers, in the form that PostgreSQL's arrays receive.

Source of the form: array_recv in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import array
import itertools
import json
import struct
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.contrib.postgres.validators import ArrayMaxLengthValidator, ArrayMinLengthValidator

from ingest.conversion.kernels.base import Kernel, Mask, both, is_all, keep
from ingest.conversion.kernels.documents import ESCAPED
from ingest.conversion.kernels.numbers import IntegerKernel
from ingest.conversion.kernels.texts import TextKernel

if TYPE_CHECKING:
    from django.db import models

    from ingest.postgres.encoding import ColumnEncoding

ITEM_TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "_int2": (pa.int16(), 1),
    "_int4": (pa.int32(), 1),
    "_int8": (pa.int64(), 1),
    "_text": (pa.string(), "a"),
    "_varchar": (pa.string(), "a"),
}
"""The types of the items by that of the column, with an item."""
_TEXT = rf'"(?:[^"\\\x00-\x1f]|\\[\\/bfnrt]|{ESCAPED})*"'
"""Without an escaped quotation mark: then each of them is the beginning or the end of an item."""
_NUMBER = "-?(?:0|[1-9][0-9]{0,17})"
_ARRAY_CODES = {2: "h", 4: "i", 8: "q"}
MOST_ITEMS, MOST_BYTES = 256, 4_096
"""Items of a list, and bytes of a text in it: the bytes of these lengths are kept ready."""


class ListKernel(Kernel):
    """ArrayField of texts or whole numbers: what it makes are the bytes that are sent."""

    python_type = list
    validators = (ArrayMinLengthValidator, ArrayMaxLengthValidator)

    def __init__(
        self,
        field: models.Field[Any, Any],
        checks: list[Any],
        items: Kernel,
        encoding: ColumnEncoding,
    ) -> None:
        super().__init__(field, checks)
        self._items = items
        self._item_type, example = ITEM_TYPES[encoding.column.type_name]
        assert encoding.dump is not None  # noqa: S101 - these columns are written as bytes
        self._empty = encoding.dump([])
        self._item_oid = encoding.dump([example])[8:12]
        self._heads = pa.array(
            [struct.pack("!ii4sii", 1, 0, self._item_oid, size, 1) for size in range(MOST_ITEMS)]
        )
        self._is_of_text = bool(pa.types.is_string(self._item_type))
        item = _TEXT if self._is_of_text else _NUMBER
        self._pattern = rf"\A\[(?:{item}(?:, ?{item})*)?\]\z"

    @classmethod
    def takes(cls, items: Kernel | None, encoding: ColumnEncoding) -> bool:
        """Return whether the items are taken, and the column is written as here."""
        if type(items) not in {TextKernel, IntegerKernel} or encoding.dump is None:
            return False
        kind, example = ITEM_TYPES[encoding.column.type_name]
        if pa.types.is_string(kind) != (type(items) is TextKernel):
            return False
        item = b"a" if example == "a" else example.to_bytes(kind.bit_width // 8, "big")
        oid = encoding.dump([example])[8:12]
        want = struct.pack("!ii4siii", 1, 0, oid, 1, 1, len(item)) + item
        return encoding.dump([example]) == want

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind))

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._pattern)
        is_empty = pc.equal(text, "[]")
        kept = keep(text, pc.and_not(mask, is_empty))
        if self._is_of_text:
            inner = pc.replace_substring(pc.utf8_slice_codeunits(kept, 2, -2), '", "', '","')
            lists = _unescaped(pc.split_pattern(inner, '","'))
        else:
            inner = pc.replace_substring(pc.utf8_slice_codeunits(kept, 1, -1), ", ", ",")
            lists = pc.split_pattern(inner, ",")
        return self._encode(lists, is_empty)

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        kind = values.type
        if not pa.types.is_list(kind):
            return None
        takes = pa.types.is_string if self._is_of_text else pa.types.is_integer
        if not takes(kind.value_type):
            return None
        is_empty = pc.equal(pc.list_value_length(values), 0)
        return self._encode(keep(values, pc.invert(is_empty)), is_empty)

    def gather(self, values: list[Any]) -> pa.Array:
        types = set(map(type, itertools.chain.from_iterable(filter(None, values))))
        if types - {str if self._is_of_text else int}:
            raise TypeError("some item is of another type")
        return pa.array(values, pa.list_(pa.string() if self._is_of_text else pa.int64()))

    def judge(self, values: pa.Array) -> Mask:  # noqa: ARG002 - lists were judged by their items
        return None

    def _encode(self, lists: pa.Array, is_empty: pa.BooleanArray) -> tuple[pa.Array, Mask]:
        """Return the bytes of lists, and which are taken; null stands for those without items."""
        if lists.offset:
            lists = pa.concat_arrays([lists])
        lengths = pc.fill_null(pc.list_value_length(lists), 0)
        values, known = self._read_items(lists.flatten())
        ends = pc.cast(pc.cumulative_sum(lengths), pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, self._item_bytes(values)), b"")
        is_short = pc.less(lengths, MOST_ITEMS)
        heads = self._heads.take(pc.if_else(is_short, lengths, 0))
        made = pc.binary_join_element_wise(heads, joined, b"")
        mask = both(pc.and_(pc.is_valid(lists), is_short), _every(known, offsets))
        if lists.null_count:
            empty = pc.if_else(is_empty, self._empty, pa.scalar(None, pa.binary()))
            made = pc.if_else(pc.is_valid(lists), made, empty)
            if self.blank:
                mask = pc.or_(mask, pc.fill_null(is_empty, False))
        for check in self.checks:
            is_most = isinstance(check, ArrayMaxLengthValidator)
            compare = pc.less_equal if is_most else pc.greater_equal
            mask = both(mask, compare(lengths, check.limit_value))
        return made, mask

    def _read_items(self, items: pa.Array) -> tuple[pa.Array, Mask]:
        """Return the items as they are stored, and which of them are taken; no item is null."""
        if self._is_of_text or pa.types.is_string(items.type):
            values, mask = self._items.parse(items)
        else:
            values, mask = pc.cast(items, pa.int64()), None
        mask = both(mask, self._items.judge(values))
        if self._is_of_text:
            mask = both(mask, pc.less(pc.binary_length(values), MOST_BYTES))
        else:
            low, high = _reach(self._item_type)
            mask = both(mask, pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)))
        if values.null_count or mask is not None:
            mask = pc.fill_null(pc.is_valid(values) if mask is None else mask, False)
            if not is_all(mask):
                values = pc.if_else(mask, values, "" if self._is_of_text else 0)
        return values, mask

    def _item_bytes(self, values: pa.Array) -> pa.Array:
        if self._is_of_text:
            lengths, content = pc.binary_length(values), pc.cast(values, pa.binary())
            return pc.binary_join_element_wise(_lengths().take(lengths), content, b"")
        content = _big_endian(pc.cast(values, self._item_type))
        return pc.binary_join_element_wise(_lengths()[content.type.byte_width], content, b"")


def _unescaped(lists: pa.Array) -> pa.Array:
    """Return lists of texts with the characters that JSON's escapes stand for."""
    items = lists.flatten()
    is_escaped = pc.match_substring(items, "\\")
    if not pc.any(is_escaped).as_py():
        return lists
    found = items.filter(is_escaped).dictionary_encode()
    texts = pa.array([json.loads(f'"{text}"') for text in found.dictionary.to_pylist()])
    items = pc.replace_with_mask(items, is_escaped, texts.take(found.indices))
    return pa.ListArray.from_arrays(lists.offsets, items, mask=pc.is_null(lists))


def _big_endian(numbers: pa.Array) -> pa.Array:
    """Return the bytes of each number as they go over the wire."""
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


@cache
def _lengths() -> pa.Array:
    """Return the bytes of each length; not at import, when Arrow would import pandas for it."""
    return pa.array([struct.pack("!i", length) for length in range(MOST_BYTES)], pa.binary())


def _every(known: Mask, offsets: pa.Array) -> Mask:
    """Return of which lists every item is taken; a list ends where the next begins."""
    if known is None or is_all(known):
        return None
    unknown = pc.cumulative_sum(pc.cast(pc.invert(known), pa.int32()))
    before = pa.concat_arrays([pa.array([0], pa.int32()), unknown]).take(offsets)
    return pc.equal(before[1:], before[:-1])


def _reach(kind: pa.DataType) -> tuple[int, int]:
    return -(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1
