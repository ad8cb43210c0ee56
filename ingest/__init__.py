"""Load many rows into any Django model's real PostgreSQL table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.exceptions import (
        BenchmarkError,
        ConfigurationError,
        ConnectionFailed,
        ConnectionOptionError,
        ConstraintRefused,
        CountMismatch,
        IngestError,
        LayoutError,
        RecordsRefused,
        SourceError,
        TooManyRejects,
        UnsupportedModelError,
    )
    from ingest.layout import (
        Condition,
        Continuation,
        FieldLayout,
        Layout,
        Reading,
        Sign,
    )
    from ingest.loading import LoadOptions, LoadResult, Progress, aload, load
    from ingest.previewing import Preview, preview
    from ingest.rejects import Reject
    from ingest.sources import SourceOptions
    from ingest.sources.detection import Detected, detect

__version__ = "0.1.0"
__all__ = [
    "BenchmarkError",
    "Condition",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionOptionError",
    "ConstraintRefused",
    "Continuation",
    "CountMismatch",
    "Detected",
    "FieldLayout",
    "IngestError",
    "Layout",
    "LayoutError",
    "LoadOptions",
    "LoadResult",
    "Preview",
    "Progress",
    "Reading",
    "RecordsRefused",
    "Reject",
    "Sign",
    "SourceError",
    "SourceOptions",
    "TooManyRejects",
    "UnsupportedModelError",
    "aload",
    "detect",
    "load",
    "preview",
]

_HOMES = {
    "Condition": "ingest.layout",
    "Continuation": "ingest.layout",
    "Detected": "ingest.sources.detection",
    "FieldLayout": "ingest.layout",
    "Layout": "ingest.layout",
    "LoadOptions": "ingest.loading",
    "LoadResult": "ingest.loading",
    "Preview": "ingest.previewing",
    "Progress": "ingest.loading",
    "Reading": "ingest.layout",
    "Reject": "ingest.rejects",
    "Sign": "ingest.layout",
    "SourceOptions": "ingest.sources",
    "aload": "ingest.loading",
    "detect": "ingest.sources.detection",
    "load": "ingest.loading",
    "preview": "ingest.previewing",
}


def __getattr__(name: str) -> Any:
    # Django imports this package at every start; Arrow and asyncpg can wait until they are used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "ingest.exceptions")), name)
