"""``bulk_load app.Model FILE --preview``: shows the first rows as they will be stored."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import TYPE_CHECKING, Any

from ingest.exceptions import REJECTS_SHOWN
from ingest.loading.preview import DEFAULT_ROWS, preview
from ingest.management import conflict_options, layout_options, source_options
from ingest.management.grids import print_table
from ingest.plurals import counted
from ingest.results.rejects import VALUE_SHOWN
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from argparse import _ActionsContainer
    from collections.abc import Sequence

    from django.core.management.base import BaseCommand, OutputWrapper
    from django.db.models import Model
    from rich.text import Text

    from ingest.loading.preview import Preview


STYLES = {"insert": "green", "update": "yellow", "unchanged": "dim", "ignored": "dim"}


def add_arguments(parser: _ActionsContainer) -> None:
    """Add the option to the command's parser."""
    parser.add_argument(
        "--preview",
        nargs="?",
        type=_rows,
        const=DEFAULT_ROWS,
        metavar="N",
        help="Load nothing, and show the first N rows as they would be stored, and the refused "
        f"records among them (default: {DEFAULT_ROWS}).",
    )


def _rows(text: str) -> int:
    try:
        rows = int(text)
    except ValueError:
        rows = 0
    if rows < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of rows: name the file before --preview, or after "
            "--preview N"
        )
    return rows


def handle(
    command: BaseCommand, model: type[Model], files: Sequence[str], options: dict[str, Any]
) -> None:
    """Print the rows to standard output."""
    how = source_options.chosen(options) | {
        "layout": layout_options.chosen(options, model),
        "clean": options["clean"],
        **layout_options.for_load(options),
        **conflict_options.chosen(options),
    }
    shown = preview(
        model,
        source_options.as_source(files),
        using=options["database"],
        rows=options["preview"],
        **how,
    )
    _print_table(shown, command.stdout)
    for reject in islice(shown.rejects, REJECTS_SHOWN):
        command.stdout.write(f"Refused: {reject}")
    rest = len(shown.rejects) - REJECTS_SHOWN
    if rest > 0:
        command.stdout.write(f"… and {counted(rest, 'more reason')}.")
    if not shown.rows:
        command.stdout.write(f"{shown.source} has no record that could be loaded.")


def _print_table(shown: Preview, stream: OutputWrapper) -> None:
    """Print a line for each column, because a table can have more columns than rows shown."""
    if not shown.rows:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    is_terminal = stream.isatty()
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False)
    table.add_column(shown.model, no_wrap=True)
    for record in shown.records:
        table.add_column(f"record {record:,}", overflow="fold")
    if shown.outcomes:
        table.add_row(
            Text("what happens"),
            *(Text(each.what, style=STYLES.get(each.what, "")) for each in shown.outcomes),
        )
    for place, (name, *values) in enumerate(zip(shown.columns, *shown.rows, strict=True)):
        field = shown.fields[place]
        cells = [_show_cell(shown, at, field, value) for at, value in enumerate(values)]
        table.add_row(Text(safe_line(name)), *cells)
    print_table(stream, table)


def _show_cell(shown: Preview, at: int, field: str, value: Any) -> Text:
    """Return a value, with the old one before it if an update changes it."""
    from rich.text import Text

    if not shown.outcomes or field not in shown.outcomes[at].changes:
        return Text(_show(value))
    old, new = shown.outcomes[at].changes[field]
    return Text(f"{_show(old)} → {_show(new)}", style=STYLES["update"])


def _show(value: Any) -> str:
    if value is None:
        return "NULL"
    shown = repr(value) if isinstance(value, bytes) or value == "" else str(value)
    shown = safe_line(" ".join(shown.splitlines()))
    return shown if len(shown) <= VALUE_SHOWN else f"{shown[: VALUE_SHOWN - 1]}…"
