"""A kernel for one-dimensional lists, in the binary format of PostgreSQL's arrays.

Source of the format: array_recv in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

import itertools
import json
import struct
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from django.contrib.postgres.validators import ArrayMaxLengthValidator, ArrayMinLengthValidator

from ingest.conversion.kernels.base import Kernel, Mask, both, is_all, keep
from ingest.conversion.kernels.list_items import ITEM_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db import models

    from ingest.postgres.encoding import ColumnEncoding

MOST_ITEMS, MOST_BYTES = 256, 4_096
"""Limits for the items of a list and the bytes of an item: the bytes of all smaller lengths are
prepared once."""
_POSTGRES_ITEM = r'(?:[^{},"\\\s]+|"[^"\\,]*")'
"""An item in PostgreSQL's text format, without escapes and commas."""
_POSTGRES_LIST = rf"\A\{{(?:{_POSTGRES_ITEM}(?:,{_POSTGRES_ITEM})*)?\}}\z"
_POSTGRES_NULL = r"(?i)[{,]NULL[,}]"
_COMMA_ITEM = r'(?:\A\[|", ?)", ?"'
"""An item that is only a comma, or a comma and a space: with its quotation marks it looks like the
text between two items. Such lists are left to the field."""
SAMPLE = 256
"""The number of texts from which to estimate whether a column has many equal ones."""


class ListKernel(Kernel):
    """ArrayField whose items have a kernel; its values are the bytes that are sent."""

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
        self._kind = ITEM_KINDS[encoding.column.type_name]
        assert encoding.dump is not None  # noqa: S101 - these columns are written as bytes
        self._dump = encoding.dump
        self._empty = self._dump([])
        item_oid = self._dump([self._kind.example])[8:12]
        self._heads = pa.array(
            [struct.pack("!ii4sii", 1, 0, item_oid, size, 1) for size in range(MOST_ITEMS)]
        )
        self._pattern = rf"\A\[(?:{self._kind.pattern}(?:, ?{self._kind.pattern})*)?\]\z"

    @classmethod
    def takes(cls, items: Kernel | None, encoding: ColumnEncoding) -> bool:
        """Return whether the items are supported, and psycopg writes the column in this format."""
        kind = ITEM_KINDS[encoding.column.type_name]
        if (
            type(items) is not kind.kernel
            or encoding.dump is None
            or not kind.fits(items, encoding)
        ):
            return False
        written = encoding.dump([kind.example])
        item = kind.to_bytes(pa.array([kind.example_value], kind.made_type), encoding.dump)
        content = item[0].as_py()
        want = struct.pack("!ii4siii", 1, 0, written[8:12], 1, 1, len(content)) + content
        is_alike: bool = written == want
        return is_alike

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind))

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Convert typed strings; none for decimals, because the field reads fractions as floats."""
        if self._kind.is_exact:
            return pa.nulls(len(text), pa.binary()), pa.array([False] * len(text))
        return self.read(text)

    def read(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        return _by_distinct(text, self._read_json)

    def read_postgres(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Convert lists in PostgreSQL's text format."""
        return _by_distinct(text, self._read_postgres)

    def _read_json(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._pattern)
        if self._kind.is_quoted:
            mask = pc.and_not(mask, pc.match_substring_regex(text, _COMMA_ITEM))
        is_empty = pc.equal(text, "[]")
        kept = keep(text, pc.and_not(mask, is_empty))
        if self._kind.is_quoted:
            inner = pc.replace_substring(pc.utf8_slice_codeunits(kept, 2, -2), '", "', '","')
            lists = _unescaped(pc.split_pattern(inner, '","'))
        else:
            inner = pc.replace_substring(pc.utf8_slice_codeunits(kept, 1, -1), ", ", ",")
            lists = pc.split_pattern(inner, ",")
        return self._encode(lists, is_empty)

    def _read_postgres(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.and_not(
            pc.match_substring_regex(text, _POSTGRES_LIST),
            pc.match_substring_regex(text, _POSTGRES_NULL),
        )
        is_empty = pc.equal(text, "{}")
        kept = keep(text, pc.and_not(mask, is_empty))
        inner = pc.replace_substring(pc.utf8_slice_codeunits(kept, 1, -1), '"', "")
        return self._encode(pc.split_pattern(inner, ","), is_empty)

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        kind = values.type
        if not pa.types.is_list(kind) or not self._kind.adopts(kind.value_type):
            return None
        return self._adopt(values)

    def from_python(self, values: list[Any]) -> tuple[pa.Array, Mask] | None:
        if set(map(type, values)) - {type(None)} != {list}:
            return super().from_python(values)
        try:
            return self._adopt(self.gather(values))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            return None

    def _adopt(self, values: pa.Array) -> tuple[pa.Array, Mask]:
        kind = values.type
        if isinstance(kind.value_type, pa.UuidType):
            values = pa.ListArray.from_arrays(
                values.offsets, values.values.storage, mask=pc.is_null(values)
            )
        is_empty = pc.equal(pc.list_value_length(values), 0)
        return self._encode(keep(values, pc.invert(is_empty)), is_empty)

    def gather(self, values: list[Any]) -> pa.Array:
        types = set(map(type, itertools.chain.from_iterable(filter(None, values))))
        if types - {self._kind.python_type}:
            raise TypeError("some item is of another type")
        if self._kind.python_type is UUID:
            values = [row and [item and item.bytes for item in row] for row in values]
        return pa.array(values, pa.list_(self._kind.given_type))

    def judge(self, values: pa.Array) -> Mask:  # noqa: ARG002 - lists were judged by their items
        return None

    def _encode(self, lists: pa.Array, is_empty: pa.BooleanArray) -> tuple[pa.Array, Mask]:
        """Return the bytes of lists, and which are taken; empty lists are passed as null."""
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
        """Return the items as stored, and which of them are taken; no returned item is null."""
        values, mask = self._kind.read(self._items, items)
        mask = both(mask, self._items.judge(values))
        if self._kind.reach is not None:
            low, high = self._kind.reach
            mask = both(mask, pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high)))
        elif pa.types.is_string(values.type):
            mask = both(mask, pc.less(pc.binary_length(values), MOST_BYTES))
        if values.null_count or mask is not None:
            mask = pc.fill_null(pc.is_valid(values) if mask is None else mask, False)
            if not is_all(mask):
                filler = pa.scalar(self._kind.example_value, values.type)
                values = pc.if_else(mask, values, filler)
        return values, mask

    def _item_bytes(self, values: pa.Array) -> pa.Array:
        content = self._kind.to_bytes(values, self._dump)
        lengths = _lengths().take(pc.binary_length(content))
        return pc.binary_join_element_wise(lengths, pc.cast(content, pa.binary()), b"")


