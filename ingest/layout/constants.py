"""One value for all records: constants that come beside a layout."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.duration import duration_string

from ingest.exceptions import ConfigurationError
from ingest.layout.definition import FieldLayout, Layout, Reading
from ingest.layout.naming import find_layout

if TYPE_CHECKING:
    from collections.abc import Mapping


def choose_layout(options: Mapping[str, Any]) -> Layout | None:
    """Give the layout that the options ``layout`` and ``set`` make; None where there is none."""
    layout = None if options.get("layout") is None else find_layout(options["layout"])
    constants = options.get("set")
    if not constants:
        return layout
    layout = layout or Layout(others="match")
    fields = dict(layout.fields)
    for name, value in constants.items():
        fields[name] = fed(fields.get(name), constant=_as_constant(name, value))
    return dataclasses.replace(layout, fields=fields)


def fed(field: FieldLayout | None, **origin: Any) -> FieldLayout:
    """Let a field be fed by something else, and be read as before."""
    if field is None:
        return FieldLayout(**origin)
    other = dict.fromkeys(("column", "columns", "join", "debit", "credit", "constant", "copy"))
    if "constant" in origin and not field.lookup:
        kept = {item.name: getattr(field, item.name) for item in dataclasses.fields(Reading)}
        return FieldLayout(**kept, **origin)
    return dataclasses.replace(field, **{**other, **origin})


def _as_constant(name: str, value: Any) -> Any:
    """Give a Python value as a layout has it: text that the field understands, or TOML's kinds."""
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
    return value if isinstance(value, bool | int | float | dt.date | dt.time) else str(value)
