"""The ledger's models, where Django looks for them; they are defined in ``ingest.ledger.models``."""

from ingest.ledger.models import Chunk, KeyList, KeyRange, Load, LoadProgress, Reject

__all__ = ["Chunk", "KeyList", "KeyRange", "Load", "LoadProgress", "Reject"]