def _by_distinct(
    text: pa.Array, read: Callable[[pa.Array], tuple[pa.Array, Mask]]
) -> tuple[pa.Array, Mask]:
    """Read each distinct text only once, if many of the first texts are equal."""
    sample = text.slice(0, SAMPLE)
    if len(text) <= SAMPLE or 2 * pc.count_distinct(sample).as_py() > SAMPLE:
        return read(text)
    coded = text.dictionary_encode()
    values, mask = read(coded.dictionary)
    return values.take(coded.indices), None if mask is None else mask.take(coded.indices)


def _unescaped(lists: pa.Array) -> pa.Array:
    """Return lists of texts with JSON's escapes replaced by their characters."""
    items = lists.flatten()
    is_escaped = pc.match_substring(items, "\\")
    if not pc.any(is_escaped).as_py():
        return lists
    found = items.filter(is_escaped).dictionary_encode()
    texts = pa.array([json.loads(f'"{text}"') for text in found.dictionary.to_pylist()])
    items = pc.replace_with_mask(items, is_escaped, texts.take(found.indices))
    return pa.ListArray.from_arrays(lists.offsets, items, mask=pc.is_null(lists))


@cache
def _lengths() -> pa.Array:
    """Return the bytes of each length; not made at import, because Arrow would import pandas."""
    return pa.array([struct.pack("!i", length) for length in range(MOST_BYTES)], pa.binary())


def _every(known: Mask, offsets: pa.Array) -> Mask:
    """Return which lists have only taken items; each list ends where the next one begins."""
    if known is None or is_all(known):
        return None
    unknown = pc.cumulative_sum(pc.cast(pc.invert(known), pa.int32()))
    before = pa.concat_arrays([pa.array([0], pa.int32()), unknown]).take(offsets)
    return pc.equal(before[1:], before[:-1])
