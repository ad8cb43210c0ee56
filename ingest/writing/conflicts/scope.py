"""Read the scope of a sync, the rows that it may delete: ``FIELD=VALUE``, as in ``filter()``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models
from django.utils import timezone

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.postgres.catalog import concrete_fields_of_table, quote_name, read_model_table
from ingest.postgres.ordering import read_ordering
from ingest.postgres.text_format import as_postgresql_text
from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.session import Session

_COMPARISONS = ("lt", "lte", "gt", "gte")
_LOOKUPS = ("exact", "in", "isnull", *_COMPARISONS)
_SEVERAL = (list, tuple, set, frozenset)
_YES_AND_NO = {"true": True, "1": True, "false": False, "0": False}


class Scope(NamedTuple):
    """A condition on a row ``t`` of the table, and its parameters."""

    condition: str
    values: Sequence[str]


class _Target(NamedTuple):
    """The field at the end of a scope's path, and its look-up."""

    name: str
    """The path, as it was given."""
    field: models.Field[Any, Any]
    column: Column
    lookup: str


def read_scope(
    session: Session, table: Table, model: type[models.Model], alias: str, given: Any
) -> Scope:
    """Return the condition for a scope, or raise ``ConfigurationError``."""
    if given in ("all", ["all"], ("all",)):
        return Scope("true", [])
    reader = _Reader(session, alias)
    parts = [
        reader.follow(table, model, _Path(name, "t", name.split("__")), value)
        for name, value in _pairs(given).items()
    ]
    return Scope(" AND ".join(parts), reader.values)


class _Path(NamedTuple):
    """The part of a scope's path that is still to be followed."""

    name: str
    """The whole path, as it was given."""
    row: str
    """The alias of the row at which it begins."""
    steps: Sequence[str]


class _Reader:
    """Writes the condition of one scope."""

    def __init__(self, session: Session, alias: str) -> None:
        self._session, self._alias = session, alias
        self.values: list[str] = []
        """The parameters of the condition."""

    def follow(self, table: Table, model: type[models.Model], path: _Path, value: Any) -> str:
        """Return the condition that the field at the end of the path has this value."""
        field, rest = _next_field(model, path)
        column = table.column(str(field.column))
        of_row = f"{path.row}.{quote_name(column.name)}"
        if not rest or (len(rest) == 1 and rest[0] in _LOOKUPS):
            target = _Target(path.name, field, column, rest[0] if rest else "exact")
            return self._compare(of_row, target, value)
        if not isinstance(field, models.ForeignKey):
            raise ConfigurationError(
                f"scope (--scope) says {path.name!r}, but {field.name} has no {'__'.join(rest)!r} "
                f"here: use {field.name}=VALUE, or put one of {', '.join(_LOOKUPS[2:])} after it, "
                f"as in {field.name}__{_LOOKUPS[-1]}=VALUE."
            )
        parent: type[models.Model] = field.remote_field.model
        parents = read_model_table(self._session, parent)
        target_column = parents.column(str(field.target_field.column))
        onward = _Path(path.name, f"{path.row}p", rest)
        found = (
            f"{of_row} {target_column.equal} ANY ("
            f"SELECT {onward.row}.{quote_name(target_column.name)} "
            f"FROM {parents.qualified_name} {onward.row} "
            f"WHERE {self.follow(parents, parent, onward, value)})"
        )
        # As in filter(): for a row without a parent, the parent's fields are NULL.
        return f"({found} OR {of_row} IS NULL)" if _asks_null(path, value) else found

    def _compare(self, row: str, target: _Target, value: Any) -> str:
        name, column, lookup = target.name, target.column, target.lookup
        if lookup == "isnull":
            return f"{row} IS NULL" if _is_yes(name, value) else f"{row} IS NOT NULL"
        ordering = read_ordering(self._session, column.type_oid)
        if not ordering:
            raise ConfigurationError(
                f"scope (--scope) names the field {name!r}, and values of its type "
                f"{column.sql_type} cannot be compared: name another field."
            )
        values = self._several(target, value)
        if lookup in _COMPARISONS:
            if len(values) > 1 or values[0] is None:
                raise ConfigurationError(
                    f"scope (--scope) gives {name!r} the value {shorten(value)}: give one value."
                )
            return f"{row} {ordering[lookup]} {self._parameter(target, values[0])}"
        parts = [f"{row} IS NULL"] if None in values else []
        parts += [
            f"{row} {column.equal} {self._parameter(target, item)}"
            for item in values
            if item is not None
        ]
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    @staticmethod
    def _several(target: _Target, value: Any) -> list[Any]:
        """Return the values that were given for one field."""
        name, _, column, lookup = target
        holds_lists = (
            column.type_name.startswith("_")
            or column.type_name in {"json", "jsonb"}
            or column.type_kind in {"r", "m"}
        )
        is_list = isinstance(value, _SEVERAL) and (lookup == "in" or not holds_lists)
        plain = name.removesuffix("__in")
        if lookup == "in" and (not is_list or None in value):
            raise ConfigurationError(
                f"scope (--scope) gives {name!r} the value {shorten(value)}, and it takes a list "
                f"without NULL. In the command, repeat the field: {plain}=VALUE {plain}=VALUE; "
                f"for NULL, use {plain}__isnull=true."
            )
        values = list(value) if is_list else [value]
        if not values:
            raise ConfigurationError(f"scope (--scope) gives {name!r} no value.")
        return values

    def _parameter(self, target: _Target, value: Any) -> str:
        """Add a value, prepared by its field, to the parameters; return its placeholder."""
        self.values.append(_prepare(target, value, connections[self._alias]))
        return f"${len(self.values)}::pg_catalog.text::{target.column.qualified_type}"


