"""The command's options for refused records."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = ("on_error", "reject_limit", "reject_file", "reject_log", "overwrite")
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("records that are refused")
    group.add_argument(
        "--on-error",
        choices=("abort", "reject"),
        help="load nothing if a record is refused (default), or load all the others; "
        "the exit code is then 3",
    )
    group.add_argument(
        "--reject-limit", metavar="N|N%", help="load nothing if more records are refused"
    )
    group.add_argument(
        "--reject-file",
        metavar="FILE",
        help="write the refused records as the source has them, with their reasons: fix them, "
        "and load the file with the same options",
    )
    group.add_argument(
        "--reject-log", metavar="FILE", help="write the reasons down as JSON Lines, for programs"
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a file of --reject-file or --reject-log that is there already and is not "
        "empty",
    )
