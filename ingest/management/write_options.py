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
    group = parser.add_argument_group("how the rows are written")
    group.add_argument(
        "--method",
        choices=("direct", "copy"),
        help="direct: the fastest way that is proved safe (default). copy: plain COPY.",
    )
    group.add_argument(
        "--references",
        choices=("auto", "set", "trigger"),
        help="How direct checks foreign keys. set: once for all keys of a batch. trigger: row by "
        "row, by PostgreSQL's triggers (default: auto).",
    )
    group.add_argument(
        "--indexes",
        choices=("auto", "rebuild", "keep"),
        help="What direct does with the indexes of an empty table. rebuild: build them after the "
        "rows. keep: maintain them row by row (default: auto).",
    )
    group.add_argument(
        "--no-analyze",
        dest="analyze",
        action="store_false",
        help="Do not run ANALYZE on the table after the load.",
    )
    group.add_argument(
        "--on-repeat",
        choices=("warn", "refuse"),
        help="If the same file was loaded into this table before: warn (default), or load nothing.",
    )
    group.add_argument(
        "--clean",
        action="store_true",
        help="Also run Model.clean() on an instance of each record. This is as slow as "
        "full_clean().",
    )
    group.add_argument(
        "--verify",
        action="store_true",
        help="Check every constraint and index of the table again: after the load, or without a "
        "load if no FILE is given. The exit code is 1 if one does not hold.",
    )
