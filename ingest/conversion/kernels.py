"""Whole columns at a time: what Arrow can judge and convert just as the Django field would.

A kernel *takes* a cell only where its result is certain to be the field's own; every other cell is
left to the field itself (see ``cleaning``). A field has a kernel only while its class and its
validators are exactly those whose behaviour the kernel knows.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators
from django.db import models
from django.utils import timezone

Mask: TypeAlias = "pa.BooleanArray | None"
"""Which cells are taken; None stands for all of them."""


class Kernel(ABC):
    """Converts the cells of one field's column."""

    python_type: ClassVar[type]
    """The type of the Python values it takes; not its subclasses."""
    validators: ClassVar[tuple[type, ...]] = ()
    """The validators it honours, by their exact class."""

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        self.field = field
        self.checks = checks

    @abstractmethod
    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Read an array of strings; the mask says which cells were taken."""

    @abstractmethod
    def adopt(self, values: pa.Array) -> pa.Array | None:
        """Take an Arrow array of another type, or None where the field must judge."""

    def from_python(self, values: list[Any]) -> pa.Array | None:
        """Take Python values of ``python_type`` (and None), or None where the field must judge."""
        if set(map(type, values)) <= {self.python_type, type(None)}:
            try:
                return self.adopt(pa.array(values))
            except (pa.ArrowException, OverflowError, UnicodeError):
                return None
        return None

    def judge(self, values: pa.Array) -> Mask:
        """Say which of the typed values the field's validators let pass."""
        mask: Mask = None
        for check in self.checks:
            if isinstance(check, validators.MinValueValidator):
                mask = both(mask, pc.greater_equal(values, _scalar(check, values)))
            elif isinstance(check, validators.MaxValueValidator):
                mask = both(mask, pc.less_equal(values, _scalar(check, values)))
        return mask


class TextKernel(Kernel):
    """CharField, TextField and those that differ from them by validators it knows."""

    python_type = str
    validators = (validators.MaxLengthValidator, validators.MinLengthValidator)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        return text, None

    def adopt(self, values: pa.Array) -> pa.Array | None:
        is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        return pc.cast(values, pa.string()) if is_text else None

    def judge(self, values: pa.Array) -> Mask:
        mask = None
        lengths = None
        for check in self.checks:
            lengths = pc.utf8_length(values) if lengths is None else lengths
            compare = (
                pc.less_equal if type(check) is validators.MaxLengthValidator else pc.greater_equal
            )
            mask = both(mask, compare(lengths, check.limit_value))
        if not self.field.blank:
            mask = both(mask, pc.not_equal(values, ""))
        return both(mask, pc.invert(pc.match_substring(values, "\0")))


class IntegerKernel(Kernel):
    """The integer fields, and keys that are integers."""

    python_type = int
    validators = (validators.MinValueValidator, validators.MaxValueValidator)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        try:
            numbers = pc.cast(text, pa.int64())
        except pa.ArrowInvalid:
            mask = pc.match_substring_regex(text, r"^-?[0-9]{1,18}$")
            return pc.cast(keep(text, mask), pa.int64()), mask
        # Arrow reads 0x10 as 16; int() does not.
        is_hex = pc.or_(pc.starts_with(text, "0x"), pc.starts_with(text, "0X"))
        return numbers, pc.invert(is_hex)

    def adopt(self, values: pa.Array) -> pa.Array | None:
        return pc.cast(values, pa.int64()) if pa.types.is_integer(values.type) else None


class DecimalKernel(Kernel):
    """DecimalField with max_digits and decimal_places."""

    python_type = Decimal
    validators = (
        validators.DecimalValidator,
        validators.MinValueValidator,
        validators.MaxValueValidator,
    )

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        super().__init__(field, checks)
        digits, places = field.max_digits, field.decimal_places  # type: ignore[attr-defined]
        self._type = pa.decimal128(digits, places)
        whole = f"[0-9]{{1,{digits - places}}}" if digits > places else "0"
        part = rf"(\.[0-9]{{1,{places}}})?" if places else ""
        self._pattern = f"^-?{whole}{part}$"

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, self._pattern)
        return pc.cast(keep(text, mask), self._type), mask

    def adopt(self, values: pa.Array) -> pa.Array | None:
        if not pa.types.is_decimal(values.type):
            return None
        spare = values.type.precision - values.type.scale
        if values.type.scale > self._type.scale or spare > self._type.precision - self._type.scale:
            return None
        return pc.cast(values, self._type)


class DateKernel(Kernel):
    """DateField."""

    python_type = dt.date
    validators = (validators.MinValueValidator, validators.MaxValueValidator)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        try:
            return pc.cast(text, pa.date32()), pc.invert(pc.starts_with(text, "0000"))
        except pa.ArrowInvalid:
            # The 29th to 31st are left to the field, which knows the months.
            mask = pc.match_substring_regex(
                text, r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$"
            )
            return pc.cast(keep(text, mask), pa.date32()), mask

    def adopt(self, values: pa.Array) -> pa.Array | None:
        return values if pa.types.is_date32(values.type) else None


