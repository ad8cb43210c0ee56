"""The steps from a file to a load, each with its own address."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step."""

    name: str
    """The name in its address."""
    title: str | _StrPromise


STEPS = (
    Step(name="file", title=_("What was detected")),
    Step(name="mapping", title=_("Columns and fields")),
    Step(name="options", title=_("How to load")),
    Step(name="preview", title=_("Preview")),
    Step(name="check", title=_("Dry run")),
    Step(name="confirm", title=_("Confirm")),
)
NAMES = tuple(step.name for step in STEPS)


def place_of(name: str) -> int:
    """Return the position of a step, from 0."""
    return NAMES.index(name) if name in NAMES else 0


def step_after(name: str) -> str:
    """Return the name of the next step."""
    return NAMES[min(place_of(name) + 1, len(NAMES) - 1)]
