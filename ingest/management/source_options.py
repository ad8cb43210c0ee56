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
    group = parser.add_argument_group("how the file is read (takes precedence over the layout)")
    formats = sorted(kind.format for kind in Source.registry if kind.is_of_files)
    group.add_argument(
        "--format", choices=formats, help="Format of the file (default: by its name)."
    )
    group.add_argument(
        "--encoding", help="Encoding of the file: any of Python's codecs (default: utf-8)."
    )
    group.add_argument(
        "--delimiter",
        type=_mark,
        metavar="MARK",
        help=r"Character between the cells; \t is a tab (default: a comma).",
    )
    group.add_argument(
        "--quote",
        type=_mark,
        metavar="MARK",
        help="""Character around quoted cells (default: "); '' if nothing is quoted.""",
    )
    group.add_argument(
        "--no-doubled-quotes",
        dest="doubled_quotes",
        action="store_false",
        default=None,
        help="Inside a quoted cell, do not read a doubled quote as one quote.",
    )
    group.add_argument(
        "--escape",
        type=_mark,
        metavar="MARK",
        help="Escape character: the next character has no special meaning (default: none; often a "
        "backslash).",
    )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="Whether the first record has the names of the columns. Without it they are called 1, "
        "2 … (default: yes, unless --columns is given).",
    )
    group.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="Names of the columns of a file without a header; for JSON Lines and Parquet, the "
        "columns to read.",
    )
    group.add_argument(
        "--skip-records",
        type=whole_number,
        metavar="N",
        help="Skip N records before the header. Blank lines do not count.",
    )
    group.add_argument(
        "--trailer-records",
        type=whole_number,
        metavar="N",
        help="Skip N records at the end.",
    )
    group.add_argument(
        "--trailer-pattern",
        metavar="REGEX",
        help="Skip the first record that matches this regular expression (RE2), and all after it.",
    )
    group.add_argument(
        "--comment",
        metavar="MARK",
        help="Skip lines that begin with this text, such as #.",
    )
    group.add_argument(
        "--lenient",
        metavar="pad,cut",
        help="Add empty cells to records that have too few (pad), drop the last cells of records "
        "that have too many (cut), or both. The report counts these records.",
    )
    group.add_argument(
        "--sheet",
        metavar="NAME|N",
        help="Sheet of a workbook: its name, or its number from 1 (default: the only one with "
        "data).",
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
