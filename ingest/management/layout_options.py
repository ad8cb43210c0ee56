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
    group = parser.add_argument_group("layouts: which column feeds which field, how it is read")
    group.add_argument(
        "--layout",
        metavar="NAME|FILE.toml",
        help="a layout's name, saved:NAME of one saved in the admin, or a file that has one",
    )
    group.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        help="the source column of a field, by its name; may be given several times; "
        "PARENT__FIELD=COLUMN looks a foreign key up by a field of the parent",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="one value for all records; through the layout's lookup, where the field has one",
    )
    group.add_argument("--decimal", metavar="MARK", help="the decimal mark of numbers")
    group.add_argument(
        "--thousands", action="append", metavar="MARK", help="a mark between thousands"
    )
    group.add_argument(
        "--date-format",
        action="append",
        metavar="FORMAT",
        help="how dates and times are written, as strptime has it: %%d.%%m.%%Y",
    )
    group.add_argument(
        "--null", action="append", metavar="WORD", help="a word that means an empty cell"
    )
    for truth in ("true", "false"):
        group.add_argument(
            f"--{truth}",
            nargs="+",
            action="extend",
            metavar="WORD",
            help=f"words that mean {truth} in boolean fields; case does not count",
        )
    group.add_argument(
        "--match",
        choices=("loose", "exact"),
        help="match columns with fields without regard to case, blanks and hyphens, by "
        "verbose_name and db_column, too; or by the field's name only (default: loose, where just "
        "one field fits)",
    )
    group.add_argument(
        "--ignore-columns",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="source columns that are left out on purpose; rest: all that fit no field",
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
