"""Tables on standard output: fitted to a terminal, and never wrapped in a file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import IO

    from django.core.management.base import OutputWrapper
    from rich.table import Table

PLAIN_WIDTH = 10_000
"""The width of a table in a file, large enough that no line is wrapped."""


def print_grid(
    stream: OutputWrapper,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
) -> None:
    """Print a table with a header; the columns in ``right`` contain numbers."""
    from rich import box  # a load prints no table
    from rich.table import Table
    from rich.text import Text

    is_terminal = stream.isatty()
    table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe_line(cell)) for cell in row))
    print_table(stream, table)


def print_table(stream: OutputWrapper, table: Table) -> None:
    """Print a table made with rich."""
    from rich.console import Console

    if stream.isatty():
        Console(file=cast("IO[str]", stream._out)).print(table)
        return
    text = io.StringIO()
    Console(file=text, width=PLAIN_WIDTH).print(table)
    for line in text.getvalue().splitlines():
        stream.write(line.rstrip())
