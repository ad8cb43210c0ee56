"""Tables on standard output: fitted to a terminal, and never wrapped in a file."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Literal, cast

from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import IO

    from django.core.management.base import OutputWrapper
    from rich.table import Table

PLAIN_WIDTH = 10_000
"""The width of a table in a file, large enough that no line is wrapped."""


NARROWEST = 72
"""In a narrower terminal every column may take several lines."""


def print_grid(
    stream: OutputWrapper,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
    folded: Collection[str] = (),
) -> None:
    """Print a table with a header.

    The columns in ``right`` contain numbers; those in ``folded`` may take several lines.
    """
    from rich import box  # a load prints no table
    from rich.table import Table
    from rich.text import Text

    is_terminal = stream.isatty()
    table = Table(
        box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, collapse_padding=is_terminal
    )
    is_wide = shutil.get_terminal_size().columns >= NARROWEST
    for name in names:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(
            name, justify=justify, overflow="fold", no_wrap=is_wide and name not in folded
        )
    for row in rows:
        table.add_row(*(Text(safe_line(cell)) for cell in row))
    print_table(stream, table)


def print_table(stream: OutputWrapper, table: Table) -> None:
    """Print a table made with rich."""
    from rich.console import Console

    if stream.isatty():
        colours: Literal["auto"] | None = None if getattr(stream, "is_plain", False) else "auto"
        Console(file=cast("IO[str]", stream._out), color_system=colours).print(table)
        return
    text = io.StringIO()
    Console(file=text, width=PLAIN_WIDTH).print(table)
    for line in text.getvalue().splitlines():
        stream.write(line.rstrip())
