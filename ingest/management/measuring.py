"""The benchmark's part of the command. A load does not import this module."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, OperationalError

from ingest import benchmark
from ingest.management import parsers
from ingest.management.access import check_connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser


class Measuring(BaseCommand):
    """Provides the parser of ``bulk_load --benchmark``."""

    help = (
        "Measure what each way of loading costs, on a throw-away copy of a model's own table. "
        "No row of the table itself is touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "model", nargs="?", metavar="app.Model", help="Model whose table is measured."
        )
        parser.add_argument("files", nargs="*", help=SUPPRESS)  # to explain where a file belongs
        parsers.add_shared(parser)
        benchmark.add_arguments(parser)
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="Replace a file of --json or --plot that exists and is not empty.",
        )


def create_parser(prog_name: str, subcommand: str, loads: CommandParser) -> CommandParser:
    """Return the parser; ``loads`` is the parser for loads, whose options it refuses."""
    command = Measuring()
    command._called_from_command_line = loads.called_from_command_line  # type: ignore[attr-defined]
    parser = command.create_parser(prog_name, subcommand, usage=parsers.BENCHMARK_USAGE)
    parsers.prepare(parser)
    parsers.refuse_loading(parser, loads)
    return parser


def handle(
    command: BaseCommand,
    model: str | None,
    files: Sequence[str],
    options: dict[str, Any],
    loads: CommandParser,
) -> None:
    """Run the benchmark; ``call_command`` may pass only ``benchmark=True``."""
    parsers.check_benchmark(options, loads)
    usual = create_parser("", "bulk_load", loads).parse_args([parsers.BENCHMARK])
    said = {**vars(usual), **options, "model": model, "file": next(iter(files), None)}
    try:
        benchmark.handle(command, **said)
    except OperationalError:
        check_connection(options["database"] or DEFAULT_DB_ALIAS)
        raise
