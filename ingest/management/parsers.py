"""The two parsers of the command: one for loads, and one for benchmarks.

``--benchmark`` among the arguments decides which parser is used. Each parser knows the names of the
other's options, to explain where they belong. A load imports nothing of ``ingest.benchmark``.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import CommandError, DjangoHelpFormatter

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.management.display import KINDS
from ingest.management.modes import USED_IN
from ingest.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.core.management.base import CommandParser

WRONG_USAGE = 2
BENCHMARK = "--benchmark"
MEASURING = {
    "--model": "benchmark_model",
    "--rows": "rows",
    "--methods": "methods",
    "--repeat": "repeat",
    "--seed": "seed",
    "--source": "source",
    "--from-file": "from_file",
    "--baseline": "baselines",
    "--psql": "psql",
    "--existing": "existing",
    "--overlap": "overlap",
    "--role": "role",
    "--explain": "explain",
    "--json": "json",
    "--plot": "plot",
}
"""The options of the benchmark only, with the names of their values."""
SHARED = {"--database", "--progress", "--overwrite", BENCHMARK}
"""The options of both parsers."""
LOAD_USAGE = (
    "%(prog)s app.Model FILE [FILE ...] [options]\n"
    "       %(prog)s app.Model FILE [FILE ...] (--preview [N] | --detect) [options]\n"
    "       %(prog)s app.Model --verify\n       %(prog)s --list [N]\n"
    "       %(prog)s --resume LOAD [FILE ...] [--workers N | --scheduler ADDRESS]\n"
    "       %(prog)s --undo LOAD [--keep-changed] [--no-input]\n"
    "       %(prog)s --forget-loads --older-than AGE [--dry-run]\n"
    "       %(prog)s --benchmark [app.Model] [options]   (see %(prog)s --benchmark --help)"
)
EXAMPLES = """\
examples, with the tables and files of the example app:
  manage.py migrate
  manage.py finance_demo
  manage.py bulk_load finance.Transaction finance/samples/statement.csv --preview
  manage.py bulk_load finance.Transaction finance/samples/statement.csv
  manage.py bulk_load finance.Transaction finance/samples/statement_with_errors.csv
      --on-error reject --reject-file rejects.csv
  manage.py bulk_load finance.Transaction finance/samples/statement_updated.csv
      --on-conflict upsert --key account reference
  manage.py bulk_load --list
  manage.py bulk_load --undo 2

exit codes:
  0 everything was loaded, 1 failed, 2 wrong usage, 3 some records were rejected
  (or would be: --dry-run), 130 interrupted
"""
"""Shown at the end of ``--help``; a test runs the commands."""
BENCHMARK_USAGE = "%(prog)s --benchmark [app.Model] [options]"
_OF_BENCHMARK = (
    "{option} belongs to the benchmark, which loads nothing (bulk_load --benchmark): leave it out "
    "of a load."
)
_OF_LOADS = "{option} belongs to a load (bulk_load app.Model FILE): leave it out of a benchmark."


class HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the examples as they are."""


def is_benchmark(arguments: Iterable[str]) -> bool:
    """Return whether the command's arguments start the benchmark."""
    for argument in arguments:
        if argument == "--":
            return False
        # argparse accepts a prefix of an option's name.
        if len(argument) >= len("--be") and BENCHMARK.startswith(argument):
            return True
    return False


class _Elsewhere(argparse.Action):
    """An option of the other parser."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002
        values: str | Sequence[Any] | None,  # noqa: ARG002
        option_string: str | None = None,
    ) -> NoReturn:
        message = _OF_BENCHMARK if self.option_strings[0] in MEASURING else _OF_LOADS
        parser.error(message.format(option=option_string))


def refuse_measuring(parser: CommandParser) -> None:
    """Make the parser for loads recognize the benchmark's options, and refuse them."""
    for name, dest in MEASURING.items():
        _refuse(parser, [name], dest)


def refuse_loading(parser: CommandParser, loads: CommandParser) -> None:
    """Make the parser for benchmarks recognize the options of loads, and refuse them."""
    known = parser._option_string_actions
    for action in loads._actions:
        names = [name for name in action.option_strings if name not in known]
        if names:
            _refuse(parser, names, action.dest)


def _refuse(parser: CommandParser, names: Sequence[str], dest: str) -> None:
    parser.add_argument(
        *names,
        dest=dest,
        nargs="*",
        action=_Elsewhere,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )


def check_load(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigurationError`` if ``call_command`` passes the benchmark's options to a load."""
    for name, dest in MEASURING.items():
        if dest in options:
            raise ConfigurationError(_OF_BENCHMARK.format(option=name))


def check_benchmark(options: Mapping[str, Any], loads: CommandParser) -> None:
    """Raise ``ConfigurationError`` if ``call_command`` passes a load's options to a benchmark."""
    for action in loads._actions:
        name = next((each for each in action.option_strings if each in USED_IN), None)
        if name is None or name in SHARED:
            continue
        if options.get(action.dest, action.default) != action.default:
            raise ConfigurationError(_OF_LOADS.format(option=name))


def add_shared(parser: CommandParser) -> None:
    """Add the options that loads and benchmarks share."""
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="Alias of the database in DATABASES (default: the one that the routers choose for "
        "the model).",
    )
    parser.add_argument("--progress", choices=KINDS, help="How to show progress (default: auto).")


def prepare(parser: CommandParser) -> None:
    """Allow options at any position, make messages safe for a terminal, and order the help."""
    general = parser._optionals
    general.title = "general options"
    parser._action_groups.remove(general)  # shown last: most of them are Django's own
    parser._action_groups.append(general)
    parse, error = parser.parse_intermixed_args, parser.error
    given: list[str] = []

    def parse_args(arguments: Sequence[str] | None = None, namespace: Any = None) -> Any:
        given[:] = sys.argv[1:] if arguments is None else map(str, arguments)
        return parse(arguments, namespace)

    def say_safely(message: str) -> NoReturn:
        message = _suggest_option(parser, _name_hyphen(parser, message, given))
        if not parser.called_from_command_line:
            raise CommandError(safe_text(f"Error: {message}"), returncode=WRONG_USAGE)
        raise error(safe_text(message))  # does not return

    parser.parse_args = parse_args  # type: ignore[method-assign,assignment]
    parser.error = say_safely  # type: ignore[method-assign]


def _name_hyphen(parser: CommandParser, message: str, given: Sequence[str]) -> str:
    """Return the message with its cure, if a value was mistaken for an option."""
    found = _EXPECTED.match(message)
    if found is None:
        return message
    options = parser._option_string_actions
    for name, value in itertools.pairwise(given):
        if name not in found[1].split("/") or not value.startswith("-"):
            continue
        if any(option.startswith(value.partition("=")[0]) for option in options):
            continue
        try:
            parser._get_value(options[name], value)
        except argparse.ArgumentError as error:  # the value is invalid anyway
            return str(error)
        return f"argument {name}: {value!r} begins like an option: write {name}={value}"
    return message


def _suggest_option(parser: CommandParser, message: str) -> str:
    """Return the message with the option that was meant, if one is misspelt."""
    found = _UNKNOWN.match(message)
    if found is None:
        return message
    known = [
        name
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        for name in action.option_strings
    ]
    return f"there is no option {found[1]}.{did_you_mean(found[1], known)}"


_UNKNOWN = re.compile(r"unrecognized arguments: (--[^\s=]+)")
_EXPECTED = re.compile(r"argument ([^ :]+): expected (one|at least one) argument")
