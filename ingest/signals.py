"""The signals that ingest sends to other apps."""

from __future__ import annotations

from django.dispatch import Signal

load_ended = Signal()
"""Sent when a load has ended: loaded, refused, failed or interrupted.

The sender is the model. Receivers get ``using``, the database's alias; ``result``, the
``LoadResult``, or None if the load failed; ``load``, the ledger's ``Load``, or None if the load is
not recorded; and ``error``, the exception that ended it, or None.

The load's own transaction has ended by then. Inside the caller's ``atomic()`` the rows are not
committed yet: use ``transaction.on_commit(..., using=using)`` for work that must wait for the
commit. A receiver's exception is logged and does not change the load.
"""
