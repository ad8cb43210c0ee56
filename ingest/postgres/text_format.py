"""Values in PostgreSQL's text format, for parameters of any type."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg import Binary
from psycopg.adapt import PyFormat, Transformer


def as_postgresql_text(value: Any, connection: Any) -> str | None:
    """Return a value that a field prepared, in PostgreSQL's text format for its type."""
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)  # also for members of TextChoices
    if isinstance(value, dict):  # HStoreField's
        return ",".join(
            f"{_quote_hstore(name)}=>{'NULL' if item is None else _quote_hstore(item)}"
            for name, item in value.items()
        )
    if isinstance(value, Binary):  # psycopg would escape it for a literal
        return f"\\x{bytes(value.obj).hex()}"
    adapters = get_adapters_template(settings.USE_TZ, connection.timezone)
    dumped = Transformer(adapters).get_dumper(value, PyFormat.TEXT).dump(value)
    return None if dumped is None else bytes(dumped).decode()


def _quote_hstore(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
