"""The report of a benchmark: tables, and one sentence of advice."""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ingest.benchmark.report.costs import describe_costs
from ingest.benchmark.report.explanation import render_explanation
from ingest.loading.options import LoadOptions
from ingest.plurals import counted
from ingest.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from ingest.benchmark.result import BenchmarkResult, MethodResult

WIDTH = 118
"""The width that the table needs, used if the output is not a terminal and has no given width."""
LEFT_OUT = ("peak memory", "client CPU", "WAL", "rows/s")
"""The columns that a narrow console omits, in this order."""
NOTE_WIDTH = 10
"""The minimum width of a note; a longer one is wrapped."""
_ANY_WIDTH = 10_000
NOTHING, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
BASES = ("bulk_create", "psql")
"""What the others are compared with, the first that ran: Django's own way for many rows, or
PostgreSQL's."""
LOADING = ("copy", "direct")
"""The methods that a load can use."""
WORTH_SECONDS = 0.5
"""A difference that a person notices; below it the simplest way is good enough."""
WORTH_TIMES = 1.25
"""A ratio that exceeds the noise (see ``NOISY_SPREAD``)."""


def render(result: BenchmarkResult) -> RenderableType:
    """Return the whole report for rich to print."""
    parts: list[RenderableType] = [_environment(result), ""]
    if result.explanation is not None:
        parts.extend(render_explanation(result.explanation))
        parts.extend(Text(safe_text(note)) for note in result.notes)
        return Group(*parts)
    parts.append(_Methods(result.results))
    parts.extend(_decisions(result.results))
    if any(item.stable is False for item in result.results):
        parts.append("~ noisy: the samples lie more than a quarter of the median apart")
    parts.extend(Text(safe_text(note)) for note in result.notes)
    parts.extend(Text(safe_text(line)) for line in describe_costs(result.results))
    parts.extend(["", Text(safe_text(advise(result)), style="bold")])
    return Group(*parts)


def advise(result: BenchmarkResult) -> str:
    """Return one sentence of advice that follows from the figures."""
    every = [item for item in result.results if item.is_ranked]
    ranked = [item for item in every if not item.is_yardstick]
    wrong = sorted({item.method for item in result.results if item.verified is False})
    if not ranked:
        return "No method stored the rows: see the notes in the table."
    largest = max(item.rows for item in ranked)
    group = sorted((item for item in ranked if item.rows == largest), key=_seconds)
    best = group[0]
    warning = f" Do not use {', '.join(wrong)} here: see its note." if wrong else ""
    base = _base([item for item in every if item.rows == largest]) or group[-1]
    times = _seconds(base) / _seconds(best)
    model = shlex.quote(str(result.table["model"]))
    if best.method == base.method or times < WORTH_TIMES:
        return (
            f"At {counted(largest, 'row')} no method is clearly faster than {base.method} "
            f"({_seconds(base):.2f} s): keep it.{warning}"
        )
    saved = _seconds(base) - _seconds(best)
    if saved < WORTH_SECONDS:
        return (
            f"At {counted(largest, 'row')} {best.method} is {times:.1f} times faster than "
            f"{base.method}, "
            f"but saves only {saved:.2f} s: keep {base.method} unless you load more often or more "
            f"rows.{warning}"
        )
    how = best.method
    if how in LOADING:
        option = "" if how == LoadOptions.method else f" --method {how}"
        how = f"`manage.py bulk_load {model} FILE{option}`"
    return (
        f"Load {counted(largest, 'row')} with {how}: {best.method} takes {_seconds(best):.2f} s, "
        f"{times:.1f} times faster than {base.method} ({_seconds(base):.2f} s).{warning}"
    )


def _base(items: Sequence[MethodResult]) -> MethodResult | None:
    ranked = {item.method: item for item in items if item.is_ranked}
    return next((ranked[name] for name in BASES if name in ranked), None)


def _decisions(results: Iterable[MethodResult]) -> Iterator[Text]:
    """Yield the decisions of each method, where they differ from those for fewer rows."""
    known: dict[str, tuple[str, ...]] = {}
    for item in results:
        if item.decisions and known.get(item.method) != item.decisions:
            known[item.method] = item.decisions
            decisions = safe_text(" ".join(item.decisions))
            yield Text(f"{item.method}, from {counted(item.rows, 'row')}: {decisions}")


def _seconds(item: MethodResult) -> float:
    return item.median_seconds or 0.0


