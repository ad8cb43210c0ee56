"""The benchmark in the command: progress on standard error, the report on standard output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import CommandError
from django.db import router
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ingest.benchmark.options import (
    BenchmarkOptions,
    check_outputs,
    find_measured_model,
    open_outputs,
)
from ingest.benchmark.report import WIDTH, render
from ingest.benchmark.report.plot import draw
from ingest.benchmark.run import run_benchmark
from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import IO, Self

    from django.core.management.base import BaseCommand, OutputWrapper

    from ingest.benchmark.result import BenchmarkResult
    from ingest.benchmark.run import Progress
    from ingest.loading.output_files import OutputFile

SAID = (
    *("rows", "methods", "repeat", "seed", "source", "baselines", "psql", "from_file"),
    *("existing", "overlap", "role", "explain"),
)
"""Options of the command that ``BenchmarkOptions`` takes by the same name."""
INTERRUPTED = 130
"""The usual exit code in shells after Ctrl-C."""


def handle(command: BaseCommand, *, model: str | None, file: str | None, **options: Any) -> None:
    """Run a benchmark for a command, whose options are those of ``add_arguments``.

    Raise an ``IngestError``, or ``CommandError`` with the exit code 130 after Ctrl-C.
    """
    if file is not None:
        raise ConfigurationError(f"To measure with the rows of a file, use --source {file}.")
    if model is not None and options["benchmark_model"] not in {None, model}:
        raise ConfigurationError(
            f"--model names {options['benchmark_model']}, and the first argument {model}: leave "
            "out one of them."
        )
    measured = find_measured_model(options["benchmark_model"] or model)
    said = {name: options[name] for name in SAID if options[name] is not None}
    for name in ("rows", "methods", "baselines"):
        if name in said:
            said[name] = tuple(said[name])
    database = options["database"] or router.db_for_write(measured)
    asked = BenchmarkOptions(model=measured, database=database, **said)
    check_outputs(options)
    with open_outputs(options) as outputs:
        result = _run(command, asked, options)
        _write(command, result, outputs, is_json_shown=options.get("json") == "-")


def _run(command: BaseCommand, asked: BenchmarkOptions, options: dict[str, Any]) -> BenchmarkResult:
    try:
        with BenchmarkDisplay(options.get("progress") or "auto", command.stderr) as display:
            return run_benchmark(asked, progress=display)
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted: the scratch schema is gone, and no real row was touched.",
            returncode=INTERRUPTED,
        ) from None


def _write(
    command: BaseCommand,
    result: BenchmarkResult,
    outputs: Mapping[str, OutputFile],
    *,
    is_json_shown: bool,
) -> None:
    # With --json - standard output is for programs only.
    stream = command.stderr if is_json_shown else command.stdout
    console = _console(stream)
    console.print(render(result), highlight=False)
    if is_json_shown:
        command.stdout.write(result.as_json(), ending="")
    if "json" in outputs:
        outputs["json"].file.write(result.as_json().encode())
        outputs["json"].publish()
    if "plot" in outputs:
        plot = outputs["plot"]
        draw(result, plot.file, Path(plot.path).suffix[1:].lower())
        plot.publish()


def _console(stream: OutputWrapper) -> Console:
    width = None if stream.isatty() else shutil.get_terminal_size((WIDTH, 0)).columns
    return Console(
        file=cast("IO[str]", stream._out),
        width=width,
        soft_wrap=False,
        color_system=None if getattr(stream, "is_plain", False) else "auto",
    )


class BenchmarkDisplay:
    """Shows the progress on standard error: a bar on a terminal, otherwise lines."""

    def __init__(self, kind: str, stream: OutputWrapper) -> None:
        if kind == "auto":
            kind = "bar" if stream.isatty() else "plain"
        self._kind = kind
        self._stream = stream
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._kind == "bar":
            self._bar = Bar(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=_console(self._stream),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show what begins now."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=progress.message,
                completed=progress.done,
                total=progress.total or None,
            )
        elif self._kind == "json":
            self._line(
                json.dumps(
                    {
                        "message": progress.message,
                        "rows": progress.done,
                        "rows_total": progress.total or None,
                    }
                )
            )
        elif self._kind == "plain":
            share = f"{progress.done / progress.total:4.0%} " if progress.total else ""
            self._line(f"Benchmark: {share}{progress.message}")

    def _line(self, line: str) -> None:
        self._stream.write(line, style_func=str)
        self._stream.flush()
