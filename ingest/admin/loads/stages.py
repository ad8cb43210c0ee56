"""The stages of a load as a small picture: one bar, a piece for each stage."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.admin.loads.progress import duration
from ingest.admin.loads.wording import name_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 600
"""Of the picture, in its own units."""
COLOURS = 8
"""Stages that the style sheet has a colour for; the ninth has the first one's again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """One stage, as the picture shows it."""

    name: str
    time: str
    percent: str
    colour: int
    left: float
    width: float


def draw(stages: Mapping[str, float]) -> list[Piece]:
    """Return the pieces of the bar, the longest first: the ledger keeps no order of them."""
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
