"""The command's option to delete old loads from the ledger."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import router

from ingest.exceptions import ConfigurationError, LedgerError
from ingest.ledger.models import Load
from ingest.management.access import check_ledger

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([1-9][0-9]{0,5})([hdw])")


def add_arguments(group: argparse._ActionsContainer) -> None:
    """Add the options to the command's parser."""
    group.add_argument(
        "--forget-loads",
        action="store_true",
        help="Delete old loads from the ledger. Their rows stay, but can no longer be undone. "
        "Unfinished loads are kept.",
    )
    group.add_argument(
        "--older-than",
        type=_age,
        metavar="AGE",
        help="With --forget-loads: loads that ended at least this long ago, such as 90d, 12w "
        "or 36h.",
    )


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an age: write a whole number with d, w or h, such as 90d"
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Forget old loads, or report which would be forgotten."""
    if options["older_than"] is None:
        raise ConfigurationError(
            "--forget-loads needs an age: add --older-than, such as --older-than 90d."
        )
    from ingest.ledger.retention import forget_loads  # a load does not need it

    alias = options["database"] or router.db_for_write(Load)
    try:
        done = forget_loads(options["older_than"], using=alias, dry_run=options["dry_run"])
    except LedgerError:
        check_ledger(alias)  # which says more
        raise
    command.stdout.write(str(done))
