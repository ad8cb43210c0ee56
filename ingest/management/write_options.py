"""The command's options for how rows are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = (
    *("method", "references", "indexes", "analyze"),
    *("dry_run", "on_repeat", "clean", "verify"),
)
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("writing")
    group.add_argument(
        "--method",
        choices=("direct", "copy"),
        help="direct takes the fastest path that is proved safe (default); copy is plain COPY",
    )
    group.add_argument(
        "--references",
        choices=("auto", "set", "trigger"),
        help="check foreign keys as a set, or row by row by PostgreSQL's triggers",
    )
    group.add_argument(
        "--indexes",
        choices=("auto", "rebuild", "keep"),
        help="build plain indexes after the rows, or keep them up row by row",
    )
    group.add_argument(
        "--no-analyze",
        dest="analyze",
        action="store_false",
        help="do not ANALYZE the table after the load",
    )
    group.add_argument("--dry-run", action="store_true", help="do everything but commit")
    group.add_argument(
        "--on-repeat",
        choices=("warn", "refuse"),
        help="say that the same file was loaded into this table before (default), or load "
        "nothing then",
    )
    group.add_argument(
        "--clean",
        action="store_true",
        help="make an instance of each record and run Model.clean(); as slow as full_clean()",
    )
    group.add_argument(
        "--verify",
        action="store_true",
        help="ask every constraint and index of the table again, after the load or, without "
        "a FILE, alone; the exit code is 1 if one does not hold",
    )
