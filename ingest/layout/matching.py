"""Find a model by its label, and the field that each source column feeds."""

from __future__ import annotations

import dataclasses
import re
import shlex
import unicodedata
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

from django.apps import apps
from django.db import models

from ingest.exceptions import ConfigurationError, LayoutError, did_you_mean
from ingest.postgres.several_tables import all_fields
from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_DELIMITERS = ";\t|,"
LOOKUP_SEPARATOR = "__"
"""The separator between a foreign key and a field of the parent: ``customer__number``."""
_NOT_COUNTED = re.compile(r"[\s_\-\u00ad\u2010-\u2015]")
"""White space, underscores and hyphens."""


def find_model(label: str) -> type[models.Model]:
    """Return the installed model with a label, or raise ``ConfigurationError``."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models()]
        raise ConfigurationError(
            f"There is no model {label!r}.{did_you_mean(label, labels)} "
            "Write it as app.Model, and check that the app is in INSTALLED_APPS."
        ) from None


def check_model(model: Any) -> None:
    """Raise ``TypeError`` for anything that is not the class of a model with a table."""
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        cure = f"apps.get_model({model!r})" if isinstance(model, str) else "Transaction"
        raise TypeError(
            f"{shorten(repr(model))} is not a model: give a model class, such as {cure}."
        )
    if model._meta.abstract:
        raise TypeError(
            f"{model.__name__} is abstract and has no table: give a model that inherits from it."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnMatch:
    """The field that a source column feeds."""

    column: str
    field: models.Field[Any, Any]
    lookup: str | None = None
    """The field of the parent in which the cells are looked up."""
    is_loose: bool = False
    """Whether the names differ."""

    @property
    def target(self) -> str:
        """The name of the field that the column feeds, in the form for a header."""
        name = self.field.name
        return name if self.lookup is None else f"{name}{LOOKUP_SEPARATOR}{self.lookup}"


def match_columns(
    model: type[models.Model],
    columns: Sequence[str],
    source: str,
    match: str | None = None,
    places: Sequence[int] | None = None,
) -> list[ColumnMatch]:
    """Return the field that each source column names: ``account``, ``pk``, ``account__number``.

    ``match`` is as in a layout. ``places``: the columns' positions in the source, from 1, if these
    are not all of its columns. Raises ``LayoutError`` if a column names no field or may name
    several, if two columns name the same field, and for a generated field.
    """
    known = _fields_by_name(model)
    matches: list[ColumnMatch] = []
    for place, column in zip(places or count(1), columns, strict=False):
        found = match_column(model, column, source, match)
        if found is None:
            _refuse_many_to_many(model, column, source)
            raise LayoutError(
                f"{source} has a column {shorten(column)}, but {model._meta.label} has no such "
                f"field.{_cure(column, columns, known)}"
            )
        for other in matches:
            if other.field == found.field and (other.lookup, found.lookup).count(None) > 0:
                _refuse_second(other, found, source, place)
            if other.target == found.target:
                _refuse_second(other, found, source, place)
        if found.field.generated:
            raise LayoutError(
                f"{source} has a column {column!r}, but PostgreSQL computes "
                f"{model._meta.label}.{found.field.name} itself: take the column out."
            )
        matches.append(found)
    return matches


def match_column(
    model: type[models.Model], column: str, source: str, match: str | None = None
) -> ColumnMatch | None:
    """Return the field that one source column names, or None.

    Raises ``LayoutError`` for a column that may name several fields, and for a foreign key with
    a field that the parent does not have.
    """
    field = _fields_by_name(model).get(column)
    if field is not None:
        return ColumnMatch(column=column, field=field)
    head, separator, rest = column.partition(LOOKUP_SEPARATOR)
    field = _fields_by_name(model).get(head) if separator else None
    if isinstance(field, models.ForeignKey):
        return ColumnMatch(column=column, field=field, lookup=_parent_field(field, rest, column))
    if match == "exact":
        return None
    field = _match_loosely(model, column, column, source, match)
    if field is not None:
        return ColumnMatch(column=column, field=field, is_loose=True)
    field = _match_loosely(model, head, column, source, match) if separator else None
    if isinstance(field, models.ForeignKey):
        parent = field.remote_field.model
        named = _fields_by_name(parent).get(rest) or _match_loosely(
            parent, rest, column, source, match, has_own_key=True
        )
        lookup = _parent_field(field, rest, column) if named is None else named.name
        return ColumnMatch(column=column, field=field, lookup=lookup, is_loose=True)
    return None


def describe_loose(matches: Iterable[ColumnMatch]) -> tuple[str, ...]:
    """Return a sentence about the columns whose names differ from those of the fields."""
    pairs = [f"{shorten(found.column)} feeds {found.target}" for found in matches if found.is_loose]
    if not pairs:
        return ()
    how = 'by names that are alike. --match exact (match="exact") turns this off.'
    return (f"Columns: {', '.join(pairs)}, {how}",)


def bare_name(name: str) -> str:
    """Return a name in lower case, without white space, underscores and hyphens."""
    return _NOT_COUNTED.sub("", unicodedata.normalize("NFKC", name).casefold())


def _match_loosely(
    model: type[models.Model],
    name: str,
    column: str,
    source: str,
    match: str | None,
    *,
    has_own_key: bool = False,
) -> models.Field[Any, Any] | None:
    """Return the field whose name, column or ``verbose_name`` is similar to a name.

    Only ``loose`` matches a generated primary key: in a file, a column with its name is mostly the
    number that another system gave to the record.
    """
    wanted = bare_name(name)
    if wanted.isdigit():  # the position of a column without a name
        return None
    fields = [
        field
        for field in all_fields(model)
        if match == "loose" or has_own_key or not _is_own_key(field)
    ]
    by_rank = [
        [field for field in fields if wanted and bare_name(names(field)) == wanted]
        for names in _NAMES
    ]
    if match == "loose":
        fits = next(filter(None, by_rank), [])
    else:
        fits = list(dict.fromkeys(field for rank in by_rank for field in rank))
    if len(fits) > 1:
        cure = "" if match == "loose" else ", or use --match loose, which goes by field names first"
        raise LayoutError(
            f"{source} has a column {shorten(column)}, which may be "
            f"{' or '.join(f'{model._meta.label}.{field.name}' for field in fits)}: rename it, "
            f"use --map FIELD=COLUMN{cure}."
        )
    return fits[0] if fits else None


_NAMES: tuple[Any, ...] = (
    lambda field: field.name,
    lambda field: field.attname,
    lambda field: str(field.column),
    lambda field: str(field.verbose_name),
)
"""The names of a field, in the order in which ``loose`` tries them."""


def _is_own_key(field: models.Field[Any, Any]) -> bool:
    is_drawn = isinstance(field, models.AutoField) or bare_name(field.name) == "id"
    return field.primary_key and field.remote_field is None and is_drawn


def _parent_field(field: models.ForeignKey[Any, Any], name: str, column: str) -> str:
    """Return the name of the parent's field, or raise ``LayoutError``."""
    parent: Any = field.remote_field.model
    known = {item.name: item for item in parent._meta.concrete_fields}
    known |= {item.attname: item for item in parent._meta.concrete_fields}
    known["pk"] = parent._meta.pk
    if name in known:
        return str(known[name].name)
    if LOOKUP_SEPARATOR in name:
        raise LayoutError(
            f"{column!r} goes too far: {field.name} is looked up by fields of "
            f"{parent._meta.label} itself, as in {field.name}{LOOKUP_SEPARATOR}FIELD."
        )
    raise LayoutError(
        f"{column!r} names no field: {parent._meta.label} has no {name!r}."
        f"{did_you_mean(name, known)} Rename the column, or leave it out with --ignore-columns."
    )


