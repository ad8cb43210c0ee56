"""The command's options for resumable loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = ("chunk_rows", "resumable", "workers", "scheduler", "order", "retries")
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("resumable loads")
    group.add_argument(
        "--chunk-rows",
        type=int,
        metavar="N",
        help="commit every N records, and not all of them at once",
    )
    group.add_argument(
        "--resumable",
        action="store_true",
        help="commit in chunks, and resume an unfinished load of the same file",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that load chunks side by side; implies --resumable (default: 1)",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask scheduler whose workers load the chunks, such as tcp://host:8786; implies "
        "--resumable",
    )
    group.add_argument(
        "--order",
        choices=("source", "any"),
        help="commit chunks in the order of the source, or each as soon as it is done (default: "
        "source with --workers, any with --scheduler)",
    )
    group.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="how often to try again after a lost connection or a deadlock (default: 5)",
    )
    group.add_argument(
        "--resume",
        type=int,
        metavar="LOAD",
        help="resume this load of the ledger after its last chunk; needs no model, and a FILE "
        "only where it was moved or renamed",
    )
