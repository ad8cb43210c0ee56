"""The command's options for refused records."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = ("on_error", "reject_limit", "reject_file", "reject_log", "overwrite")
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("refused records")
    group.add_argument(
        "--on-error",
        choices=("abort", "reject"),
        help="abort: load nothing if a record is refused (default). reject: load all others; the "
        "exit code is then 3.",
    )
    group.add_argument(
        "--reject-limit", metavar="N|N%", help="Load nothing if more records than this are refused."
    )
    group.add_argument(
        "--reject-file",
        metavar="FILE",
        help="Write the refused records to this file, as they are in the source, with the reasons. "
        "Fix them there, and load this file with the same options.",
    )
    group.add_argument(
        "--reject-log", metavar="FILE", help="Write the reasons to this file, as JSON Lines."
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace a file of --reject-file or --reject-log that exists and is not empty.",
    )