def _refuse_second(first: ColumnMatch, second: ColumnMatch, source: str, place: int) -> NoReturn:
    field = first.field
    is_repeated = first.column == second.column
    name = f"{place}, its position" if is_repeated else shlex.quote(second.column)
    raise LayoutError(
        f"{source} has two columns, {first.column!r} and {second.column!r}, for the field "
        f"{field.model._meta.label}.{field.name}: keep one, or leave one out with "
        f"--ignore-columns {name}."
    )


def match_fields(
    model: type[models.Model], columns: Sequence[str], source: str
) -> tuple[models.Field[Any, Any], ...]:
    """Return the field that each column names exactly: ``account``, ``account_id`` or ``pk``.

    Raises the same errors as ``match_columns``, and one for a parent's field.
    """
    matches = match_columns(model, columns, source, match="exact")
    for found in matches:
        if found.lookup is not None:
            raise LayoutError(
                f"{source} has a column {shorten(found.column)}: no parents are looked up here. "
                f"Give the key of {found.field.name}."
            )
    return tuple(found.field for found in matches)


def _refuse_many_to_many(model: type[models.Model], column: str, source: str) -> None:
    """Raise ``LayoutError`` if the column names a many-to-many field, and say what to load."""
    for field in model._meta.many_to_many:
        if field.name == column:
            through: Any = field.remote_field.through
            names = f"{field.m2m_field_name()!r} and {field.m2m_reverse_field_name()!r}"
            raise LayoutError(
                f"{source} has a column {column!r}, but {model._meta.label}.{field.name} is a "
                "many-to-many field, whose pairs are rows of a table of their own: take the column "
                f"out, and load {through._meta.label}, whose fields are {names}, afterwards."
            )


def _is_of_sheets(column: str) -> bool:
    return column.casefold().startswith("sep=")


_OF_SHEETS = " Its first line tells spreadsheets the delimiter: leave it out with --skip-records 1."


def _cure(column: str, columns: Sequence[str], known: Iterable[str]) -> str:
    mark = next((mark for mark in _DELIMITERS if mark in columns[0]), None)
    if len(columns) == 1 and mark is not None:
        line = _OF_SHEETS if _is_of_sheets(column) else ""
        return (
            f"{line} It is the only one: is the delimiter {mark!r}? "
            "`bulk_load app.Model FILE --detect` shows what a file is like."
        )
    if len(columns) == 1 and "  " in column.strip():
        return (
            " It is one column: is it a file of fixed width? "
            "`bulk_load app.Model FILE --detect` shows what a file is like."
        )
    if not column.strip():
        return f" Name it, or leave it out with --ignore-columns {shlex.quote(column)}."
    if column.startswith("__index_level_"):
        return " It is the index of a frame: give frame.reset_index(drop=True)."
    if column == columns[0] and _is_of_sheets(column):
        return f"{_OF_SHEETS} Give the delimiter with --delimiter."
    return (
        f"{did_you_mean(column, known)} Rename the column, leave it out with --ignore-columns, or "
        "map the columns in a layout."
    )


def _fields_by_name(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    known: dict[str, models.Field[Any, Any]] = {}
    for field in all_fields(model):
        known[field.name] = known[field.attname] = field
    if model._meta.pk.concrete:
        known.setdefault("pk", model._meta.pk)
    return known
