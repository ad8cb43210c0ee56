"""The modes of the command, and the options that have an effect in each.

Every option of the command has a line in ``USED_IN``; in all other modes it is an error. The
default of an option must be a value that nobody can give on the command line, such as None.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence


class Mode(enum.Enum):
    """What the command does. The value begins the message about an option without effect."""

    LOAD = "A load"
    RESUME = "--resume takes the model, the file and all options from the ledger"
    UNDO = "--undo takes the model and the rows from the ledger"
    FORGET = "--forget-loads takes the loads from the ledger"
    LIST = "--list shows the loads of all models"
    DETECT = "--detect loads nothing"
    PREVIEW = "--preview loads nothing"
    VERIFY = "--verify without a FILE loads nothing"


LOAD = frozenset({Mode.LOAD})
READ = frozenset({Mode.LOAD, Mode.PREVIEW})
DETECT = frozenset({Mode.DETECT})
EVERYWHERE = frozenset(Mode)
WRITING = frozenset({Mode.LOAD, Mode.RESUME, Mode.UNDO, Mode.FORGET})
"""The modes that change the database; the others only print."""

USED_IN: dict[str, frozenset[Mode]] = {
    "--database": EVERYWHERE - DETECT,
    "--progress": frozenset({Mode.LOAD, Mode.RESUME}),
    # what to do instead of a load
    "--detect": DETECT,
    "--preview": frozenset({Mode.PREVIEW}),
    "--resume": frozenset({Mode.RESUME}),
    "--undo": frozenset({Mode.UNDO}),
    "--keep-changed": frozenset({Mode.UNDO}),
    "--no-input": frozenset({Mode.UNDO}),
    "--forget-loads": frozenset({Mode.FORGET}),
    "--older-than": frozenset({Mode.FORGET}),
    "--list": frozenset({Mode.LIST}),
    # reading a file
    "--format": READ,
    "--encoding": READ | DETECT,
    "--delimiter": READ | DETECT,
    "--quote": READ,
    "--no-doubled-quotes": READ,
    "--escape": READ,
    "--header": READ,
    "--columns": READ,
    "--skip-records": READ,
    "--trailer-records": READ,
    "--trailer-pattern": READ,
    "--comment": READ,
    "--lenient": READ,
    "--sheet": READ | DETECT,
    # layouts
    "--layout": READ,
    "--map": READ,
    "--set": READ,
    "--decimal": READ,
    "--thousands": READ,
    "--date-format": READ,
    "--null": READ,
    "--true": READ,
    "--false": READ,
    "--match": READ,
    "--ignore-columns": READ,
    # writing
    "--method": LOAD,
    "--references": LOAD,
    "--indexes": LOAD,
    "--no-analyze": LOAD,
    "--dry-run": LOAD | {Mode.FORGET},
    "--clean": READ,
    "--verify": frozenset({Mode.LOAD, Mode.VERIFY}),
    "--on-repeat": LOAD,
    # records whose row the table has
    "--on-conflict": READ,
    "--key": READ,
    "--update-fields": READ,
    "--keep-if-null": READ,
    "--newest": READ,
    "--duplicates": READ,
    "--scope": READ,
    "--max-deletes": LOAD,
    "--keep-old": LOAD,
    # refused records
    "--on-error": LOAD,
    "--reject-limit": LOAD,
    "--reject-file": LOAD,
    "--reject-log": LOAD,
    "--overwrite": LOAD,
    # resumable loads
    "--chunk-rows": LOAD,
    "--resumable": LOAD,
    "--workers": LOAD | {Mode.RESUME},
    "--scheduler": LOAD | {Mode.RESUME},
    "--order": LOAD,
    "--retries": LOAD,
}
"""The modes in which an option has an effect. ``--benchmark`` has its own parser."""

_FINDS_OUT = (
    "--detect finds out by itself how the file is read: leave out {option}. "
    "It accepts only what you know already: --encoding, --delimiter and --sheet."
)
_BELONGS = {
    "--keep-changed": "--keep-changed belongs to --undo LOAD: leave it out.",
    "--older-than": "--older-than belongs to --forget-loads: leave it out.",
    "--no-input": "--no-input belongs to --undo LOAD: nothing else asks a question. Leave it out.",
}


def mode_of(options: dict[str, Any], model: str | None, files: Sequence[str]) -> Mode:
    """Return the mode that the options select."""
    if options["resume"] is not None:
        return Mode.RESUME
    if options["undo"] is not None:
        return Mode.UNDO
    if options["forget_loads"]:
        return Mode.FORGET
    if options["list"] is not None:
        return Mode.LIST
    if options["detect"]:
        return Mode.DETECT
    if options["preview"] is not None:
        return Mode.PREVIEW
    if options["verify"] and model is not None and not files:
        return Mode.VERIFY
    return Mode.LOAD


def check(mode: Mode, actions: Iterable[argparse.Action], options: dict[str, Any]) -> None:
    """Raise ``ConfigurationError`` for a given option that has no effect in this mode."""
    for action in actions:
        name = next((each for each in action.option_strings if each in USED_IN), None)
        if name is None or mode in USED_IN[name]:
            continue
        value = options.get(action.dest, action.default)
        if value != action.default:
            raise ConfigurationError(_refusal(mode, name, _as_given(action, value)))


def _as_given(action: argparse.Action, value: Any) -> str:
    """Return the option as the user wrote it: ``--header`` and ``--no-header`` are one action."""
    if value is False:
        return next(
            (name for name in action.option_strings if name.startswith("--no-")),
            action.option_strings[0],
        )
    return action.option_strings[0]


def _refusal(mode: Mode, name: str, given: str) -> str:
    if name in _BELONGS:
        return _BELONGS[name]
    if mode is Mode.DETECT and Mode.PREVIEW in USED_IN[name] - LOAD and name != "--preview":
        return _FINDS_OUT.format(option=given)
    return f"{mode.value}: leave out {given}, which would have no effect."
