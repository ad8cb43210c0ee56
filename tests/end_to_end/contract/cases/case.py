"""A case: a model and the rows that every method must write as the ORM writes them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from django.db.models import Model


def no_parents():
    return []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    model: type[Model]
    values: Mapping[str, Sequence[Any]]
    """Field name -> its values, one for each row; the shorter lists begin again.

    A field `x_or_null` that has no list has the values of `x` and None.
    """
    altered: frozenset[str] = frozenset()
    """Fields that read back, also through the ORM, as something else than was given."""
    parents: Callable[[], list[Model]] = no_parents
    """Makes the rows that the rows refer to."""

    def __str__(self):
        return self.model._meta.object_name

    @property
    def fields(self):
        """The fields that are given, in the order of `values` and not of the model."""
        names = list(self.values)
        for field in self.model._meta.concrete_fields:
            if field.name.removesuffix("_or_null") in names and field.name not in names:
                names.append(field.name)
        return tuple(self.model._meta.get_field(name) for name in names)

    @property
    def rows(self):
        columns = [self._values_of(field.name) for field in self.fields]
        length = max(map(len, columns))
        return list(zip(*(islice(cycle(column), length) for column in columns), strict=True))

    def _values_of(self, name):
        if name in self.values:
            return self.values[name]
        return [*self.values[name.removesuffix("_or_null")], None]
