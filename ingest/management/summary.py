"""What the command says of a load that came to its end."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ingest.exceptions import REJECTS_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import BaseCommand

    from ingest.results import LoadResult

DECISIONS_FROM = 2
"""The verbosity from which it is told what was decided on the way."""


def report(command: BaseCommand, result: LoadResult, *, verbosity: int) -> None:
    """Show the first rejects on standard error, and all else on standard output."""
    for reject in islice(result.rejects, REJECTS_SHOWN):
        command.stderr.write(str(reject))
    if verbosity >= DECISIONS_FROM:
        for decision in result.decisions:
            command.stdout.write(decision)
    elif verbosity:
        for warning in result.warnings:
            command.stderr.write(warning)
    if result.stages and verbosity:
        for line in table(result):
            command.stdout.write(line)
    if result.rejected or result.skipped:
        skipped = f" + {result.skipped:,} skipped" if result.skipped else ""
        command.stdout.write(
            f"Read {result.read:,} records = {result.rows:,} loaded + "
            f"{result.rejected:,} rejected{skipped}."
        )
    for line in adapted(result):
        command.stdout.write(line)
    verb = "Would have loaded" if result.is_dry_run else "Loaded"
    command.stdout.write(
        f"{verb} {result.rows:,} rows into {result.table} in {result.seconds:.2f} s "
        f"({result.rows_per_second:,.0f} rows/s)."
    )


def adapted(result: LoadResult) -> Iterator[str]:
    """Yield a sentence each about the records that ``lenient`` has padded and cut."""
    for count, what in ((result.padded, "padded with empty cells"), (result.cut, "cut")):
        if count:
            were = "1 record was" if count == 1 else f"{count:,} records were"
            yield f"{were} {what}, as --lenient asks."


def table(result: LoadResult) -> Iterator[str]:
    """Yield the lines of a small table: what became of the records, and what took how long."""
    rows = [
        ("rows", f"{result.rows:,}"),
        ("rejected", f"{result.rejected:,}"),
        ("skipped", f"{result.skipped:,}"),
        ("rows/s", f"{result.rows_per_second:,.0f}"),
        ("seconds", f"{result.seconds:.2f}"),
        *((f"  {name}", f"{seconds:.2f}") for name, seconds in result.stages.items()),
    ]
    left = max(len(name) for name, _ in rows)
    right = max(len(figure) for _, figure in rows)
    for name, figure in rows:
        yield f"{name:{left}}  {figure:>{right}}"
