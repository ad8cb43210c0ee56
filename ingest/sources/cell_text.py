"""Converts typed values to the text that Django's fields and a layout's words read."""

from __future__ import annotations

import base64
import datetime as dt
import json
from decimal import Decimal
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.duration import duration_string


def text_of(value: Any) -> str | None:
    """Return a typed value as the text that Django's fields and a layout's words read."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, dt.timedelta):
        return duration_string(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, cls=DjangoJSONEncoder)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return str(value)
