"""Kernels for binary values, durations and addresses, in PostgreSQL's binary format."""

from __future__ import annotations

import binascii
import datetime as dt
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators

from ingest.conversion.kernels.base import Kernel, Mask, both, keep
from ingest.conversion.kernels.list_items import big_endian

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.postgres.encoding import ColumnEncoding

SECOND, DAY = 1_000_000, 86_400_000_000
"""In microseconds."""
MOST_MICROSECONDS = 2**62
"""Longer durations are left to the field, so that no arithmetic here overflows."""
ADDRESS_BYTES = 4
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


class BinaryKernel(Kernel):
    """BinaryField: bytes, or base64 as ``to_python()`` reads it."""

    python_type = bytes
    validators = (validators.MaxLengthValidator,)
    stores = staticmethod(pa.types.is_binary)
    _BASE64 = r"\A(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\z"
    _HEXADECIMAL = r"\A\\x(?:[0-9a-f]{2})*\z"

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        return self._read(text, self._BASE64, binascii.a2b_base64)

    def read_postgres(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        return self._read(text, self._HEXADECIMAL, lambda cell: bytes.fromhex(cell[2:]))

    def _read(
        self, text: pa.Array, pattern: str, read: Callable[[str], bytes]
    ) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, pattern)
        cells = keep(text, mask).to_pylist()
        made = [None if cell is None else read(cell) for cell in cells]
        return pa.array(made, pa.binary()), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        return (values, None) if pa.types.is_binary(values.type) else None

    def judge(self, values: pa.Array) -> Mask:
        length = pc.binary_length(values)
        mask: Mask = pc.greater(length, 0)  # whether empty bytes are valid depends on ``blank``
        for check in self.checks:
            mask = both(mask, pc.less_equal(length, check.limit_value))
        return mask


class BytesKernel(Kernel):
    """A kernel for a column that is written as bytes; its values are sent unchanged."""

    known: tuple[Any, ...] = ()
    """The validators whose checks it includes."""

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind))

    @classmethod
    def takes(cls, field: Any, encoding: ColumnEncoding) -> bool:
        """Return whether it judges as the field's validators, and writes values as psycopg does."""
        example, written = cls.example()
        if encoding.dump is None or not all(check in cls.known for check in field.validators):
            return False
        try:
            return bool(encoding.dump(example) == written)
        except Exception:  # noqa: BLE001 - a custom dumper for other values
            return False

    @classmethod
    def example(cls) -> tuple[Any, bytes]:
        """Return a value and its bytes, to compare with psycopg's."""
        raise NotImplementedError

    def judge(self, values: pa.Array) -> Mask:  # noqa: ARG002 - the values were judged before
        return None


class DurationKernel(BytesKernel):
    """DurationField in a column of interval."""

    python_type = dt.timedelta
    _TEXT = (
        r"\A(?:(?P<days>[0-9]{1,6}) )?(?P<hours>[0-9]{1,2}):(?P<minutes>[0-9]{2}):"
        r"(?P<seconds>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?\z"
    )
    _UNITS = (
        ("days", DAY),
        ("hours", 3_600 * SECOND),
        ("minutes", 60 * SECOND),
        ("seconds", SECOND),
    )

    @classmethod
    def example(cls) -> tuple[Any, bytes]:
        return dt.timedelta(-1, 2, 3), struct.pack("!qii", 2 * SECOND + 3, -1, 0)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        found = pc.extract_regex(text, self._TEXT)
        mask = pc.is_valid(found)
        fraction = pc.utf8_rpad(pc.struct_field(found, "fraction"), 6, "0")
        total = pc.cast(pc.fill_null(fraction, "0"), pa.int64())
        for name, unit in self._UNITS:
            part = pc.fill_null(pc.struct_field(found, name), "0")
            number = pc.cast(pc.if_else(pc.equal(part, ""), "0", part), pa.int64())
            total = pc.add(total, pc.multiply(number, unit))
        return self._write(keep(total, mask)), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        if not pa.types.is_duration(values.type):
            return None
        counted = pc.cast(pc.cast(values, pa.duration("us")), pa.int64())
        is_near = pc.less_equal(pc.abs(counted), MOST_MICROSECONDS)
        return self._write(pc.if_else(is_near, counted, 0)), is_near

    def gather(self, values: list[Any]) -> pa.Array:
        return pa.array(values, pa.duration("us"))

    def _write(self, microseconds: pa.Array) -> pa.Array:
        counted = pc.fill_null(microseconds, 0)
        below = pc.if_else(pc.less(counted, 0), pc.subtract(counted, DAY - 1), counted)
        days = pc.divide(below, DAY)
        rest = pc.subtract(counted, pc.multiply(days, DAY))
        parts = (big_endian(rest), big_endian(pc.cast(days, pa.int32())))
        months = pa.scalar(bytes(4), pa.binary())
        made = pc.binary_join_element_wise(
            *(pc.cast(part, pa.binary()) for part in parts), months, b""
        )
        return pc.if_else(pc.is_valid(microseconds), made, pa.scalar(None, pa.binary()))


class AddressKernel(BytesKernel):
    """GenericIPAddressField in a column of inet: addresses of four octets."""

    python_type = str
    known = (validators.validate_ipv46_address, validators.validate_ipv4_address)
    _TEXT = rf"\A(?:{_OCTET}\.){{3}}{_OCTET}\z"
    _HEAD = b"\x02\x20\x00\x04"
    """AF_INET, 32 bits, no network, four bytes: network_send in src/backend/utils/adt/network.c."""

    @classmethod
    def example(cls) -> tuple[Any, bytes]:
        return ip_address("1.2.3.4"), cls._HEAD + bytes((1, 2, 3, 4))

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._TEXT)
        kept = pc.fill_null(keep(text, mask), "0.0.0.0")  # noqa: S104 - no network is bound
        octets = pc.cast(pc.split_pattern(kept, ".").flatten(), pa.uint8())
        addresses = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(ADDRESS_BYTES), len(text), [None, octets.buffers()[1]]
        )
        head = pa.scalar(self._HEAD, pa.binary())
        made = pc.binary_join_element_wise(head, pc.cast(addresses, pa.binary()), b"")
        return keep(made, pc.fill_null(mask, False)), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:  # noqa: ARG002
        return None
