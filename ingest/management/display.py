"""The command's progress display: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from ingest.plurals import counted
from ingest.results import DETAILS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Self

    from django.core.management.base import OutputWrapper
    from rich.progress import Progress

    from ingest.results import Progress as LoadProgress

SECONDS_BETWEEN_LINES = 5.0
"""The interval between plain lines: a log stays readable, and nobody thinks that the load hangs."""
COUNTS_SHOWN = (*DETAILS, "rejected", "skipped")
"""The counts in a JSON object, besides the number of records read."""
KINDS = ("auto", "bar", "plain", "json", "none")


class ProgressDisplay:
    """Shows the progress of a load on standard error."""

    def __init__(self, kind: str, stream: OutputWrapper, title: str) -> None:
        if kind == "auto":
            kind = "bar" if stream.isatty() else "plain"
        self._kind = kind
        self._stream = stream
        self._title = title
        self._started = self._spoke = time.monotonic()
        self._bar: Progress | None = None
        self._task: Any = None
        self._warnings = _Warnings(self)

    def __enter__(self) -> Self:
        logging.getLogger("ingest").addHandler(self._warnings)
        if self._kind == "bar":
            from rich.console import Console  # takes 50 ms: only for a bar on a terminal
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TextColumn("{task.fields[rows]}, {task.fields[speed]:,.0f} rows/s"),
                TextColumn("{task.fields[rejected]}"),
                TimeRemainingColumn(),
                console=Console(
                    file=cast("IO[str]", self._stream._out),
                    color_system=None if getattr(self._stream, "is_plain", False) else "auto",
                ),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._title, total=None, rows=counted(0, "row"), speed=0.0, rejected=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logging.getLogger("ingest").removeHandler(self._warnings)
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: LoadProgress) -> None:
        """Show the progress, if the interval has passed."""
        now = time.monotonic()
        speed = (progress.rows - progress.rows_before) / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=progress.bytes_read,
                total=progress.bytes_total,
                rows=counted(progress.rows, "row"),
                speed=speed,
                rejected=f"{progress.rejected:,} rejected" if progress.rejected else "",
            )
        elif self._kind == "json":
            self._write(
                json.dumps(
                    {
                        "rows": progress.rows,
                        **{name: getattr(progress.counts, name) for name in COUNTS_SHOWN},
                        "rows_per_second": round(speed),
                        "bytes_read": progress.bytes_read,
                        "bytes_total": progress.bytes_total,
                    }
                )
            )
        elif self._kind == "plain" and now - self._spoke >= SECONDS_BETWEEN_LINES:
            self._spoke = now
            self._write(f"{self._title}: {counted(progress.rows, 'row')}, {speed:,.0f} rows/s")

    def warn(self, sentence: str) -> None:
        """Show a warning at once, whichever kind of progress was chosen."""
        if self._bar is not None:
            self._bar.console.print(sentence, markup=False, highlight=False)
        elif self._kind == "json":
            self._write(json.dumps({"warning": sentence}))
        else:
            self._write(sentence)

    def _write(self, line: str) -> None:
        self._stream.write(line, style_func=str)
        self._stream.flush()


class _Warnings(logging.Handler):
    """Shows the warnings that a load waits for its source, or that its file was loaded before."""

    def __init__(self, display: ProgressDisplay) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) in {"waiting", "repeated"}:
            self._display.warn(record.getMessage())
