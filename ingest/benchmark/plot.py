"""The plot: rows against seconds, a line for each method, both axes logarithmic."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.benchmark.result import BenchmarkResult

STYLES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", (0, (5, 1))), ("P", (0, (1, 1))))
"""A marker and a line for each method: they tell them apart in black and white."""
# Okabe and Ito's colours, which the colour-blind can tell apart: https://jfly.uni-koeln.de/color/.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
SIZE_INCHES = (7.5, 5.0)
DOTS_PER_INCH = 160
LABEL_GAP = 11.0
"""Points between two labels: less, and they would overlap."""


def draw(result: BenchmarkResult, path: Path) -> None:
    """Draw the verified results into a file, whose suffix says the format."""
    # Not pyplot: it keeps figures in the process and may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    lines = _lines(result)
    styles = zip(cycle(STYLES), cycle(COLOURS), strict=False)
    ends = []
    for (name, points), ((marker, line), colour) in zip(lines.items(), styles, strict=False):
        rows, seconds, low, high = zip(*points, strict=True)
        axes.errorbar(
            rows,
            seconds,
            yerr=(low, high),
            marker=marker,
            linestyle=line,
            color=colour,
            capsize=3,
            markersize=6,
        )
        ends.append((rows[-1], seconds[-1], name, colour))
    axes.set_xlabel("rows")
    axes.set_ylabel("seconds (median; bars: fastest and slowest)")
    axes.set_title(f"{result.table['model']} on PostgreSQL {result.environment['postgresql']}")
    axes.grid(visible=True, which="major", linewidth=0.5, color="#cccccc")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.05)
    _label(axes, ends)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _lines(result: BenchmarkResult) -> dict[str, list[tuple[float, float, float, float]]]:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for item in result.results:
        median = item.median_seconds
        if item.is_ranked and median is not None:
            low, high = median - min(item.seconds), max(item.seconds) - median
            lines.setdefault(item.method, []).append((item.rows, median, low, high))
    return lines


def _label(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    # Beside the line's end, not in a legend; pushed apart where ends lie close to one another.
    lowest: dict[float, float] = {}
    axes.figure.draw_without_rendering()
    for rows, seconds, name, colour in sorted(ends, key=lambda end: end[1]):
        _, pixel = axes.transData.transform((rows, seconds))
        point = pixel * 72 / axes.figure.dpi
        place = max(point, lowest.get(rows, float("-inf")) + LABEL_GAP)
        lowest[rows] = place
        axes.annotate(
            name,
            (rows, seconds),
            xytext=(9, place - point),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
