"""The stages of a load as a small bar chart: one bar, with a piece for each stage."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.admin.loads.progress import duration
from ingest.admin.loads.wording import name_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 600
"""The width of the picture, in its own units."""
COLOURS = 8
"""The number of colours in the style sheet; the ninth stage has the first colour again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """One stage in the picture."""

    name: str
    time: str
    percent: str
    colour: int
    left: float
    width: float


def draw(stages: Mapping[str, float]) -> list[Piece]:
    """Return the pieces of the bar, the longest first, because the ledger keeps no order."""
    longest_first = sorted(stages.items(), key=lambda pair: (-pair[1], pair[0]))
    return list(_pieces(dict(longest_first)))


def _pieces(stages: Mapping[str, float]) -> Iterator[Piece]:
    seconds = {name: max(float(value), 0.0) for name, value in stages.items()}
    total = sum(seconds.values())
    left = 0.0
    for place, (name, took) in enumerate(seconds.items()):
        share = took / total if total else 0.0
        yield Piece(
            name=name_stage(name),
            time=duration(took),
            percent=f"{share:.0%}",
            colour=place % COLOURS,
            left=round(left, 2),
            width=round(share * WIDTH, 2),
        )
        left += share * WIDTH
