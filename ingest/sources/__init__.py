"""The sources of records: one module for each kind."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ingest.sources.base import Source, SourceOptions, open_source
from ingest.sources.batch import Batch, Position, in_pieces

__all__ = ["Batch", "Position", "Source", "SourceOptions", "in_pieces", "open_source"]

_TOOLS = {"detection", "spreadsheets"}
"""Packages in this folder that are not sources."""

for _module in pkgutil.iter_modules(__path__):
    if _module.name in _TOOLS:
        continue
    import_module(f"{__name__}.{_module.name}")
