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
        DeletesRefused,
        IngestError,
        LayoutError,
        LedgerError,
        LoadCancelled,
        Outcome,
        RecordsRefused,
        ServerFailed,
        SourceError,
        TooManyRejects,
        UnsupportedModelError,
    )
    from ingest.layout import Condition, Continuation, FieldLayout, Layout, Reading, Sign
    from ingest.loading.api import aload, load, resume
    from ingest.loading.options import LoadOptions
    from ingest.loading.outcomes import RecordOutcome
    from ingest.loading.preview import Preview, preview
    from ingest.loading.verify import verify
    from ingest.results import LoadResult, Progress
    from ingest.results.findings import Audit, Finding
    from ingest.results.reasons import Reason
    from ingest.results.rejects import Reject
    from ingest.sources import SourceOptions
    from ingest.sources.detection import Detected, detect

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "BenchmarkError",
    "Condition",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionOptionError",
    "ConstraintRefused",
    "Continuation",
    "CountMismatch",
    "DeletesRefused",
    "Detected",
    "FieldLayout",
    "Finding",
    "IngestError",
    "Layout",
    "LayoutError",
    "LedgerError",
    "LoadCancelled",
    "LoadOptions",
    "LoadResult",
    "Outcome",
    "Preview",
    "Progress",
    "Reading",
    "Reason",
    "RecordOutcome",
    "RecordsRefused",
    "Reject",
    "ServerFailed",
    "Sign",
    "SourceError",
    "SourceOptions",
    "TooManyRejects",
    "UnsupportedModelError",
    "aload",
    "detect",
    "load",
    "preview",
    "resume",
    "verify",
]

_HOMES = {
    "Audit": "ingest.results.findings",
    "Condition": "ingest.layout",
    "Continuation": "ingest.layout",
    "Detected": "ingest.sources.detection",
    "FieldLayout": "ingest.layout",
    "Finding": "ingest.results.findings",
    "Layout": "ingest.layout",
    "LoadOptions": "ingest.loading.options",
    "LoadResult": "ingest.results",
    "Preview": "ingest.loading.preview",
    "Progress": "ingest.results",
    "Reading": "ingest.layout",
    "Reason": "ingest.results.reasons",
    "RecordOutcome": "ingest.loading.outcomes",
    "Reject": "ingest.results.rejects",
    "Sign": "ingest.layout",
    "SourceOptions": "ingest.sources",
    "aload": "ingest.loading.api",
    "detect": "ingest.sources.detection",
    "load": "ingest.loading.api",
    "preview": "ingest.loading.preview",
    "resume": "ingest.loading.api",
    "verify": "ingest.loading.verify",
}


def __getattr__(name: str) -> Any:
    # Django imports this package at every start; Arrow and asyncpg can wait until they are used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "ingest.exceptions")), name)