def _next_field(
    model: type[models.Model], path: _Path
) -> tuple[models.Field[Any, Any], Sequence[str]]:
    """Return the next field of the path in the model's own table, and the rest of the path."""
    first, *rest = path.steps
    own = concrete_fields_of_table(model)
    fields = {name: field for field in own for name in (field.attname, field.name)}
    if first == "pk" and model._meta.pk in own:
        return model._meta.pk, rest
    if first in fields:
        return fields[first], rest
    try:
        field = model._meta.get_field(first)
    except FieldDoesNotExist:
        field = None
    if isinstance(field, models.Field) and field.concrete:
        links = (concrete := model._meta.concrete_model or model)._meta.parents.items()
        for ancestor, link in links:  # an ancestor's table has the field
            if link in own and concrete is not ancestor and issubclass(ancestor, field.model):
                return link, path.steps
    raise ConfigurationError(
        f"scope (--scope) names the field {path.name!r}, and {model._meta.label} does not have "
        f"{first!r} as a column of its table.{did_you_mean(first, fields)}"
    )


def _asks_null(path: _Path, value: Any) -> bool:
    if path.steps[-1] == "isnull":
        return _is_yes(path.name, value)
    return value is None or (isinstance(value, _SEVERAL) and None in value)


def _is_yes(name: str, value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in _YES_AND_NO:
        raise ConfigurationError(
            f"scope (--scope) gives {name!r} the value {shorten(value)}: use true or false."
        )
    return _YES_AND_NO[said]


def _prepare(target: _Target, value: Any, connection: BaseDatabaseWrapper) -> str:
    """Return a value in PostgreSQL's text format for its column."""
    name, field = target.name, target.field
    try:
        if isinstance(value, models.Model):
            value = _key_of(field, value)
        prepared = field.to_python(value)
        if isinstance(prepared, dt.datetime) and settings.USE_TZ and timezone.is_naive(prepared):
            prepared = timezone.make_aware(prepared, timezone.get_default_timezone())
        text = as_postgresql_text(field.get_db_prep_value(prepared, connection), connection)
    except (ValidationError, ValueError, TypeError, ArithmeticError) as error:
        cure = "" if value != "" else f" For NULL, use {name}__isnull=true."
        raise ConfigurationError(
            f"scope (--scope) gives the field {name!r} the value {shorten(value)}, which "
            f"it refuses: {' '.join(getattr(error, 'messages', [str(error)]))}{cure}"
        ) from error
    if text is None or "\0" in text:
        raise ConfigurationError(
            f"scope (--scope) gives the field {name!r} the value {shorten(value)}, which no row "
            f"has: for NULL, use {name}__isnull=true."
        )
    return text


def _key_of(field: models.Field[Any, Any], instance: models.Model) -> Any:
    """Return the column value of a foreign key to an instance."""
    if not isinstance(field, models.ForeignKey):
        raise TypeError(f"{field.name} is not a foreign key.")
    if not isinstance(instance, field.remote_field.model):
        raise TypeError(f"It is no {field.remote_field.model._meta.label}.")
    return getattr(instance, field.target_field.attname)


def _pairs(given: Any) -> Mapping[str, Any]:
    """Return the value of each field; a field that is named several times has a list."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, dict):
        pairs = given
    else:
        pairs = {}
        for item in given if isinstance(given, _SEVERAL) else ():
            name, sign, value = str(item).partition("=")
            if not sign:
                pairs = {}
                break
            pairs.setdefault(name.strip(), []).append(value)
        pairs = {name: said if len(said) > 1 else said[0] for name, said in pairs.items()}
        if not pairs:
            raise ConfigurationError(
                f"scope is {given!r}: use FIELD=VALUE, or all for the whole table."
            )
    if not pairs:
        raise ConfigurationError("scope is empty: use {'field': value}, or 'all'.")
    return dict(pairs)
