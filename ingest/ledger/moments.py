"""The moments that the ledger has, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime


def local_time(moment: datetime) -> datetime:
    """Return a moment in the current time zone; without ``USE_TZ`` it has no zone, and stays."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment
