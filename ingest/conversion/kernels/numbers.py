"""Kernels for numbers and booleans."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators

from ingest.conversion.kernels.base import Kernel, Mask, keep

if TYPE_CHECKING:
    from django.db import models

_LIMITS = (validators.MinValueValidator, validators.MaxValueValidator)


class IntegerKernel(Kernel):
    """The integer fields, and foreign keys to them."""

    python_type = int
    validators = _LIMITS
    stores = staticmethod(pa.types.is_integer)
    takes_choices = True

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        try:
            numbers = pc.cast(text, pa.int64())
        except pa.ArrowInvalid:
            mask = pc.match_substring_regex(text, r"^-?[0-9]{1,18}$")
            return pc.cast(keep(text, mask), pa.int64()), mask
        # Arrow reads 0x10 as 16; int() does not.
        is_hex = pc.or_(pc.starts_with(text, "0x"), pc.starts_with(text, "0X"))
        return numbers, pc.invert(is_hex)

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        if not pa.types.is_integer(values.type):
            return None
        return pc.cast(values, pa.int64()), None


class DecimalKernel(Kernel):
    """DecimalField with max_digits and decimal_places that fit a decimal128."""

    python_type = Decimal
    validators = (validators.DecimalValidator, *_LIMITS)
    limits = (int, Decimal)
    stores = staticmethod(pa.types.is_decimal128)

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        super().__init__(field, checks)
        digits, places = field.max_digits, field.decimal_places  # type: ignore[attr-defined]
        self._type = pa.decimal128(digits, places)
        part = rf"\.[0-9]{{1,{places}}}"
        if digits > places:
            part = f"({part})?" if places else ""
            self._pattern = f"^-?[0-9]{{1,{digits - places}}}{part}$"
        else:
            # DecimalValidator counts a 0 without places as a digit before the point.
            self._pattern = f"^-?0{part}$"

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._pattern)
        return pc.cast(keep(text, mask), self._type), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        kind = values.type
        if not pa.types.is_decimal(kind) or (self._is_only_places and kind.scale <= 0):
            return None
        # Fails if a digit would be lost; trailing zeros belong to the Arrow type, not to the value.
        return pc.cast(values, self._type), None

    def gather(self, values: list[Any]) -> pa.Array:
        decimals = pa.array(values)
        # In a Decimal, trailing zeros count: DecimalValidator counts them.
        if decimals.type.scale > self._type.scale or self._is_only_places:
            raise ValueError("some value may have too many places")
        return decimals

    @property
    def _is_only_places(self) -> bool:
        return bool(self._type.precision == self._type.scale)


_PLAIN_FLOAT = r"^-?[0-9]{1,200}(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
"""A text that is surely no number beyond all floats: those are infinity, which is reported."""


class FloatKernel(Kernel):
    """FloatField."""

    python_type = float
    validators = _LIMITS
    limits = (int, float)
    stores = staticmethod(pa.types.is_float64)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, _PLAIN_FLOAT)
        return pc.cast(keep(text, mask), pa.float64()), mask

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        kind = values.type
        if pa.types.is_float32(kind) or pa.types.is_integer(kind):
            # Fails for an integer that a float cannot represent exactly.
            return pc.cast(values, pa.float64()), None
        return (values, None) if pa.types.is_float64(kind) else None


class BooleanKernel(Kernel):
    """BooleanField, with the texts that it accepts."""

    python_type = bool
    stores = staticmethod(pa.types.is_boolean)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        is_true = pc.is_in(text, value_set=pa.array(["t", "True", "1"]))
        is_false = pc.is_in(text, value_set=pa.array(["f", "False", "0"]))
        known = pc.or_(is_true, is_false)
        return keep(is_true, known), known

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        return (values, None) if pa.types.is_boolean(values.type) else None
