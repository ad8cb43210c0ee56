"""The command's report on a finished load."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ingest.conf import rejects_kept
from ingest.exceptions import REJECTS_SHOWN
from ingest.ledger.place import command_for
from ingest.plurals import counted
from ingest.results import REPEATED
from ingest.results.reasons import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import BaseCommand

    from ingest.results import LoadResult

DECISIONS_FROM = 2
"""The verbosity from which decisions are reported."""
LEFT_OUT = "Left out: "
"""The beginning of a decision about a preamble or a trailer."""
CANNOT_BE_UNDONE = "Rows: this load cannot be undone"
LESS_THAN_ASKED = ("One worker, because", "no other load can resume this one")
"""Parts of decisions about an option that has less effect than its name promises."""


def report(command: BaseCommand, result: LoadResult, *, verbosity: int) -> None:
    """Write why records were refused to standard error, and the rest to standard output."""
    for line in refusals(result):
        command.stderr.write(line)
    if verbosity >= DECISIONS_FROM:
        for decision in result.decisions:
            command.stdout.write(decision)
    elif verbosity:
        _report_little(command, result)
    if result.stages and verbosity:
        for line in table(result):
            command.stdout.write(line)
    if result.number is not None:
        command.stdout.write(_number(result, result.number))
    for line in counts(result):
        command.stdout.write(line)
    verb = "Would have loaded" if result.is_dry_run else "Loaded"
    command.stdout.write(
        f"{verb} {counted(result.rows, 'row')} into {result.table} in {result.seconds:.2f} s "
        f"({result.rows_per_second:,.0f} rows/s){_details(result)}."
    )


def _report_little(command: BaseCommand, result: LoadResult) -> None:
    """Write the decisions that every user should read."""
    for decision in result.decisions:
        if decision.startswith(LEFT_OUT):
            command.stdout.write(decision)
    less = (it for it in result.decisions if any(text in it for text in LESS_THAN_ASKED))
    warnings = (it for it in result.warnings if not it.startswith(REPEATED))  # shown before
    for warning in (*warnings, *less):
        command.stderr.write(warning)


def _details(result: LoadResult) -> str:
    """Return the counts of the records, unless all of them were inserted."""
    details = [f"{count:,} {name}" for name, count in result.details.items()]
    return f": {', '.join(details)}" if details else ""


def counts(result: LoadResult) -> Iterator[str]:
    """Yield the counts of the records, if there is more than one."""
    if result.rejected or result.skipped:
        skipped = f" + {result.skipped:,} skipped" if result.skipped else ""
        details = {name: it for name, it in result.details.items() if name != "deleted"}
        parts = " + ".join(
            f"{count:,} {name}" for name, count in (details or {"loaded": result.rows}).items()
        )
        yield (
            f"Read {counted(result.read, 'record')} = {parts} + {result.rejected:,} "
            f"rejected{skipped}."
        )
    for count, what in ((result.padded, "padded with empty cells"), (result.cut, "cut")):
        if count:
            yield f"{counted(count, 'record was', 'records were')} {what}, as --lenient asks."


def refusals(result: LoadResult) -> Iterator[str]:
    """Yield lines: the reasons, each with its number and an example, and what to do next."""
    yield from lines_of(result.reasons, REJECTS_SHOWN)
    if result.rejected:
        yield from _next(result)


def _next(result: LoadResult) -> Iterator[str]:
    """Yield lines that say where the refused records are, and which command comes next."""
    if result.reject_log:
        yield f"All reasons are in {result.reject_log}, as JSON Lines."
    if result.reject_file and not result.is_dry_run:
        path = shlex.quote(result.reject_file)
        yield (
            f"The refused records are in {result.reject_file}. Correct them there, and load that "
            f"file: bulk_load {result.model} {path}, with the same options for reading."
        )
    elif result.reject_file:
        yield (
            f"The refused records are in {result.reject_file}. Nothing was loaded: to load all "
            "others, leave out --dry-run."
        )
    elif result.is_dry_run:
        yield (
            "Nothing was loaded. To load all other records and write these to a file, replace "
            "--dry-run by --reject-file FILE."
        )
    elif result.number is not None:
        # Loaded rows do not prevent another load if conflicts are settled by their key.
        has_key = result.load is not None and "on_conflict" in result.load.options.get("how", {})
        is_clear = has_key or not _has_changed(result)
        undo = f"type {_undo(result, result.number)}, and "
        if is_clear:
            undo = ""
        elif not _can_be_undone(result):
            undo = "delete its rows by hand, and "
        yield (
            f"The admin's page of load {result.number} lists the refused records (the first "
            f"{rejects_kept():,}). To have all of them in a file, {undo}load again with "
            "--reject-file FILE."
        )
    else:
        yield "Load with --reject-file FILE to have the refused records in a file."


def _has_changed(result: LoadResult) -> bool:
    """Return whether the table has other rows than before."""
    return bool(result.rows or result.deleted)


def _undo(result: LoadResult, number: int) -> str:
    alias = None if result.load is None else result.load._state.db
    return command_for("--undo", number, alias)


def _can_be_undone(result: LoadResult) -> bool:
    return not any(each.startswith(CANNOT_BE_UNDONE) for each in result.decisions)


def _number(result: LoadResult, number: int) -> str:
    if not _can_be_undone(result):
        return f"This is load {number}. It cannot be undone: -v 2 says why."
    if not _has_changed(result):
        return f"This is load {number}, which changed nothing in the table."
    undo = _undo(result, number)
    if not result.updated and not result.deleted:
        return f"This is load {number}. To delete its rows again: {undo}"
    if result.load is not None and not result.load.options.get("how", {}).get("keep_old"):
        why = "it changed rows without --keep-old"
        return f"This is load {number}. It cannot be undone, because {why}."
    return (
        f"This is load {number}. To delete the rows that it inserted and restore the others: {undo}"
    )


def table(result: LoadResult) -> Iterator[str]:
    """Yield the lines of a small table: counts of the records, and seconds of each stage."""
    rows = [
        ("rows", f"{result.rows:,}"),
        *((f"  {name}", f"{count:,}") for name, count in result.details.items()),
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
