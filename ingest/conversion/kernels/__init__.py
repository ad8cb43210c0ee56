"""Judge and convert whole columns with Arrow, exactly as the Django field would.

A kernel *takes* a cell only if its result is certain to be the field's own; every other cell is
left to the field itself (see ``cleaning``). A field has a kernel only if the behaviour of its
class, its validators and its choices is known exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from django.contrib.postgres.fields import ArrayField
from django.core.validators import EMPTY_VALUES, MaxLengthValidator
from django.db import models

from ingest.conversion.kernels.base import Kernel, Mask, both, keep
from ingest.conversion.kernels.bytes_columns import (
    AddressKernel,
    BinaryKernel,
    BytesKernel,
    DurationKernel,
)
from ingest.conversion.kernels.datetimes import DateKernel, DateTimeKernel
from ingest.conversion.kernels.documents import JSONKernel
from ingest.conversion.kernels.list_items import ITEM_KINDS
from ingest.conversion.kernels.lists import ListKernel
from ingest.conversion.kernels.numbers import (
    BooleanKernel,
    DecimalKernel,
    FloatKernel,
    IntegerKernel,
)
from ingest.conversion.kernels.texts import TextKernel, UUIDKernel
from ingest.conversion.storing import text_limit

if TYPE_CHECKING:
    from ingest.postgres.catalog import Column
    from ingest.postgres.encoding import ColumnEncoding

__all__ = ["Kernel", "Mask", "both", "find_bytes_kernel", "find_kernel", "keep"]

_KERNELS: tuple[tuple[type[models.Field[Any, Any]], type[Kernel]], ...] = (
    (models.IntegerField, IntegerKernel),
    (models.DecimalField, DecimalKernel),
    (models.DateTimeField, DateTimeKernel),
    (models.DateField, DateKernel),
    (models.BooleanField, BooleanKernel),
    (models.FloatField, FloatKernel),
    (models.CharField, TextKernel),
    (models.TextField, TextKernel),
    (models.UUIDField, UUIDKernel),
    (models.BinaryField, BinaryKernel),
)
_BYTES_KERNELS: tuple[tuple[type[models.Field[Any, Any]], str, type[BytesKernel]], ...] = (
    (models.DurationField, "interval", DurationKernel),
    (models.GenericIPAddressField, "inet", AddressKernel),
)
METHODS = (
    "clean",
    "to_python",
    "validate",
    "run_validators",
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
)
_OF_DJANGO = ("django.db.models.", "django.contrib.postgres.fields.")
MAX_DIGITS = 38
"""The most digits of a decimal128."""


def find_kernel(field: models.Field[Any, Any], stored_as: pa.DataType) -> Kernel | None:
    """Return the kernel for a field whose column has this Arrow type.

    Returns None if only the field itself can judge its values.
    """
    judged = field
    while isinstance(judged, models.ForeignKey):
        if type(judged) not in {models.ForeignKey, models.OneToOneField} or judged.validators:
            return None
        judged = judged.target_field
    for base, kernel in _KERNELS:
        if isinstance(judged, base) and kernel.stores(stored_as) and _behaves_like(judged, base):
            return _build(field, judged, kernel)
    return None


def find_bytes_kernel(field: models.Field[Any, Any], encoding: ColumnEncoding) -> Kernel | None:
    """Return the kernel for a field whose column is written as bytes, not as an Arrow type."""
    if field.choices is not None:
        return None
    if isinstance(field, models.JSONField):
        is_known = _behaves_like(field, models.JSONField) and not field.validators
        return (
            JSONKernel(field, [], encoding)
            if is_known and JSONKernel.takes(field, encoding)
            else None
        )
    for base, type_name, kernel in _BYTES_KERNELS:
        if (
            encoding.column.type_name == type_name
            and _behaves_like(field, base)
            and kernel.takes(field, encoding)
        ):
            return kernel(field, [])
    if isinstance(field, ArrayField) and encoding.column.type_name in ITEM_KINDS:
        items = find_kernel(field.base_field, ITEM_KINDS[encoding.column.type_name].made_type)
        if (
            items is not None
            and _behaves_like(field, ArrayField)
            and all(map(ListKernel.honours, field.validators))
            and _holds_items(encoding.column, items)
            and ListKernel.takes(items, encoding)
        ):
            return ListKernel(field, list(field.validators), items, encoding)
    return None


def _holds_items(column: Column, items: Kernel) -> bool:
    """Return whether every text that the item's field accepts fits into an item of the column."""
    limit = text_limit(column)
    return limit is None or any(
        type(check) is MaxLengthValidator and check.limit_value <= limit for check in items.checks
    )


def _build(
    field: models.Field[Any, Any], judged: models.Field[Any, Any], kernel: type[Kernel]
) -> Kernel | None:
    # A foreign key does not run the validators of the field it refers to.
    checks = [] if judged is not field else list(field.validators)
    if not all(map(kernel.honours, checks)):
        return None
    if kernel is DecimalKernel and not _fits_decimal128(judged):
        return None
    built = kernel(judged, checks)
    built.blank = field.blank
    if field.choices is not None:
        built.choices = _choices(field, kernel)
        if built.choices is None:
            return None
    return built


def _choices(field: models.Field[Any, Any], kernel: type[Kernel]) -> pa.Array | None:
    values = [value for value, _ in field.flatchoices if value not in EMPTY_VALUES]
    if not kernel.takes_choices or set(map(type, values)) != {kernel.python_type}:
        return None
    try:
        return pa.array(values, pa.string() if kernel.python_type is str else pa.int64())
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None


def _fits_decimal128(field: Any) -> bool:
    digits, places = field.max_digits, field.decimal_places
    return digits is not None and places is not None and places <= digits <= MAX_DIGITS


def owner_of(field: models.Field[Any, Any], name: str) -> type:
    """Return the class that defines a field's method."""
    return next(parent for parent in type(field).__mro__ if name in vars(parent))


def honours(check: Any) -> bool:
    """Return whether some kernel judges exactly as this validator does."""
    return any(kernel.honours(check) for kernel in {kernel for _, kernel in _KERNELS})


def _behaves_like(field: models.Field[Any, Any], base: type[models.Field[Any, Any]]) -> bool:
    """Return whether the field judges and prepares values with Django's own methods."""
    kind = type(field)
    for name in METHODS:
        if not owner_of(field, name).__module__.startswith(_OF_DJANGO):
            return False
    empty = [None, b""] if base is models.BinaryField else list(EMPTY_VALUES)
    return issubclass(kind, base) and list(field.empty_values) == empty