class DateTimeKernel(Kernel):
    """DateTimeField, in a project with USE_TZ."""

    python_type = dt.datetime

    _PATTERN = (
        r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[T ]"
        r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    )

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        aware = pc.match_substring_regex(
            text, self._PATTERN + r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"
        )
        late = pc.invert(pc.starts_with(text, "0"))
        mask = pc.and_(aware, late)
        moments = pc.cast(keep(text, mask), pa.timestamp("us", tz="UTC"))
        if pc.all(mask, skip_nulls=True).as_py() is not False:
            return moments, None
        naive = pc.and_(pc.match_substring_regex(text, self._PATTERN + "$"), late)
        local = _localize(pc.cast(keep(text, naive), pa.timestamp("us")))
        if local is None:
            return moments, mask
        return pc.coalesce(moments, local), pc.or_(mask, naive)

    def adopt(self, values: pa.Array) -> pa.Array | None:
        if not pa.types.is_timestamp(values.type):
            return None
        if values.type.tz is not None:
            return pc.cast(values, pa.timestamp("us", tz="UTC"))
        return _localize(pc.cast(values, pa.timestamp("us")))

    def from_python(self, values: list[Any]) -> pa.Array | None:
        # Arrow would read naive values among aware ones as UTC.
        if any(value is not None and getattr(value, "tzinfo", None) is None for value in values):
            return None
        if set(map(type, values)) <= {dt.datetime, type(None)}:
            return pa.array(values, type=pa.timestamp("us", tz="UTC"))
        return None


class BooleanKernel(Kernel):
    """BooleanField, with the words that it knows."""

    python_type = bool
    _TRUE = pa.array(["t", "True", "1"])
    _FALSE = pa.array(["f", "False", "0"])

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        is_true = pc.is_in(text, value_set=self._TRUE)
        known = pc.or_(is_true, pc.is_in(text, value_set=self._FALSE))
        return keep(is_true, known), known

    def adopt(self, values: pa.Array) -> pa.Array | None:
        return values if pa.types.is_boolean(values.type) else None


class FloatKernel(Kernel):
    """FloatField."""

    python_type = float
    validators = (validators.MinValueValidator, validators.MaxValueValidator)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        mask = pc.match_substring_regex(text, r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$")
        mask = pc.and_(mask, pc.invert(pc.starts_with(text, "+")))
        return pc.cast(keep(text, mask), pa.float64()), mask

    def adopt(self, values: pa.Array) -> pa.Array | None:
        return values if pa.types.is_float64(values.type) else None


_KERNELS: tuple[tuple[type[models.Field[Any, Any]], type[Kernel]], ...] = (
    (models.IntegerField, IntegerKernel),
    (models.DecimalField, DecimalKernel),
    (models.DateTimeField, DateTimeKernel),
    (models.DateField, DateKernel),
    (models.BooleanField, BooleanKernel),
    (models.FloatField, FloatKernel),
    (models.CharField, TextKernel),
    (models.TextField, TextKernel),
)
_METHODS = (
    "clean",
    "to_python",
    "validate",
    "run_validators",
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
)


def find_kernel(field: models.Field[Any, Any]) -> Kernel | None:
    """Find the kernel for a field, or None where only the field itself can judge."""
    judged = field
    while isinstance(judged, models.ForeignKey):
        if type(judged) not in {models.ForeignKey, models.OneToOneField} or judged.validators:
            return None
        judged = judged.target_field
    for base, kernel in _KERNELS:
        if isinstance(judged, base) and _behaves_like(judged, base):
            return _build(field, judged, kernel)
    return None


def _build(
    field: models.Field[Any, Any], judged: models.Field[Any, Any], kernel: type[Kernel]
) -> Kernel | None:
    # A foreign key does not run the validators of the field it refers to.
    checks = [] if judged is not field else list(field.validators)
    if field.choices or (judged is field and not all(map(_is_simple(kernel), checks))):
        return None
    if kernel is DecimalKernel and not _fits_decimal128(judged):
        return None
    return kernel(judged, checks)


def _is_simple(kernel: type[Kernel]) -> Any:
    return lambda check: (
        type(check) in kernel.validators and not callable(getattr(check, "limit_value", None))
    )


def _fits_decimal128(field: Any) -> bool:
    digits, places = field.max_digits, field.decimal_places
    return digits is not None and places is not None and places <= digits <= 38  # noqa: PLR2004


def _behaves_like(field: models.Field[Any, Any], base: type[models.Field[Any, Any]]) -> bool:
    """Say whether the class judges and prepares values with Django's own methods."""
    kind = type(field)
    for name in _METHODS:
        owner = next(parent for parent in kind.__mro__ if name in vars(parent))
        if not owner.__module__.startswith("django.db.models."):
            return False
    return issubclass(kind, base)


def both(mask: Mask, other: Mask) -> Mask:
    """Combine two masks: a cell must be taken by both."""
    if mask is None:
        return other
    return mask if other is None else pc.and_(mask, other)


def keep(cells: pa.Array, mask: pa.BooleanArray) -> pa.Array:
    """Give the cells with a null where the mask is not true."""
    return pc.if_else(mask, cells, pa.scalar(None, cells.type))


def _scalar(check: Any, values: pa.Array) -> pa.Scalar:
    limit = check.limit_value
    return pa.scalar(limit) if isinstance(limit, int) else pa.scalar(limit, values.type)


def _localize(naive: pa.Array) -> pa.Array | None:
    """Read naive times in Django's default time zone; None where a time is not unique there."""
    try:
        aware = pc.assume_timezone(naive, timezone.get_default_timezone_name())
    except (pa.ArrowInvalid, ValueError):
        return None
    return pc.cast(aware, pa.timestamp("us", tz="UTC"))
