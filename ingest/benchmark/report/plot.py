"""The plot: rows against seconds on logarithmic axes, or a bar for each part of the table."""

from __future__ import annotations

from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ingest.benchmark.report.explanation import labels, savings
from ingest.plurals import counted

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from ingest.benchmark.result import BenchmarkResult, Explanation

STYLES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", (0, (5, 1))), ("P", (0, (1, 1))))
"""A marker and a line style for each method, to distinguish them in black and white."""
# Okabe and Ito's colours, which colour-blind people can distinguish:
# https://jfly.uni-koeln.de/color/.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
SIZE_INCHES = (7.5, 5.0)
BARS_WIDTH_INCHES, BAR_INCHES = 9.0, 0.4
LABEL_CHARACTERS = 44
"""The names of foreign keys are long: longer lines would leave no room for the bars."""
DOTS_PER_INCH = 160
LABEL_GAP = 11.0
"""Points between two labels: with less they would overlap."""


def draw(result: BenchmarkResult, file: IO[bytes] | Path, kind: str | None = None) -> None:
    """Draw the verified results, or the explanation, into a file.

    ``kind`` is ``png``, ``svg`` or ``pdf``; None: according to the file's name.
    """
    # Not pyplot: it keeps figures in the process and may need a display.
    from matplotlib.figure import Figure

    size = SIZE_INCHES
    if result.explanation is not None:
        size = (BARS_WIDTH_INCHES, 1.5 + BAR_INCHES * (len(result.explanation.parts) + 3))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{result.table['model']} on PostgreSQL {result.environment['postgresql']}")
    if result.explanation is None:
        _draw_lines(axes, result)
    else:
        _draw_bars(axes, result.explanation)
    figure.savefig(file, format=kind, dpi=DOTS_PER_INCH)


def _draw_bars(axes: Any, explanation: Explanation) -> None:
    bars = [
        (label, cost.microseconds, COLOURS[2])
        for label, cost in zip(labels(explanation), explanation.parts, strict=True)
    ]
    bars += [(label, -saved, COLOURS[3]) for label, saved in savings(explanation)]
    names, lengths, colours = zip(*bars, strict=True)
    places = range(len(bars), 0, -1)
    drawn = axes.barh(places, lengths, color=colours, height=0.7)
    axes.bar_label(drawn, fmt="{:.2f}", padding=4)
    axes.set_yticks(places, ["\n".join(wrap(name, LABEL_CHARACTERS)) for name in names], fontsize=8)
    axes.axvline(0, color="#000000", linewidth=0.8)
    axes.margins(x=0.2)
    axes.set_xlabel(f"µs a row at {counted(explanation.rows, 'row')}; below 0: saved")


def _draw_lines(axes: Any, result: BenchmarkResult) -> None:
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
    axes.grid(visible=True, which="major", linewidth=0.5, color="#cccccc")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.05)
    _label(axes, ends)


def _lines(result: BenchmarkResult) -> dict[str, list[tuple[float, float, float, float]]]:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for item in result.results:
        median = item.median_seconds
        if item.is_ranked and median is not None:
            low, high = median - min(item.seconds), max(item.seconds) - median
            lines.setdefault(item.method, []).append((item.rows, median, low, high))
    return lines


def _label(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    # Next to the line's end, not in a legend; moved apart if ends are close to each other.
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
