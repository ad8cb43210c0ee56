"""Counts in English texts: ``1 row``, ``1,000 rows``.

Pages of the admin, which are translated, use Django's ``ngettext`` instead.
"""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and what it counts; ``many`` is ``one`` with an "s" unless given."""
    return f"{number:,} {noun(number, one, many)}"


def noun(number: int, one: str, many: str = "") -> str:
    """Return what is counted, as it is written behind this number."""
    return one if number == 1 else many or f"{one}s"
