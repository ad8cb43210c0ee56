"""Search in a large table, limited to what its indexes find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import NotRelationField, get_fields_from_path
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Q
from django.db.models.constants import LOOKUP_SEP
from django.utils.text import smart_split, unescape_string_literal

from ingest.admin.large_tables.indexes import TableIndexes
from ingest.admin.large_tables.time_limits import time_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

FOUND_ROWS = 1_000
"""The most rows of a related table whose keys are looked up in the large table."""
LOOKING_MILLISECONDS = 500
"""The time limit for searching a word in a related table."""


class IndexedSearch:
    """Searches a large queryset by indexed fields, and names the fields it leaves out."""

    def __init__(self, queryset: QuerySet[Any], fields: Sequence[str]) -> None:
        self._queryset = queryset
        indexes = TableIndexes(queryset.model, queryset.db)
        self._own: list[str] = []
        self._related: dict[str, list[str]] = {}
        self.left_out: list[str] = []
        """The fields that could only be searched by reading every row."""
        for field in fields:
            path = field.lstrip("^=@")
            name, _, rest = path.partition(LOOKUP_SEP)
            if name == "pk":
                name = str(queryset.model._meta.pk.name)
            try:
                found = queryset.model._meta.get_field(name)
            except FieldDoesNotExist:
                self.left_out.append(path)
                continue
            if not (found.concrete and indexes.find(found.column)):
                self.left_out.append(path)
            elif found.is_relation and rest:
                self._related.setdefault(name, []).append(rest)
            else:
                self._own.append(name)

    def find(self, text: str) -> QuerySet[Any]:
        """Return the rows in which each word is found.

        A column of the table itself must equal the word; a column of a related table may contain
        it. Raise ``TookTooLong`` if a related table is too large for that.
        """
        queryset = self._queryset
        for word in smart_split(text):
            bare = word
            if word.startswith(('"', "'")) and word[0] == word[-1]:
                bare = unescape_string_literal(word)
            queryset = queryset.filter(self._condition(bare))
        return queryset

    def _condition(self, word: str) -> Q:
        condition = Q(pk__in=())  # matches no row
        for name in self._own:
            field = self._queryset.model._meta.get_field(name)
            try:
                value = field.to_python(word)
                field.get_prep_value(value)
            except (ValueError, TypeError, ValidationError):
                continue  # the word is not a valid value of this column
            condition |= Q(**{name: value})
        for name, paths in self._related.items():
            condition |= Q(**{f"{name}__in": self._keys(name, paths, word)})
        return condition

    def _keys(self, name: str, paths: Sequence[str], word: str) -> Any:
        relation: Any = self._queryset.model._meta.get_field(name)
        related = relation.related_model
        condition = Q()
        for path in paths:
            lookup = path if _has_lookup(related, path) else f"{path}__icontains"
            condition |= Q(**{lookup: word})
        found = related._base_manager.using(self._queryset.db).filter(condition)
        keys = found.values_list(relation.target_field.attname, flat=True)
        with time_limit(self._queryset.db, LOOKING_MILLISECONDS):
            some = list(keys[: FOUND_ROWS + 1])
        # A word that is found everywhere is quickly found in the large table too, row by row.
        return some if len(some) <= FOUND_ROWS else keys


def _has_lookup(model: Any, path: str) -> bool:
    try:
        get_fields_from_path(model, path)
    except (FieldDoesNotExist, NotRelationField):
        return True
    return False
