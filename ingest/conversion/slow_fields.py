"""Report the fields whose values were judged in Python one at a time, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY_VALUES = 1_000
"""From this many slow values on, a field that is otherwise fast is reported."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowField:
    """A field that judged values one at a time."""

    name: str
    reason: str
    """Why they were not judged a whole column at a time."""
    values: int
    """How many values it judged; of a text file, each distinct text that was not cached."""
    are_distinct: bool
    seconds: float

    def told(self) -> str:
        """Return the sentence for a load's decisions."""
        distinct = "distinct " if self.are_distinct else ""
        return (
            f"One value at a time: {self.name}: {self.reason}, {self.values:,} {distinct}"
            f"{'value' if self.values == 1 else 'values'}."
        )


def add_up(fields: Iterable[SlowField]) -> tuple[SlowField, ...]:
    """Return each field once with its totals, the slowest first."""
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
