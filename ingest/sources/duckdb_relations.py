"""Handles types that DuckDB's relations lose or do not declare when they are exported to Arrow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOST = {"TIME WITH TIME ZONE", "UHUGEINT", "BIT", "BIGNUM"}
"""Types that DuckDB exports without the offset, with wrong numbers or in its own binary format."""


def is_relation(given: Any) -> bool:
    return "duckdb" in type(given).__module__ and hasattr(given, "types")


def json_columns_of(relation: Any) -> dict[str, Callable[[Any], Any]]:
    """Return what reads the values with JSON in them, which a relation exports as plain texts."""
    kinds = zip(relation.columns, relation.types, strict=True)
    return {name: read for name, kind in kinds if (read := _reader(kind)) is not None}


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """Return what parses the JSON in a value of this type; None where there is none.

    A union is left as it is: its values do not say which of its types they are of.
    """
    if str(kind) == "JSON":
        return parse_json
    if kind.id in {"list", "array"}:
        read_item = _reader(kind.children[0][1])
        return read_item and (lambda items: [_read(read_item, item) for item in items])
    if kind.id == "map":
        read_value = _reader(dict(kind.children)["value"])
        return read_value and (
            lambda found: {key: _read(read_value, item) for key, item in dict(found).items()}
        )
    if kind.id == "struct":
        readers = {name: reader for name, part in kind.children if (reader := _reader(part))}
        return (lambda found: _read_parts(readers, found)) if readers else None
    return None


def _read_parts(readers: Mapping[str, Callable[[Any], Any]], found: Mapping[str, Any]) -> Any:
    return {
        name: _read(readers[name], part) if name in readers else part
        for name, part in found.items()
    }


def _read(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def parse_json(text: Any) -> Any:
    """Parse JSON; a text that is none is left as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def without_loss(relation: Any) -> Any:
    """Return the relation with values as text where the export to Arrow would change them.

    For example, ``12:00:00+02`` would be exported as ``12:00:00``.
    """
    kinds = list(map(str, relation.types))
    kept = list(map(_kept_type, relation.types))
    if kept == kinds:
        return relation
    columns = zip(relation.columns, kinds, kept, strict=True)
    return relation.project(
        ", ".join(
            (f"#{place}" if to == kind else f"CAST(#{place} AS {to})") + f" AS {_quoted(name)}"
            for place, (name, kind, to) in enumerate(columns, 1)
        )
    )


def _kept_type(kind: Any) -> str:
    """Return the type to which to cast a type, so that its values are exported unchanged."""
    text = str(kind)
    if text in _LOST:
        return "VARCHAR"
    if not any(lost in text for lost in _LOST):
        return text
    if kind.id in {"list", "array"}:
        return _kept_type(kind.children[0][1]) + text[text.rindex("[") :]
    if kind.id in {"map", "struct", "tuple", "union"}:
        has_names = kind.id in {"struct", "union"}
        parts = ", ".join(
            f"{_quoted(name)} {_kept_type(part)}" if has_names else _kept_type(part)
            for name, part in kind.children
            if name or kind.id != "union"  # a union's first child is its tag
        )
        return f"{kind.id.upper()}({parts})"
    return text


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
