"""Complete a layout from the source's column names, which may name fields or parents' fields."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.exceptions import LayoutError, did_you_mean
from ingest.layout.cells import is_position, place_of
from ingest.layout.columns import Picker
from ingest.layout.definition import FieldLayout, Layout, dump
from ingest.layout.matching import (
    LOOKUP_SEPARATOR,
    describe_loose,
    match_column,
    match_columns,
    match_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db import models

    from ingest.layout.definition import Column
    from ingest.layout.matching import ColumnMatch
    from ingest.sources import Source

REST = "rest"
"""In ``ignore_columns``: all columns that match no field."""
_ORIGINS = ("column", "constant", "preamble", "file_name")
"""The keys that can feed a natural key written as ``customer__number``."""


class Completed(NamedTuple):
    """A layout that names every column it uses."""

    layout: Layout
    notes: tuple[str, ...]
    """Sentences about how unnamed columns were matched."""


def needs_layout(model: type[models.Model], source: Source) -> bool:
    """Return whether a column names a parent's field, such as ``customer__number``.

    Raises ``LayoutError`` for columns that match no field.
    """
    matches = match_columns(model, source.columns, source.name)
    return any(found.lookup is not None for found in matches)


def complete(layout: Layout, model: type[models.Model], source: Source) -> Completed:
    """Match the columns that the layout does not name with fields, if the layout asks for it."""
    layout, looked_up = join_lookups(layout, model)
    if layout.others == "ignore":
        return Completed(layout, ())
    used = {
        place_of(layout, column, source.columns, ("fields", name))
        for name in layout.fields
        for column in Picker(layout, name, find_field(layout, model, name)).feeding
    }
    ignored = _ignored(layout, source, used)
    taken = {find_field(layout, model, name) for name in layout.fields}
    left: list[str] = []
    places: list[int] = []
    overruled: list[str] = []
    is_rest_left = False
    for place, name in enumerate(source.columns):
        if place in used or place in ignored:
            continue
        found = match_column(model, name, source.name, layout.match)
        if found is None and _takes_rest(layout, source):
            is_rest_left = True
            continue
        if found is None or found.field not in taken or found.field.name in looked_up:
            left.append(name)
            places.append(place + 1)
        elif found.is_loose or found.lookup is not None:
            overruled.append(f"{name!r} feeds nothing, because the layout feeds {found.field.name}")
    matches = match_columns(model, left, source.name, layout.match, places)
    notes = describe_loose(matches)
    if _takes_rest(layout, source) and not is_rest_left:
        notes = (*notes, f"Columns: each feeds a field, and ignore_columns={REST!r} left out none.")
    if overruled:
        notes = (*notes, f"Columns: {'; '.join(overruled)}.")
    columns: list[Column] = [
        place if source.columns.count(name) > 1 else name
        for place, name in zip(places, left, strict=True)
    ]
    return Completed(_with(layout, zip(columns, matches, strict=True), looked_up), notes)


def join_lookups(
    layout: Layout, model: type[models.Model]
) -> tuple[Layout, dict[str, tuple[str, ...]]]:
    """Combine fields such as ``customer__number`` into one look-up for each foreign key.

    Returns the layout, and for each such foreign key the fields of the parent.
    """
    fields: dict[str, FieldLayout] = {}
    found: dict[str, tuple[str, ...]] = {}
    for name, rules in layout.fields.items():
        path = _find_lookup(layout, model, name)
        if path is None or path.lookup is None:
            if name in found:
                raise _twice(layout, name)
            fields[name] = rules
            continue
        field = path.field.name
        if field in layout.fields or path.field.attname in layout.fields:
            raise _twice(layout, field)
        if rules.lookup is not None or not any(getattr(rules, key) for key in _ORIGINS):
            raise layout.error(
                ("fields", name),
                f"{name} says by itself that a parent is looked up: give it a column or one value, "
                "and no 'lookup'.",
            )
        before = fields.get(field)
        fields[field] = (
            dataclasses.replace(rules, lookup=(path.lookup,))
            if before is None
            else _joined(layout, field, before, rules, path.lookup)
        )
        found[field] = (*found.get(field, ()), path.lookup)
    return (dataclasses.replace(layout, fields=fields) if found else layout), found


def find_field(layout: Layout, model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """Return the field of the model that a layout names, or raise ``LayoutError``."""
    try:
        [field] = match_fields(model, [name], "The layout")
    except LayoutError as error:
        raise layout.error(("fields", name), str(error)) from error
    return field


def _find_lookup(layout: Layout, model: type[models.Model], name: str) -> ColumnMatch | None:
    if LOOKUP_SEPARATOR not in name:
        return None
    try:
        return match_column(model, name, "The layout", "exact")
    except LayoutError as error:
        raise layout.error(("fields", name), str(error)) from error


def _joined(
    layout: Layout, field: str, before: FieldLayout, rules: FieldLayout, lookup: str
) -> FieldLayout:
    """Add another column to a look-up."""
    has_columns = set(dump(before)) <= {"column", "columns", "lookup"}
    if rules.column is None or set(dump(rules)) != {"column"} or not has_columns:
        raise layout.error(
            ("fields", f"{field}{LOOKUP_SEPARATOR}{lookup}"),
            f"{field} is looked up by several fields, and each of them takes a column alone. Write "
            f"the rest as [fields.{field}] with 'columns' and 'lookup'.",
        )
    columns = before.columns or (before.column or "",)
    return FieldLayout(columns=(*columns, rules.column), lookup=(*(before.lookup or ()), lookup))


def _with(
    layout: Layout,
    matches: Iterable[tuple[Column, ColumnMatch]],
    looked_up: dict[str, tuple[str, ...]],
) -> Layout:
    """Return the layout with each source column feeding the field that it matches."""
    fields = dict(layout.fields)
    for column, found in matches:
        name, rules = found.field.name, FieldLayout(column=column)
        if found.lookup is None:
            if name in looked_up:
                raise _twice(layout, name)
            fields[name] = rules
        elif name not in fields:
            fields[name] = dataclasses.replace(rules, lookup=(found.lookup,))
        elif found.lookup not in looked_up.get(name, ()):
            fields[name] = _joined(layout, name, fields[name], rules, found.lookup)
    return dataclasses.replace(layout, fields=fields)


def _twice(layout: Layout, name: str) -> LayoutError:
    return layout.error(
        ("fields", name),
        f"{name} is fed twice: by its own name, and by a field of the parent "
        f"({name}{LOOKUP_SEPARATOR}…). Keep one.",
    )


def _takes_rest(layout: Layout, source: Source) -> bool:
    # If a column has this name, the name means that column.
    return REST in layout.ignore_columns and REST not in source.columns


def _ignored(layout: Layout, source: Source, used: set[int]) -> set[int]:
    """Return the places of the columns that are left out, or raise ``LayoutError``."""
    places: set[int] = set()
    for column in layout.ignore_columns:
        if column == REST and _takes_rest(layout, source):
            continue
        here = {place for place, name in enumerate(source.columns) if column in (name, place + 1)}
        if isinstance(column, str) and is_position(column, source.columns):
            here = {int(column) - 1}
        if not here:
            raise layout.error(
                ("ignore_columns",),
                f"{source.name} has no column {column!r} to be left out (--ignore-columns)."
                f"{did_you_mean(str(column), source.columns)}",
            )
        if here & used:
            raise layout.error(
                ("ignore_columns",),
                f"the column {column!r} is to be left out (--ignore-columns), and feeds a field: "
                "take it out of one of them.",
            )
        places |= here
    if len(places) == len(source.columns) and source.columns:
        raise layout.error(
            ("ignore_columns",), f"all columns of {source.name} are to be left out: keep one."
        )
    return places
