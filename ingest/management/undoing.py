"""The command's option to undo a load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections, router

from ingest.exceptions import ConfigurationError
from ingest.ledger.models import Load
from ingest.management.access import check_ledger
from ingest.plurals import counted

if TYPE_CHECKING:
    from argparse import _ActionsContainer

    from django.core.management.base import BaseCommand


def add_arguments(group: _ActionsContainer) -> None:
    """Add the options to the command's parser."""
    group.add_argument(
        "--undo",
        type=int,
        metavar="LOAD",
        help="Delete exactly the rows that this load inserted, and restore those that it changed "
        "with --keep-old; or report why this is not possible, and change nothing.",
    )
    group.add_argument(
        "--keep-changed",
        action="store_true",
        help="With --undo: keep rows that were changed since, and undo the others.",
    )
    group.add_argument(
        "--no-input",
        dest="interactive",
        action="store_false",
        help="With --undo: do not ask for confirmation.",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Undo the load, after showing the plan and asking for confirmation."""
    alias = options["database"] or router.db_for_write(Load)
    check_ledger(alias)
    try:
        _undo(command, alias, options)
    except KeyboardInterrupt as interruption:
        connections[alias].close()  # Ctrl-C may have come while it was used
        done = Load.objects.using(alias).filter(pk=options["undo"], status=Load.Status.UNDONE)
        said = f"load {options['undo']} is undone." if done.exists() else "nothing was undone."
        raise KeyboardInterrupt(said) from interruption


def _undo(command: BaseCommand, alias: str, options: dict[str, Any]) -> None:
    load_id, keep_changed = options["undo"], options["keep_changed"]
    from ingest.ledger.undo import plan_undo, undo  # a load does not need it

    plan = plan_undo(load_id, using=alias)
    command.stdout.write(str(plan))
    plan.check(keep_changed=keep_changed)
    if options["interactive"]:
        kept = ""
        if plan.changed:
            kept = f" and keep the {counted(plan.changed, 'that was', 'that were')} changed since"
        try:
            answer = input(f"{plan.question}{kept}? [y/N] ")
        except (EOFError, RuntimeError):  # the latter without a standard input
            raise ConfigurationError(
                "There is no terminal to ask for confirmation: to undo the load without it, give "
                "--no-input."
            ) from None
        if answer.strip().lower() not in {"y", "yes"}:
            command.stdout.write("Nothing was deleted.")
            return
    command.stdout.write(str(undo(load_id, using=alias, keep_changed=keep_changed)))
