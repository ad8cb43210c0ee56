"""Filters whose choices are found without reading the large table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin.filters import (
    AllValuesFieldListFilter,
    FieldListFilter,
    RelatedFieldListFilter,
    SimpleListFilter,
)
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path, get_model_from_relation
from django.db import connections
from django.utils.translation import gettext_lazy as _

from ingest.admin.addresses import read_number
from ingest.admin.large_tables.counting import count_rows
from ingest.admin.large_tables.indexes import TableIndexes
from ingest.exceptions import LedgerError
from ingest.ledger.models import Load

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

CHOICES_SHOWN = 100
"""A filter with more choices is not useful; it is hidden until it is used."""
LOADS_SHOWN = 10
"""The number of newest loads in the filter by load."""
LOAD_VAR = "load"


class IndexedValuesFilter(AllValuesFieldListFilter):
    """A filter with all values of a column, each found by one index lookup."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        values: QuerySet[Any] = self.lookup_choices
        column = str(self.field.column)
        if TableIndexes(values.model, values.db).find(column):
            found: list[Any] | None = walk_values(
                values.model._base_manager.using(values.db), self.field.name
            )
        elif count_rows(values.model._base_manager.using(values.db)).is_exact:
            found = list(values[: CHOICES_SHOWN + 1])
        else:
            found = None
        is_short = found is not None and len(found) <= CHOICES_SHOWN
        choices: Any = found if is_short else list(self.lookup_val or ())
        self.lookup_choices = choices
        self.is_used = self.lookup_val is not None or self.lookup_val_isnull is not None

    def has_output(self) -> bool:
        return self.is_used or len(self.lookup_choices) > 0


class BoundedRelatedFilter(RelatedFieldListFilter):
    """A filter with the rows of a related table, if there are few of them."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        related = get_model_from_relation(field)._default_manager.all()
        if count_rows(related, limit=CHOICES_SHOWN).is_exact:
            return super().field_choices(field, request, model_admin)
        chosen = {f"{field.target_field.name}__in": self.lookup_val or ()}
        return field.get_choices(include_blank=False, limit_choices_to=chosen)

    def has_output(self) -> bool:
        return self.lookup_val is not None or super().has_output()


class LoadFilter(SimpleListFilter):
    """A filter for the rows that a load inserted."""

    title = _("load")
    parameter_name = LOAD_VAR

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        given = self.used_parameters.get(LOAD_VAR)
        alias = model_admin.get_queryset(request).db
        self.loads = loads_of(model_admin.model, alias)
        shown: dict[str, str] = {}
        if request.user.has_perm("ingest.view_load"):
            for load in self.loads[:LOADS_SHOWN]:
                shown[str(load.pk)] = f"{load.pk}: {load.source}"
        if given is not None:
            shown.setdefault(given, given)
        return list(shown.items())

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        queryset: QuerySet[Any],
    ) -> QuerySet[Any]:
        given = self.value()
        if given is None:
            return queryset
        number = read_number(given)
        load = None if number is None else self.loads.filter(pk=number).first()
        if load is None:
            raise IncorrectLookupParameters
        try:
            _check_place(load)
        except LedgerError:  # another tenant's, which has other rows with the same keys
            raise IncorrectLookupParameters from None
        try:
            rows: QuerySet[Any] = queryset & load.rows()
        except TypeError:  # a proxy model's, or a queryset with distinct()
            rows = queryset.filter(pk__in=load.rows().values("pk"))
        return rows


def _check_place(load: Load) -> None:
    # Django imports this module at every start, and Arrow, which this needs, only here.
    from ingest.ledger.place import check_place

    check_place(load)


def loads_of(model: type[Model], alias: str) -> QuerySet[Load]:
    """Return the loads into a model's table; none if the ledger's tables do not exist."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f'"{Load._meta.db_table}"'])
        if cursor.fetchone()[0] is None:
            return Load.objects.none()
    concrete = model._meta.concrete_model or model
    same_table = [item for item in apps.get_models() if item._meta.concrete_model is concrete]
    labels = {item._meta.label for item in [model, concrete, *same_table]}
    return Load.objects.using(alias).filter(model__in=labels)


def walk_values(rows: QuerySet[Any], name: str, limit: int = CHOICES_SHOWN) -> list[Any]:
    """Return the distinct values of an indexed column, at most one more than ``limit``."""
    ordered = rows.filter(**{f"{name}__isnull": False}).order_by(name).values_list(name, flat=True)
    found = list(ordered[:1])
    while found and len(found) <= limit:
        following = list(ordered.filter(**{f"{name}__gt": found[-1]})[:1])
        if not following:
            break
        found += following
    if rows.model._meta.get_field(name).null and rows.filter(**{f"{name}__isnull": True}).exists():
        found.append(None)
    return found


def light_filter(model: type[Model], item: Any) -> Any:
    """Return a light filter for a field that a ModelAdmin names; keep a filter that it chose."""
    if not isinstance(item, str):
        return item
    field = get_fields_from_path(model, item)[-1]
    for test, kind in FieldListFilter._field_list_filters:  # type: ignore[attr-defined]
        if test(field):
            light = {
                AllValuesFieldListFilter: IndexedValuesFilter,
                RelatedFieldListFilter: BoundedRelatedFilter,
            }.get(kind)
            return item if light is None else (item, light)
    return item
