"""What ingest lets other apps hear."""

from __future__ import annotations

from django.dispatch import Signal

load_ended = Signal()
"""Sent when a load has ended, in whatever way: loaded, refused, failed or interrupted.

The sender is the model. Receivers get ``using``, the database's name; ``result``, the
``LoadResult``, or None where the load did not come to its end; ``load``, the ledger's ``Load``, or
None where it is not recorded; and ``error``, the exception that ended it, or None.

A load's own transaction has ended by then. Inside the caller's ``atomic()`` the rows are not
committed yet: use ``transaction.on_commit(..., using=using)`` for what must wait. A receiver's
exception is logged and changes nothing about the load.
"""
