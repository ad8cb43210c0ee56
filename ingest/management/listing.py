"""``bulk_load --list``: shows the last loads of the ledger."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from django.db import router

from ingest.ledger.models import Load
from ingest.ledger.moments import local_time
from ingest.management.access import check_ledger
from ingest.management.grids import print_grid
from ingest.results import DETAILS, details_of

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.management.base import BaseCommand

_ALL = 2**31
"""More loads than a ledger has; PostgreSQL refuses a LIMIT beyond a bigint."""
LOADS_SHOWN = 20
"""How many loads are listed if no number is given: about one screen."""


def add_arguments(group: argparse._ActionsContainer) -> None:
    """Add the option to the command's parser."""
    group.add_argument(
        "--list",
        nargs="?",
        type=_loads,
        const=LOADS_SHOWN,
        metavar="N",
        help=f"Show the last N loads with their numbers, which --resume and --undo take (default: "
        f"{LOADS_SHOWN}).",
    )


def _loads(text: str) -> int:
    try:
        loads = int(text)
    except ValueError:
        loads = 0
    if loads < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of loads; --list takes no model and no file"
        )
    return loads


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print a line for each of the last loads, the newest first."""
    alias = options["database"] or router.db_for_read(Load)
    check_ledger(alias)
    loads = list(Load.objects.using(alias).order_by("-pk")[: min(options["list"], _ALL)])
    if not loads:
        command.stdout.write(f"The ledger of {alias!r} has no loads.")
        return
    told = [name for name in DETAILS if any(name in details_of(load) for load in loads)]
    rows = [
        (
            str(load.pk),
            load.model,
            load.source,
            _minute(load.started_at),
            load.status,
            f"{load.loaded:,}",
            *(f"{getattr(load, name):,}" for name in told),
            f"{load.rejected:,}",
        )
        for load in loads
    ]
    names = ("load", "model", "file", "started", "state", "rows", *told, "rejects")
    right = {"load", "rows", *told, "rejects"}
    print_grid(command.stdout, names, rows, right=right, folded={"model", "file"})


def _minute(moment: datetime) -> str:
    return f"{local_time(moment):%Y-%m-%d %H:%M}"
