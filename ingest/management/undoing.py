"""The command's option that takes a load's rows away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import router

from ingest.exceptions import ConfigurationError
from ingest.models import Load
from ingest.undoing import undo

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand, CommandParser


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("taking a load away")
    group.add_argument(
        "--undo",
        type=int,
        metavar="LOAD",
        help="delete exactly the rows that this load put in, or say what refers to them",
    )
    group.add_argument(
        "--no-input", dest="interactive", action="store_false", help="do not ask before it"
    )


def handle(command: BaseCommand, **options: Any) -> None:
    """Undo the load, after asking."""
    load_id = options["undo"]
    if options["interactive"]:
        try:
            answer = input(f"Delete the rows that load {load_id} put in? [y/N] ")
        except EOFError:
            raise ConfigurationError(
                "Nobody is there to be asked whether to delete the rows: say --no-input."
            ) from None
        if answer.strip().lower() not in {"y", "yes"}:
            command.stdout.write("Nothing was deleted.")
            return
    alias = options["database"] or router.db_for_write(Load)
    command.stdout.write(str(undo(load_id, using=alias)))
