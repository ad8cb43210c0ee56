"""``bulk_load app.Model FILE --detect``: prints a first layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.management import source_options

if TYPE_CHECKING:
    from argparse import _ActionsContainer
    from collections.abc import Sequence

    from django.core.management.base import BaseCommand
    from django.db.models import Model

_KNOWN = ("encoding", "delimiter", "sheet")
"""Options that need not be detected if they are given."""


def add_arguments(parser: _ActionsContainer) -> None:
    """Add the option to the command's parser."""
    parser.add_argument(
        "--detect",
        action="store_true",
        help="Load nothing, and print a first layout for the file and the model: save it with "
        "> my.toml, and load with --layout my.toml.",
    )


def handle(
    command: BaseCommand, model: type[Model], files: Sequence[str], options: dict[str, Any]
) -> None:
    """Print the layout, with comments about what was detected."""
    from ingest.layout.drafting import draft  # a load detects nothing
    from ingest.sources.detection import detect

    known = {name: options[name] for name in _KNOWN}
    found = detect(source_options.as_source(files), **known)
    command.stdout.write(draft(found, model).to_toml(), ending="")
