"""Moments of the ledger in the reader's time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime


def local_time(moment: datetime) -> datetime:
    """Return a moment in the current time zone.

    Without ``USE_TZ`` moments are naive and returned unchanged.
    """
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment
