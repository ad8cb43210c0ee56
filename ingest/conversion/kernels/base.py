"""What a kernel is, and the masks that kernels work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators

if TYPE_CHECKING:
    from django.db import models

Mask: TypeAlias = "pa.BooleanArray | None"
"""Which cells are taken; None stands for all of them. What it says of a null does not count."""

EXACT_IN_FLOAT = 2**53
"""Up to here every integer has a float of its own, and comparing the two is exact."""


class Kernel(ABC):
    """Converts the cells of one field's column."""

    python_type: ClassVar[type]
    """The type of the Python values it takes; not its subclasses."""
    validators: ClassVar[tuple[type, ...]] = ()
    """The validators it honours, by their exact class."""
    limits: ClassVar[tuple[type, ...]] = (int,)
    """The types a validator's limit may have, so that Arrow compares as Python does."""
    takes_choices: ClassVar[bool] = False
    """Whether it recognizes the values of ``choices`` by itself."""

    def __init__(self, field: models.Field[Any, Any], checks: list[Any]) -> None:
        self.field = field
        self.checks = checks
        self.blank: bool = field.blank
        """Whether a text may be empty."""
        self.choices: pa.Array | None = None
        """The values that alone are allowed, where the field has ``choices``."""

    @staticmethod
    @abstractmethod
    def stores(kind: pa.DataType) -> bool:
        """Return whether a column of this Arrow type holds what the kernel makes."""

    @abstractmethod
    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Read an array of strings; the mask says which cells were taken."""

    def read(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Read the cells of a text file; for most fields they are what a typed text is."""
        return self.parse(text)

    def read_postgres(self, text: pa.Array) -> tuple[pa.Array, Mask] | None:  # noqa: ARG002
        """Read the cells of a file of PostgreSQL's own, where it writes the type in its own way."""
        return None

    @abstractmethod
    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        """Take an Arrow array of another type, or None where the field must judge it all."""

    def from_python(self, values: list[Any]) -> tuple[pa.Array, Mask] | None:
        """Take Python values of ``python_type``, or texts; None where the field must judge."""
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
        """Make an Arrow array of values of ``python_type``, and None; any exception may arise."""
        return pa.array(values)

    def judge(self, values: pa.Array) -> Mask:
        """Return which of the typed values the field's validators and choices let pass."""
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
        """Return whether the kernel judges just as this validator does."""
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
