"""Where rows come from, one file for each kind."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

from ingest.sources.base import Batch, Source, SourceOptions

__all__ = ["Batch", "Source", "SourceOptions", "open_source"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def open_source(given: Any, options: SourceOptions | None = None) -> Source:
    """Open a path, a file, an Arrow stream or an iterable as a ``Source``.

    Raises ``SourceError`` where it cannot be read and ``TypeError`` for anything that is no source.
    """
    for kind in Source.registry:
        if kind.accepts(given):
            return kind.open(given, options or SourceOptions())
    raise TypeError(
        f"{type(given).__name__!r} is no source: give a path, a file opened for reading bytes, "
        "an iterable of dicts, tuples or model instances, or an Arrow table or stream."
    )
