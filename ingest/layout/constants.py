"""Apply the options of a load that change its layout: constants, words, column matching."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.duration import duration_string

from ingest.exceptions import ConfigurationError
from ingest.layout.definition import FieldLayout, Layout, Reading
from ingest.layout.registry import find_layout
from ingest.results.rejects import as_text, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping


LAYOUT_OPTIONS = ("layout", "map", "set", "true", "false", "match", "ignore_columns")
"""The options of a load that choose or change its layout."""


def choose_layout(options: Mapping[str, Any]) -> Layout | None:
    """Return the layout for these ``LAYOUT_OPTIONS``, or None if none of them is given."""
    layout = None if options.get("layout") is None else find_layout(options["layout"])
    layout = _with_columns(layout, options.get("map"))
    layout = _with_constants(layout, options.get("set"))
    words = {key: _texts(key, options[key]) for key in _WORDS if options.get(key) is not None}
    if words:
        layout = read_otherwise(
            layout or Layout(others="match"), words, {key: f"{key} (--{key})" for key in words}
        )
    match, ignored = options.get("match"), options.get("ignore_columns")
    if match not in {None, "loose", "exact"}:
        raise ConfigurationError(f"match is {match!r}: use 'loose' or 'exact'.")
    ways: dict[str, Any] = {} if match is None else {"match": match}
    if ignored is not None:
        ways["ignore_columns"] = _texts("ignore_columns", ignored)
    if not ways:
        return layout
    layout = layout or Layout(others="match")
    if layout.others != "match":
        name = next(iter(ways))
        raise ConfigurationError(
            f"{name} (--{name.replace('_', '-')}) has no effect: the layout leaves out the columns "
            'that it does not name. Leave the option out, or set others = "match" in the layout.'
        )
    return dataclasses.replace(layout, **ways)


def read_otherwise(
    layout: Layout, said: Mapping[str, tuple[str, ...] | str], asked: Mapping[str, str]
) -> Layout:
    """Override keys of ``Reading`` with the caller's; ``asked`` has the names of their options."""
    cleared: dict[str, Any] = dict.fromkeys(said)
    fields = {name: dataclasses.replace(field, **cleared) for name, field in layout.fields.items()}
    read = dataclasses.replace(layout.read, **cast("Any", said))
    return dataclasses.replace(layout, fields=fields, read=read, asked={**layout.asked, **asked})


_WORDS = ("true", "false")


def _texts(name: str, given: Any) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else tuple(given)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(
            f"{name} (--{name.replace('_', '-')}) must be one text or several, not {given!r}."
        )
    return texts


def _with_columns(layout: Layout | None, columns: Mapping[str, Any] | None) -> Layout | None:
    if not columns:
        return layout
    layout = layout or Layout(others="match")
    fields = dict(layout.fields)
    for name, column in columns.items():
        if not isinstance(column, str | int) or isinstance(column, bool) or column in ("", 0):
            raise ConfigurationError(
                f"map: {name} is fed by {column!r}: give a source column's name, or its position "
                "from 1."
            )
        fields[name] = fed(fields.get(name), column=column)
    return dataclasses.replace(layout, fields=fields)


def _with_constants(layout: Layout | None, constants: Mapping[str, Any] | None) -> Layout | None:
    if not constants:
        return layout
    layout = layout or Layout(others="match")
    fields = dict(layout.fields)
    for name, value in constants.items():
        fields[name] = fed(fields.get(name), constant=_as_constant(name, value))
    return dataclasses.replace(layout, fields=fields)


def fed(field: FieldLayout | None, **origin: Any) -> FieldLayout:
    """Return the field with another origin for its value, but the same reading rules."""
    if field is None:
        return FieldLayout(**origin)
    other = dict.fromkeys(("column", "columns", "join", "debit", "credit", "constant", "copy"))
    other |= dict.fromkeys(("preamble", "file_name", "debit_is_negative"))
    if "column" not in origin:
        other["pattern"] = None
    if "constant" in origin and not field.lookup:
        kept = {item.name: getattr(field, item.name) for item in dataclasses.fields(Reading)}
        return FieldLayout(**kept, **origin)
    return dataclasses.replace(field, **{**other, **origin})


def _as_constant(name: str, value: Any) -> Any:
    """Return a Python value as a constant of a layout: text for the field, or a TOML type."""
    if isinstance(value, models.Model):
        value = value.pk
    if value is None:
        return ""  # as an empty cell
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dt.timedelta):
        return duration_string(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, cls=DjangoJSONEncoder)
    if hasattr(value, "resolve_expression"):
        raise ConfigurationError(f"set: {name} is an SQL expression: give it a value.")
    if isinstance(value, bool | int | float | dt.date | dt.time):
        return value
    text = str(value)
    if as_text(text) != text:
        raise ConfigurationError(f"set: {name} is {shorten(text)}, which is not valid Unicode.")
    return text
