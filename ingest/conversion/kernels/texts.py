"""Kernels for texts and UUIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.kernels.base import Kernel, Mask, both, is_all, keep
from ingest.conversion.kernels.text_checks import find_check, without_null_characters

if TYPE_CHECKING:
    from django.db import models

UUID_BYTES = 16


class TextKernel(Kernel):
    """CharField, TextField and fields that only add validators with a known check."""

    python_type = str
    stores = staticmethod(pa.types.is_string)
    takes_choices = True

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        super().__init__(field, checks)
        self._judges = [judge for judge in map(find_check, checks) if judge is not None]

    @classmethod
    def honours(cls, check: Any) -> bool:
        return find_check(check) is not None

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        return text, None

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:  # noqa: ARG002
        return None

    def judge(self, values: pa.Array) -> Mask:
        mask: Mask = None
        for judge in self._judges:
            mask = both(mask, judge(values))
        if self.choices is not None:
            mask = both(mask, pc.is_in(values, value_set=self.choices))
        # Django checks an empty text only against ``blank``, not against choices or validators.
        if not self.blank:
            mask = both(mask, pc.not_equal(values, ""))
        elif mask is not None:
            mask = pc.or_(mask, pc.equal(values, ""))
        return both(mask, without_null_characters(values))


class UUIDKernel(Kernel):
    """UUIDField: 36 characters with four hyphens, or 32 without."""

    python_type = UUID
    _WITH_HYPHENS = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
    _WITHOUT = r"^[0-9a-fA-F]{32}$"
    _ZEROS = "0" * 2 * UUID_BYTES

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(kind == pa.binary(UUID_BYTES))

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._WITH_HYPHENS)
        if not is_all(mask):
            mask = pc.or_(mask, pc.match_substring_regex(text, self._WITHOUT))
        digits = pc.replace_substring(keep(text, mask), "-", "")
        joined = pc.binary_join(_one_list(pc.fill_null(digits, self._ZEROS)), "")[0].as_py()
        numbers = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(UUID_BYTES), len(text), [None, pa.py_buffer(bytes.fromhex(joined))]
        )
        return keep(numbers, pc.is_valid(digits)), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        return (values.storage, None) if isinstance(values.type, pa.UuidType) else None

    def gather(self, values: list[Any]) -> pa.Array:
        numbers = [None if value is None else value.bytes for value in values]
        return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(numbers, pa.binary(UUID_BYTES)))


def _one_list(texts: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), texts)
