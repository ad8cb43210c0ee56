"""The command's options for reading a file."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ingest.exceptions import SourceError
from ingest.loading import output_files
from ingest.sources import Source
from ingest.sources.several import expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

OPTIONS = (
    *("format", "encoding", "delimiter", "quote", "doubled_quotes", "escape", "columns", "header"),
    *("skip_records", "trailer_records", "trailer_pattern"),
    *("comment", "lenient", "sheet"),
)
"""Options that ``SourceOptions`` has by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("reading a file; what is said here comes before the layout")
    formats = sorted(kind.format for kind in Source.registry if kind.is_of_files)
    group.add_argument("--format", choices=formats, help="what the file is (default: by its name)")
    group.add_argument("--encoding", help="any codec Python knows (default: utf-8)")
    group.add_argument(
        "--delimiter",
        type=_mark,
        metavar="MARK",
        help=r"what stands between the cells; \t is a tab (default: a comma)",
    )
    group.add_argument(
        "--quote",
        type=_mark,
        metavar="MARK",
        help="""what cells are wrapped in (default: "); '' where nothing is quoted""",
    )
    group.add_argument(
        "--no-doubled-quotes",
        dest="doubled_quotes",
        action="store_false",
        default=None,
        help="a quote written twice does not stand for itself in a quoted cell",
    )
    group.add_argument(
        "--escape",
        type=_mark,
        metavar="MARK",
        help="takes its meaning from the next character (default: none; often a backslash)",
    )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the first record names the columns, or does not: they are then called 1, 2 …",
    )
    group.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="the names of the columns, for a file without a header; of JSON Lines and Parquet the "
        "columns to take",
    )
    group.add_argument(
        "--skip-records",
        type=whole_number,
        metavar="N",
        help="records before the header to leave out; blank lines do not count",
    )
    group.add_argument(
        "--trailer-records",
        type=whole_number,
        metavar="N",
        help="records at the end to leave out",
    )
    group.add_argument(
        "--trailer-pattern",
        metavar="REGEX",
        help="leave out the first record that has this (RE2), and all after it",
    )
    group.add_argument(
        "--comment",
        metavar="MARK",
        help="lines that begin with this, such as #, are no records",
    )
    group.add_argument(
        "--lenient",
        metavar="pad,cut",
        help="fill records that have too few cells with empty ones (pad), drop the surplus cells "
        "of those that have too many (cut), or both; how many there were is said in the end",
    )
    group.add_argument(
        "--sheet",
        metavar="NAME|N",
        help="the sheet of a workbook, by its name or its number from 1 (default: the only one "
        "that has data)",
    )


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the source that were given."""
    return {name: options[name] for name in OPTIONS if options[name] is not None}


def check_streams(files: Sequence[str], layout: str | None) -> None:
    """Raise ``ConfigurationError`` if the shell redirects output to a file that is read."""
    with suppress(SourceError):  # reading reports it
        output_files.check_streams("the source", *expand(list(files)))
    if layout is not None:
        output_files.check_streams("the layout", layout)


def as_source(files: Sequence[str]) -> Any:
    """Return the files as ``load`` takes them."""
    return files[0] if len(files) == 1 else list(files)


def whole_number(text: str) -> int:
    """Parse a non-negative number."""
    try:
        number = int(text.replace("_", "").replace(",", ""))
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return number


def _mark(text: str) -> str:
    return {"\\t": "\t", "tab": "\t"}.get(text, text)
