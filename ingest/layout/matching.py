"""Which model is meant, and which source column feeds which field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps

from ingest.exceptions import ConfigurationError, LayoutError, did_you_mean
from ingest.rejects import shorten
from ingest.table import concrete_fields_of_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db import models


_DELIMITERS = ";\t|,"


def find_model(label: str) -> type[models.Model]:
    """Find the installed model of that label, or raise ``ConfigurationError``."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models()]
        raise ConfigurationError(
            f"There is no model {label!r}.{did_you_mean(label, labels)} "
            "Say it as app.Model, and see that the app is in INSTALLED_APPS."
        ) from None


def match_fields(
    model: type[models.Model], columns: Sequence[str], source: str
) -> tuple[models.Field[Any, Any], ...]:
    """Find the field that each source column names: ``account``, ``account_id`` or ``pk``.

    Raises ``LayoutError`` for a column that names no field, a field that two columns name, and a
    generated field.
    """
    known = _fields_by_name(model)
    fields: list[models.Field[Any, Any]] = []
    for column in columns:
        field = known.get(column)
        if field is None:
            _refuse_many_to_many(model, column, source)
            raise LayoutError(
                f"{source} has a column {shorten(column)}, but {model._meta.label} has no such "
                f"field.{_cure(column, columns, known)}"
            )
        if field in fields:
            other = columns[fields.index(field)]
            raise LayoutError(
                f"{source} has two columns, {other!r} and {column!r}, for the field "
                f"{model._meta.label}.{field.name}: keep one."
            )
        if field.generated:
            raise LayoutError(
                f"{source} has a column {column!r}, but PostgreSQL computes "
                f"{model._meta.label}.{field.name} itself: take the column out."
            )
        fields.append(field)
    return tuple(fields)


def _refuse_many_to_many(model: type[models.Model], column: str, source: str) -> None:
    """Raise ``LayoutError`` where the column names a many-to-many field, and say what to load."""
    for field in model._meta.many_to_many:
        if field.name == column:
            through: Any = field.remote_field.through
            names = f"{field.m2m_field_name()!r} and {field.m2m_reverse_field_name()!r}"
            raise LayoutError(
                f"{source} has a column {column!r}, but {model._meta.label}.{field.name} is a "
                "many-to-many field, whose pairs are rows of a table of their own: take the column "
                f"out, and load {through._meta.label}, whose fields are {names}, afterwards."
            )


def _cure(column: str, columns: Sequence[str], known: Iterable[str]) -> str:
    mark = next((mark for mark in _DELIMITERS if mark in columns[0]), None)
    if len(columns) == 1 and mark is not None:
        return (
            f" It is the only one: is the delimiter {mark!r}? `bulk_load app.Model FILE --detect` "
            "tells what a file is like."
        )
    return (
        f"{did_you_mean(column, known)} Rename the column, take it out of the source, or say what "
        "feeds what in a layout."
    )


def _fields_by_name(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    known: dict[str, models.Field[Any, Any]] = {}
    for field in concrete_fields_of_table(model):
        known[field.name] = known[field.attname] = field
    if model._meta.pk.concrete:
        known.setdefault("pk", model._meta.pk)
    return known
