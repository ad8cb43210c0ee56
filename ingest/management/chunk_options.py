"""The command's options for resumable loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = ("chunk_rows", "resumable", "workers", "scheduler", "order", "retries")
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("committing in chunks")
    group.add_argument(
        "--chunk-rows",
        type=int,
        metavar="N",
        help="Commit after every N records (default: all records in one transaction).",
    )
    group.add_argument(
        "--resumable",
        action="store_true",
        help="Commit in chunks. If a load of the same file is unfinished, continue it.",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="Load chunks in N processes; implies --resumable (default: 1).",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler whose workers load the chunks, such as tcp://host:8786; implies "
        "--resumable.",
    )
    group.add_argument(
        "--order",
        choices=("source", "any"),
        help="Commit chunks in the order of the source, or each as soon as it is done (default: "
        "source with --workers, any with --scheduler).",
    )
    group.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="How often to retry after a lost connection or a deadlock (default: 5).",
    )
