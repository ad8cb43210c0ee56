"""The models of the ledger and of uploads, where Django looks for them."""

from ingest.ledger.models import (
    Chunk,
    KeyList,
    KeyRange,
    Load,
    LoadProgress,
    OldRows,
    PendingRejects,
    Reject,
    SeenKeys,
)
from ingest.uploads.models import SavedLayout, Upload

__all__ = [
    "Chunk",
    "KeyList",
    "KeyRange",
    "Load",
    "LoadProgress",
    "OldRows",
    "PendingRejects",
    "Reject",
    "SavedLayout",
    "SeenKeys",
    "Upload",
]
