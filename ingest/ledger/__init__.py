"""The ledger's pen: what a load did is written in the transaction that has its rows.

What proves which rows are in (chunks, keys, counts, the end) goes over the load's own session and
stands or falls with the rows. What only tells how it goes (progress, a failure) goes over Django's
connection meanwhile.
"""

from __future__ import annotations

from ingest.ledger.entry import Entry, Settled
from ingest.ledger.inserters import Inserters
from ingest.ledger.locks import LOCK_CLASS, begin_alone, is_alive, keep_still
from ingest.ledger.place import check_place, describe_place, in_place_of, state_of
from ingest.ledger.recorded import LedgerEntry, SharedEntry, find_load, is_recorded_on

__all__ = [
    "LOCK_CLASS",
    "Entry",
    "Inserters",
    "LedgerEntry",
    "Settled",
    "SharedEntry",
    "begin_alone",
    "check_place",
    "describe_place",
    "find_load",
    "in_place_of",
    "is_alive",
    "is_recorded_on",
    "keep_still",
    "state_of",
]
