"""A description of where ``direct`` spends its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.benchmark.methods.base import Costs
    from ingest.benchmark.result import MethodResult

METHOD = "direct"
_GROUPS = {
    "reading": ("read",),
    "converting": ("convert",),
    "sending": ("encode", "send", "look up references", "commit"),
    "indexes": ("build indexes",),
}
"""The parts of the description, and their stages; ``commit`` includes the time of no other
stage."""


def describe_costs(results: Sequence[MethodResult]) -> Iterator[str]:
    """Yield lines for the largest number of rows: shares, the slowest field, and why."""
    found = [item for item in results if item.method == METHOD and item.is_ranked and item.costs]
    if not found:
        return
    item = max(found, key=lambda each: each.rows)
    costs = item.costs
    if costs is None or not costs.seconds:
        return
    shares = ", ".join(
        f"{name} {sum(costs.stages.get(stage, 0.0) for stage in stages) / costs.seconds:.0%}"
        for name, stages in _GROUPS.items()
    )
    yield f"Time of {METHOD} at {counted(item.rows, 'row')}: {shares}."
    yield from _slowest_field(costs)


def _slowest_field(costs: Costs) -> Iterator[str]:
    if not costs.fields:
        return
    name = max(costs.fields, key=lambda field: costs.fields[field])
    reason = next((f" ({slow.reason})" for slow in costs.slow_fields if slow.name == name), "")
    share = costs.fields[name] / costs.seconds
    yield f"Slowest field: {name}{reason}, {share:.0%} of the time."
