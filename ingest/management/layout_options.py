"""The command's options for layouts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, LayoutError
from ingest.layout import Layout, find_layout
from ingest.layout.constants import fed
from ingest.layout.matching import match_column

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import Model

_READING = {
    "decimal": "decimal",
    "thousands": "thousands",
    "date_format": "formats",
    "null": "null",
}
"""The command's options and the corresponding keys of a layout."""
LOAD_OPTIONS = ("true", "false", "match", "ignore_columns")
"""Options that ``load`` takes by the same name."""
OPTIONS = ("layout", "map", "set", *_READING, *LOAD_OPTIONS)
"""The names of all options for layouts."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("columns and values")
    group.add_argument(
        "--layout",
        metavar="NAME|FILE.toml",
        help="Layout to use: the name of an app's layout, saved:NAME for one saved in the "
        "admin, or a TOML file.",
    )
    group.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help="Read a field from this column. PARENT__FIELD=COLUMN looks up a foreign key by a "
        "field of its parent. May be repeated.",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="Give a field the same value in all records; a foreign key is looked up as its layout "
        "says. May be repeated.",
    )
    group.add_argument(
        "--decimal", metavar="MARK", help="Decimal mark of numbers (default: a full stop)."
    )
    group.add_argument(
        "--thousands",
        action="append",
        metavar="MARK",
        help="Thousands separator of numbers. May be repeated.",
    )
    group.add_argument(
        "--date-format",
        action="append",
        metavar="FORMAT",
        help="Format of dates and times, as for strptime: %%d.%%m.%%Y. May be repeated.",
    )
    group.add_argument(
        "--null",
        action="append",
        metavar="WORD",
        help="Word that stands for an empty cell, such as NULL. May be repeated.",
    )
    for truth in ("true", "false"):
        group.add_argument(
            f"--{truth}",
            nargs="+",
            action="extend",
            metavar="WORD",
            help=f"Words that mean {truth} in boolean fields. Case does not matter.",
        )
    group.add_argument(
        "--match",
        choices=("loose", "exact"),
        help="How columns are matched with fields: loose ignores case, spaces and hyphens, and "
        "also knows verbose_name and db_column; exact takes the field's name only (default: "
        "loose).",
    )
    group.add_argument(
        "--ignore-columns",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="Columns of the file to leave out; rest: all that match no field.",
    )


def chosen(options: dict[str, Any], model: type[Model]) -> Layout | None:
    """Return the layout chosen and changed by the options; None if none is given."""
    said: dict[str, Any] = {
        key: tuple(options[name]) if isinstance(options[name], list) else options[name]
        for name, key in _READING.items()
        if options.get(name) is not None
    }
    mapped, constants = _pairs(options["map"], "map"), _pairs(options["set"], "set")
    mapped = dict(_field_first(model, *pair) for pair in mapped.items())
    if not (options["layout"] or said or mapped or constants):
        return None
    layout = Layout(others="match") if options["layout"] is None else find_layout(options["layout"])
    fields = dict(layout.fields)
    for name, column in mapped.items():
        fields[name] = fed(fields.get(name), column=column)
    for name, value in constants.items():
        fields[name] = fed(fields.get(name), constant=value)
    read = dataclasses.replace(layout.read, **said)
    if said:  # the command line takes precedence
        cleared: dict[str, Any] = dict.fromkeys(said)
        fields = {name: dataclasses.replace(field, **cleared) for name, field in fields.items()}
    asked = {key: f"--{name.replace('_', '-')}" for name, key in _READING.items() if key in said}
    return dataclasses.replace(layout, fields=fields, read=read, asked=asked)


def for_load(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that ``load`` takes by the same name."""
    return {name: options[name] for name in LOAD_OPTIONS if options.get(name) is not None}


def _field_first(model: type[Model], name: str, column: str) -> tuple[str, str]:
    """Return a pair of ``--map`` with the field first, even if it was COLUMN=PARENT__FIELD."""
    try:
        if match_column(model, name, "--map", "exact") is None:
            found = match_column(model, column, "--map", "exact")
            if found is not None and found.lookup is not None:
                return column, name
    except LayoutError:  # the layout reports it
        pass
    return name, column


def _pairs(given: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ConfigurationError(f"--{option} {text!r} must be written as FIELD=…")
        pairs[name] = value
    return pairs
