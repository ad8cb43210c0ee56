"""The base class of kernels, and functions for their masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators

if TYPE_CHECKING:
    from django.db import models

Mask: TypeAlias = "pa.BooleanArray | None"
"""Which cells are taken; None means all of them. Its value for a null cell is ignored."""

EXACT_IN_FLOAT = 2**53
"""Up to here, floats represent every integer exactly, and comparing the two is exact."""


class Kernel(ABC):
    """Converts the cells of one field's column."""

    python_type: ClassVar[type]
    """The exact type of the Python values it takes; subclasses are not taken."""
    validators: ClassVar[tuple[type, ...]] = ()
    """The validators it honours, by their exact class."""
    limits: ClassVar[tuple[type, ...]] = (int,)
    """The types of a validator's limit for which Arrow compares as Python does."""
    takes_choices: ClassVar[bool] = False
    """Whether it can check the values against ``choices``."""

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        self.field = field
        self.checks = checks
        self.blank: bool = field.blank
        """Whether a text may be empty."""
        self.choices: pa.Array | None = None
        """The only allowed values, if the field has ``choices``."""

    @staticmethod
    @abstractmethod
    def stores(kind: pa.DataType) -> bool:
        """Return whether a column of this Arrow type can hold the kernel's values."""

    @abstractmethod
    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Convert an array of strings; the mask says which cells were taken."""

    def read(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Convert the cells of a text file; most fields read them like typed strings."""
        return self.parse(text)

    def read_postgres(self, text: pa.Array) -> tuple[pa.Array, Mask] | None:  # noqa: ARG002
        """Convert cells in PostgreSQL's text format, if that is special for the type."""
        return None

    @abstractmethod
    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        """Convert an Arrow array of another type; return None if the field must judge all of it."""

    def from_python(self, values: list[Any]) -> tuple[pa.Array, Mask] | None:
        """Convert values of ``python_type``, or texts; return None if the field must judge them."""
        types = set(map(type, values)) - {type(None)}
        try:
            if types == {str}:
                return self.parse(pa.array(values, pa.string()))
            if types == {self.python_type}:
                return self.adopt(self.gather(values))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            pass
        return None

    def gather(self, values: list[Any]) -> pa.Array:
        """Make an Arrow array of values of ``python_type`` and None; may raise any exception."""
        return pa.array(values)

    def judge(self, values: pa.Array) -> Mask:
        """Return which of the typed values the field's validators and choices accept."""
        mask: Mask = None
        for check in self.checks:
            if isinstance(check, validators.MinValueValidator):
                mask = both(mask, pc.greater_equal(values, _scalar(check, values)))
            elif isinstance(check, validators.MaxValueValidator):
                mask = both(mask, pc.less_equal(values, _scalar(check, values)))
        if self.choices is not None:
            mask = both(mask, pc.is_in(values, value_set=self.choices))
        return mask

    @classmethod
    def honours(cls, check: Any) -> bool:
        """Return whether the kernel judges exactly as this validator does."""
        if type(check) not in cls.validators:
            return False
        if isinstance(check, validators.DecimalValidator):
            return True
        limit = check.limit_value
        return type(limit) in cls.limits and (
            not isinstance(limit, int) or abs(limit) <= EXACT_IN_FLOAT or cls.limits == (int,)
        )


def both(mask: Mask, other: Mask) -> Mask:
    """Combine two masks: a cell must be taken by both."""
    if mask is None:
        return other
    return mask if other is None else pc.and_(mask, other)


def keep(cells: pa.Array, mask: pa.BooleanArray) -> pa.Array:
    """Return the cells with a null where the mask is not true."""
    return pc.if_else(mask, cells, pa.scalar(None, cells.type))


def is_all(mask: pa.BooleanArray) -> bool:
    """Return whether the mask takes every cell that is not null."""
    return pc.all(mask, skip_nulls=True).as_py() is not False


def _scalar(check: Any, values: pa.Array) -> pa.Scalar:
    limit = check.limit_value
    return pa.scalar(limit) if isinstance(limit, int) else pa.scalar(limit, values.type)
