"""An explanation as a table, and the labels that the plot shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from ingest.benchmark.result import Explanation


def labels(explanation: Explanation) -> list[str]:
    """Return a short label for each part."""
    return [
        part.name if part.kind == "table" else f"{part.kind} {part.name}"
        for part in explanation.parts
    ]


def savings(explanation: Explanation) -> list[tuple[str, float]]:
    """Return what each technique of ``direct`` saves, in microseconds per row."""
    return [
        ("direct: references as a set", explanation.saved_by_references),
        ("direct: indexes built once", explanation.saved_by_indexes),
        ("direct: both", explanation.saved),
    ]


def render_explanation(explanation: Explanation) -> Iterator[RenderableType]:
    """Yield the costs of the parts, and what ``direct`` saves, for rich to print."""
    total = sum(part.microseconds for part in explanation.parts)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("what", overflow="fold")
    for name in ("µs a row", "rounds apart", "share"):
        grid.add_column(name, justify="right", no_wrap=True)
    for label, part in zip(labels(explanation), explanation.parts, strict=True):
        grid.add_row(
            Text(label),
            f"{part.microseconds:.2f}",
            f"{part.spread_microseconds:.2f}",
            f"{part.microseconds / total:.0%}" if total else "",
        )
    grid.add_section()
    grid.add_row("all together", f"{total:.2f}", "", "100%")
    grid.add_section()
    for label, saved in savings(explanation):
        grid.add_row(label, f"{-saved:+.2f}", "", "")
    yield grid
    for decision in explanation.decisions:
        yield Text(f"direct: {decision}")
    yield ""
    left = explanation.copy_microseconds - explanation.saved
    yield Text(
        f"At {counted(explanation.rows, 'row')}, copy takes {explanation.copy_microseconds:.2f} "
        f"µs a row and direct {left:.2f} µs: it saves {explanation.saved:.2f} µs a row with every "
        "constraint kept.",
        style="bold",
    )
