"""The fields whose values went through Python one at a time, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY_VALUES = 1_000
"""So many unusual values of a field that is otherwise fast are worth a sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowField:
    """A field that judged values one at a time."""

    name: str
    reason: str
    """What kept them from being judged a whole column at a time."""
    values: int
    """How many it judged: of a text file each distinct text, as far as these are remembered."""
    are_distinct: bool
    seconds: float

    def told(self) -> str:
        """Return it as a sentence for a load's decisions."""
        distinct = "distinct " if self.are_distinct else ""
        return (
            f"One value at a time: {self.name}: {self.reason}, {self.values:,} {distinct}"
            f"{'value' if self.values == 1 else 'values'}."
        )


def add_up(fields: Iterable[SlowField]) -> tuple[SlowField, ...]:
    """Return each field once, the slowest first."""
    found: dict[str, SlowField] = {}
    for field in fields:
        known = found.get(field.name)
        found[field.name] = (
            field
            if known is None
            else dataclasses.replace(
                known, values=known.values + field.values, seconds=known.seconds + field.seconds
            )
        )
    return tuple(sorted(found.values(), key=lambda field: -field.seconds))
