"""Handles types that DuckDB's relations lose or do not declare when they are exported to Arrow."""

from __future__ import annotations

from typing import Any

_LOST = {"TIME WITH TIME ZONE", "UHUGEINT", "BIT", "BIGNUM"}
"""Types that DuckDB exports without the offset, with wrong numbers or in its own binary format."""


def is_relation(given: Any) -> bool:
    return "duckdb" in type(given).__module__ and hasattr(given, "types")


def json_columns_of(relation: Any) -> frozenset[str]:
    """Return the names of the JSON columns, which a relation exports as plain text."""
    kinds = zip(relation.columns, map(str, relation.types), strict=True)
    return frozenset(name for name, kind in kinds if kind == "JSON")


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