def _environment(result: BenchmarkResult) -> Grid:
    e, table = result.environment, result.table
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    unnest = {True: "UNNEST", False: "VALUES", None: "not run"}[e["bulk_create_uses_unnest"]]
    start = "a CSV file" if table.get("from_file") else "rows in memory"
    existing = table.get("existing") or 0
    origin = table["source"] or f"made from the fields, seed {table['seed']}"
    lines = {
        "table": f"{table['name']} ({table['model']}), its copy in a scratch schema",
        "indexes": ", ".join(table["indexes"]) or "none",
        "foreign keys": ", ".join(table["foreign_keys"]) or "none",
        "triggers": ", ".join(table["triggers"]) or "none",
        "rows": origin,
        "existing rows": f"{existing:,}",
        "keys": f"{table.get('overlap') or 0:.0%} of the rows have keys of existing rows",
        "clock": f"from {start} to committed",
        "PostgreSQL": (
            f"{e['postgresql']}, fsync {e['fsync']}, "
            f"synchronous_commit {e['synchronous_commit']}, shared_buffers {e['shared_buffers']}"
        ),
        "client": (
            f"Python {e['python']}, Django {e['django']}, asyncpg {e['asyncpg']}, "
            f"psycopg {e['psycopg']}"
        ),
        "processor": f"{e['cpu']}, {e['cpu_count']} usable",
        "bulk_create": f"INSERT … {unnest}" if unnest != "not run" else unnest,
    }
    if not existing:
        del lines["existing rows"]
    if table.get("overlap") is None:
        del lines["keys"]
    if "psql" in e:
        lines["psql"] = e["psql"]
    for name, value in lines.items():
        grid.add_row(name, Text(safe_text(str(value))))
    return grid


class _Methods:
    """The table of methods, with as many columns as fit the console."""

    def __init__(self, results: Sequence[MethodResult]) -> None:
        self._results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(max_width=_ANY_WIDTH)
        left_out: set[str] = set()
        for name in ("", *LEFT_OUT):
            left_out.add(name)
            shortened = _grid(self._results, left_out, note_width=NOTE_WIDTH)
            if Measurement.get(console, wide, shortened).maximum <= options.max_width:
                break
        yield _grid(self._results, left_out)


def _grid(
    results: Sequence[MethodResult], left_out: Collection[str], note_width: int | None = None
) -> Grid:
    names = {item.method for item in results if item.is_ranked}
    against = next((name for name in BASES if name in names), BASES[0])
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("rows", justify="right", no_wrap=True)
    grid.add_column("method", no_wrap=True)
    figures = ("seconds", "rows/s", f"{TIMES} {against}", "WAL", "client CPU", "peak memory")
    for name in figures:
        if name not in left_out:
            grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("verified", overflow="fold")
    for rows, items in groupby(results, key=lambda item: item.rows):
        group = list(items)
        base = next((item for item in group if item.method == against and item.is_ranked), None)
        for item in group:
            cells = dict(zip(figures, _figures(item, base), strict=True))
            kept = [cell for name, cell in cells.items() if name not in left_out]
            note = _verified(item)[:note_width]
            style = None if item.is_ranked else "dim"
            grid.add_row(f"{rows:,}", item.method, *kept, Text(note), style=style)
        grid.add_section()
    return grid


def _figures(item: MethodResult, base: MethodResult | None) -> tuple[str, ...]:
    if not item.samples:
        return (NOTHING,) * 6
    figures = item.as_json()
    spread = "" if item.stable is None else f" ± {(item.spread_seconds or 0) / 2:.3f}"
    noisy = "~" if item.stable is False else ""
    times = NOTHING
    if base is not None and item.is_ranked:
        times = f"{_seconds(base) / _seconds(item):.2f}"
    memory = figures["peak_memory_bytes"]
    return (
        f"{noisy}{_seconds(item):.3f}{spread}",
        f"{item.rows_per_second:,.0f}" if item.is_ranked else NOTHING,
        times,
        _size(figures["wal_bytes"]),
        f"{figures['client_cpu_seconds']:.3f} s",
        NOTHING if memory is None else _size(memory),
    )


def _verified(item: MethodResult) -> str:
    if not item.samples:
        return safe_text(item.note)
    return "yes" if item.verified else safe_text(f"NO: {item.note}")


def _size(count: Any) -> str:
    return f"{count / 1_000_000:,.1f} MB"
