"""Fill the columns that the source does not have with the values that the ORM would store."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone

from ingest.exceptions import LayoutError
from ingest.postgres.several_tables import fields_of_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Table

_STATIC_CALLABLES = (bool, bytes, dict, float, int, list, set, str, tuple)
"""Callables that always return equal values."""


Inserts = Literal["all", "some", "none"]
"""Which rows of a load are inserted; the others exist in the table and need no defaults."""


def fields_to_fill(
    model: type[models.Model],
    given: Sequence[models.Field[Any, Any]],
    table: Table,
    inserts: Inserts = "all",
    lacking: dict[str, str] | None = None,
) -> tuple[models.Field[Any, Any], ...]:
    """Choose the fields that Django fills, because neither the source nor PostgreSQL does.

    Raises ``LayoutError`` for a required field without any value. If only some rows are inserted,
    the field is added to ``lacking`` instead, with the message.
    """
    names = {field.attname for field in given}
    filled = []
    for field in fields_of_rows(model, table):
        if field.attname in names or field.generated or _is_left_to_postgresql(field, table):
            continue
        if inserts == "none" and not getattr(field, "auto_now", False):
            continue
        if lacking is not None and field.name in lacking:
            continue
        if _has_no_value(field):
            message = (
                f"No source column feeds {model._meta.label}.{field.name}, which has no default "
                f"and may not be NULL: {cure(field)}."
            )
            if inserts == "all" or lacking is None:
                raise LayoutError(message)
            lacking[field.name] = message
            continue
        filled.append(field)
    return tuple(filled)


def cure(field: models.Field[Any, Any]) -> str:
    """Return the advice for a field that the source does not have."""
    return (
        f"add a column {field.name!r} to the source, or give all records one value with "
        f"--set {field.name}=VALUE (set={{{field.name!r}: …}})"
    )


def is_constant(field: models.Field[Any, Any]) -> bool:
    """Return whether all rows of a batch get the same value.

    ``auto_now`` and ``auto_now_add`` set one time for a batch, like ``now()`` in one statement.
    """
    return is_automatic(field) or is_static(field)


def is_static(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's default never changes, so that it can be judged once."""
    if not field.has_default() or not callable(field.default):
        return True
    return any(field.default is kind for kind in _STATIC_CALLABLES)


def fill(field: models.Field[Any, Any]) -> Any:
    """Return the field's value for a new row, as ``Model()`` and ``save()`` would set it."""
    return _now(field) if is_automatic(field) else field.get_default()


def needs_instance(field: models.Field[Any, Any]) -> bool:
    """Return whether the field computes its value from the instance in ``pre_save()``."""
    owner = next(kind for kind in type(field).__mro__ if "pre_save" in vars(kind))
    return not owner.__module__.startswith("django.")


def _is_left_to_postgresql(field: models.Field[Any, Any], table: Table) -> bool:
    if field.has_default() or needs_instance(field):
        return False
    if field.db_default is not NOT_PROVIDED:
        return True
    if not field.primary_key:
        return False
    # The ORM leaves an automatic key out. A trigger may set it, such as that of a view.
    is_set_by_trigger = isinstance(field, models.AutoField) and bool(table.insert_triggers)
    return is_set_by_trigger or table.column(str(field.column)).has_default


def _has_no_value(field: models.Field[Any, Any]) -> bool:
    if field.null or field.has_default() or needs_instance(field):
        return False
    if is_automatic(field):
        return False
    return field.primary_key or field.get_default() is None


def is_automatic(field: models.Field[Any, Any]) -> bool:
    """Return whether the field sets itself to the current time."""
    return getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)


def _now(field: models.Field[Any, Any]) -> dt.datetime | dt.date | dt.time:
    # As in pre_save() of DateTimeField, DateField and TimeField.
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.DateField):
        return dt.date.today()  # noqa: DTZ011 - Django takes the process's day
    return dt.datetime.now().time()  # noqa: DTZ005 - likewise
