"""Load many rows into any Django model's real PostgreSQL table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.audit import verify
    from ingest.exceptions import (
        BenchmarkError,
        ConfigurationError,
        ConnectionFailed,
        ConnectionOptionError,
        ConstraintRefused,
        CountMismatch,
        IngestError,
        LayoutError,
        LedgerError,
        LoadCancelled,
        RecordsRefused,
        ServerFailed,
        SourceError,
        TooManyRejects,
        UnsupportedModelError,
    )
    from ingest.findings import Audit, Finding
    from ingest.loading import aload, load, resume
    from ingest.options import LoadOptions
    from ingest.rejects import Reject
    from ingest.results import LoadResult, Progress
    from ingest.sources import SourceOptions

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "BenchmarkError",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionOptionError",
    "ConstraintRefused",
    "CountMismatch",
    "Finding",
    "IngestError",
    "LayoutError",
    "LedgerError",
    "LoadCancelled",
    "LoadOptions",
    "LoadResult",
    "Progress",
    "RecordsRefused",
    "Reject",
    "ServerFailed",
    "SourceError",
    "SourceOptions",
    "TooManyRejects",
    "UnsupportedModelError",
    "aload",
    "load",
    "resume",
    "verify",
]

_HOMES = {
    "Audit": "ingest.findings",
    "Finding": "ingest.findings",
    "LoadOptions": "ingest.options",
    "LoadResult": "ingest.results",
    "Progress": "ingest.results",
    "Reject": "ingest.rejects",
    "SourceOptions": "ingest.sources",
    "aload": "ingest.loading",
    "load": "ingest.loading",
    "resume": "ingest.loading",
    "verify": "ingest.audit",
}


def __getattr__(name: str) -> Any:
    # Django imports this package at every start; Arrow and asyncpg can wait until they are used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "ingest.exceptions")), name)
