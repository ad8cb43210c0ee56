"""The order of a list, as a key at which a page can begin."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import BooleanField, F, Func, Value
from django.db.models.lookups import (
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from django.utils.translation import gettext as _

from ingest.admin.large_tables.indexes import TableIndexes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Field, Model, QuerySet

Key = tuple[Any, ...]


class NoKey(Exception):  # noqa: N818 - it says what is missing
    """Rows cannot be found by their position in this order; the message gives the reason."""


class _Row(Func):
    """``ROW(a, b)``: PostgreSQL compares rows in the order of an index."""

    template = "ROW(%(expressions)s)"
    output_field = BooleanField()  # any type: the comparison does not use it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordering:
    """Columns, sorted in one direction, that together identify every row."""

    fields: tuple[Field[Any, Any], ...]
    is_descending: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The attribute names of the fields."""
        return tuple(field.attname for field in self.fields)

    @property
    def first(self) -> Field[Any, Any]:
        """The first field of the order."""
        return self.fields[0]

    def key_of(self, row: Model) -> Key:
        """Return the values that determine a row's position in the order."""
        return tuple(getattr(row, name) for name in self.names)

    def as_texts(self, key: Key) -> list[str]:
        """Return a key as texts for ``from_texts``."""
        model = self.first.model
        row = model(**dict(zip(self.names, key, strict=True)))
        return [field.value_to_string(row) for field in self.fields]

    def from_texts(self, texts: Sequence[str]) -> Key:
        """Parse a key; raise ``ValueError`` or ``ValidationError`` if it is invalid."""
        if "\0" in "".join(texts):
            raise ValueError("PostgreSQL has no such text")
        return tuple(field.to_python(text) for field, text in zip(self.fields, texts, strict=True))

    def at_or_after(self, queryset: QuerySet[Any], key: Key) -> QuerySet[Any]:
        """Return the rows from this key on."""
        return self._compared(
            queryset, key, LessThanOrEqual if self.is_descending else GreaterThanOrEqual
        )

    def after(self, queryset: QuerySet[Any], key: Key) -> QuerySet[Any]:
        """Return the rows after this key."""
        return self._compared(queryset, key, LessThan if self.is_descending else GreaterThan)

    def before(self, queryset: QuerySet[Any], key: Key) -> QuerySet[Any]:
        """Return the rows before this key, in the order's own direction."""
        return self._compared(queryset, key, GreaterThan if self.is_descending else LessThan)

    def _compared(self, queryset: QuerySet[Any], key: Key, lookup: Any) -> QuerySet[Any]:
        if len(self.fields) == 1:
            return queryset.filter(lookup(F(self.first.attname), Value(key[0], self.first)))
        values = [Value(value, field) for field, value in zip(self.fields, key, strict=True)]
        return queryset.filter(lookup(_Row(*map(F, self.names)), _Row(*values)))


def read_ordering(queryset: QuerySet[Any]) -> Ordering:
    """Return the order of a queryset; raise ``NoKey`` if no index supports it."""
    if queryset.query.distinct or queryset.query.combinator:
        raise NoKey("the rows are made distinct first")
    parts = [_part(queryset.model, part) for part in queryset.query.order_by]
    ways = {is_descending for _, is_descending in parts}
    fields = tuple(dict.fromkeys(field for fields, _ in parts for field in fields))
    if len(ways) != 1:
        raise NoKey(_("the columns are not all sorted in the same direction"))
    ordering = Ordering(fields=fields, is_descending=ways.pop())
    indexes = TableIndexes(queryset.model, queryset.db)
    if not indexes.sort(tuple(str(field.column) for field in fields)):
        names = ", ".join(field.name for field in fields)
        raise NoKey(_("no index serves the order by %(fields)s") % {"fields": names})
    return ordering


def _part(model: type[Model], part: Any) -> tuple[list[Field[Any, Any]], bool]:
    if not isinstance(part, str):
        raise NoKey(_("the order is by an expression"))
    name = part.lstrip("-")
    fields: list[Any]
    try:
        fields = [model._meta.get_field(name)] if name != "pk" else model._meta.pk_fields
    except FieldDoesNotExist:
        raise NoKey(_("%(field)s is not a column of the table") % {"field": name}) from None
    for field in fields:
        _check(model, field, name)
    return fields, part.startswith("-")


def _check(model: type[Model], field: Any, name: str) -> None:
    if not field.concrete or field.model is not model:
        raise NoKey(_("%(field)s is not a column of the table") % {"field": name})
    if field.is_relation and name == field.name and field.related_model._meta.ordering:
        raise NoKey(_("%(field)s is sorted by the columns of another table") % {"field": name})
    if field.null:
        raise NoKey(_("%(field)s may be empty") % {"field": name})
