"""The ledger's models, where Django looks for them."""

from ingest.ledger.models import Chunk, KeyList, KeyRange, Load, LoadProgress, Reject

__all__ = ["Chunk", "KeyList", "KeyRange", "Load", "LoadProgress", "Reject"]
