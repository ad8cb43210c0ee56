"""Layouts: which source column feeds which field of a model, and how its text is read."""

from __future__ import annotations

from ingest.layout.constants import LAYOUT_OPTIONS, choose_layout
from ingest.layout.definition import (
    Condition,
    Continuation,
    FieldLayout,
    Layout,
    Reading,
    Sign,
)
from ingest.layout.matching import check_model, find_model, match_fields
from ingest.layout.registry import find_layout, layout_names

__all__ = [
    "LAYOUT_OPTIONS",
    "Condition",
    "Continuation",
    "FieldLayout",
    "Layout",
    "Reading",
    "Sign",
    "check_model",
    "choose_layout",
    "find_layout",
    "find_model",
    "layout_names",
    "match_fields",
]
