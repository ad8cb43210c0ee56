"""``manage.py bulk_load``: load a file into a model, or measure the cost of each way to load."""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections, router

from ingest.exceptions import ConfigurationError, IngestError
from ingest.layout import find_model
from ingest.ledger.models import Load
from ingest.loading.api import load
from ingest.loading.own_process import prepare_arrow
from ingest.management import (
    chunk_options,
    conflict_options,
    detecting,
    forgetting,
    layout_options,
    listing,
    modes,
    parsers,
    previews,
    reject_options,
    source_options,
    summary,
    undoing,
    write_options,
)
from ingest.management.access import check_ledger
from ingest.management.display import ProgressDisplay
from ingest.management.modes import Mode
from ingest.management.safe_output import SafeOutput
from ingest.sources.several import SeveralSource

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from django.core.management.base import CommandParser
    from django.db.models import Model

    from ingest.results import LoadResult
    from ingest.results.findings import Audit

LOAD_OPTIONS = (
    *write_options.OPTIONS,
    *conflict_options.OPTIONS,
    *reject_options.OPTIONS,
    *chunk_options.OPTIONS,
)
"""Options of the command that ``load`` takes by the same name."""
FAILED, WRONG_USAGE, SOME_REJECTED, INTERRUPTED = 1, parsers.WRONG_USAGE, 3, 130
"""Exit codes; 0 means that every record was loaded."""


class Command(BaseCommand):
    """Loads files, or measures ways to load."""

    help = (
        "Load files (delimited text, JSON, Parquet, workbooks) into a model's table by COPY.\n"
        "Unless an option says otherwise, either all rows are loaded, or none."
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._make_output_safe()

    def _make_output_safe(self) -> None:
        self.stdout, self.stderr = SafeOutput.of(self.stdout), SafeOutput.of(self.stderr)

    def run_from_argv(self, argv: list[str]) -> None:
        prepare_arrow()  # the process only loads
        _treat_sigterm_as_ctrl_c()
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:  # before handle(): while options or settings are checked
            self.stderr.write("Interrupted: nothing was changed.")
            sys.exit(INTERRUPTED)
        finally:
            if lost := cast("SafeOutput", self.stdout).pop_error():
                self.stderr.write(lost)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for loading; modes.USED_IN has a line for each of them."""
        parser.add_argument("model", nargs="?", metavar="app.Model", help="Model to load into.")
        parser.add_argument(
            "files",
            nargs="*",
            metavar="FILE",
            help="Files to load; several are one load, and - is standard input. Columns feed the "
            "fields that they name, unless a layout or --map says otherwise.",
        )
        parsers.add_shared(parser)
        before = parser.add_argument_group("before you load")
        instead = before.add_mutually_exclusive_group()
        previews.add_arguments(instead)
        detecting.add_arguments(instead)
        before.add_argument(
            "--dry-run",
            action="store_true",
            help="Do everything except commit, and report what the load would do.",
        )
        source_options.add_arguments(parser)
        layout_options.add_arguments(parser)
        write_options.add_arguments(parser)
        conflict_options.add_arguments(parser)
        reject_options.add_arguments(parser)
        chunk_options.add_arguments(parser)
        earlier = parser.add_argument_group("earlier loads")
        listing.add_arguments(earlier)
        earlier.add_argument(
            "--resume",
            type=int,
            metavar="LOAD",
            help="Resume this load after its last committed chunk. Name a FILE only if it was "
            "moved or renamed.",
        )
        undoing.add_arguments(earlier)
        forgetting.add_arguments(earlier)
        measuring = parser.add_argument_group("benchmark")
        measuring.add_argument(
            parsers.BENCHMARK,
            action="store_true",
            help="Load nothing, and measure each way to load on a temporary copy of a model's "
            "table. Its options: bulk_load --benchmark --help.",
        )
        parsers.refuse_measuring(parser)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser for loads, which delegates to the one for benchmarks."""
        parser = super().create_parser(
            prog_name,
            subcommand,
            usage=parsers.LOAD_USAGE,
            epilog=parsers.EXAMPLES,
            formatter_class=parsers.HelpFormatter,
            **kwargs,
        )
        parsers.prepare(parser)
        self._loads = parser
        parse_load = parser.parse_args

        def parse_args(
            args: Sequence[str] | None = None, namespace: Namespace | None = None
        ) -> Namespace:
            given = sys.argv[1:] if args is None else args
            if parsers.is_benchmark(given):
                from ingest.management import measuring

                measures = measuring.create_parser(prog_name, subcommand, parser)
                return measures.parse_args(given, namespace)
            return parse_load(given, namespace)

        parser.parse_args = parse_args  # type: ignore[method-assign,assignment]
        return parser

    def handle(
        self, *_args: Any, model: str | None, files: Sequence[str] = (), **options: Any
    ) -> None:
        self._make_output_safe()  # call_command may have replaced the streams
        for stream in (self.stdout, self.stderr):
            cast("SafeOutput", stream).make_plain(is_plain=options.get("no_color", False))
        _commit_by_itself(options["database"] or DEFAULT_DB_ALIAS)
        try:
            if options["benchmark"]:
                from ingest.management import measuring

                measuring.handle(self, model, files, options, self._loads)
            else:
                self._dispatch(model, files, options)
            self._check_output(model, files, options)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from error
        except IngestError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except KeyboardInterrupt as interruption:
            said = f"Interrupted: {interruption}" if interruption.args else "Interrupted."
            raise CommandError(said, returncode=INTERRUPTED) from None

    def _check_output(
        self, model: str | None, files: Sequence[str], options: dict[str, Any]
    ) -> None:
        """Fail if text was lost that was all that the command had to do.

        After a load, the exit code tells how the load ended.
        """
        if not options["benchmark"] and modes.mode_of(options, model, files) in modes.WRITING:
            return
        if lost := cast("SafeOutput", self.stdout).pop_error():
            raise CommandError(lost, returncode=FAILED)

    def _dispatch(self, model: str | None, files: Sequence[str], options: dict[str, Any]) -> None:
        parsers.check_load(options)
        mode = modes.mode_of(options, model, files)
        modes.check(mode, self._loads._actions, options)
        if mode in {Mode.UNDO, Mode.LIST, Mode.FORGET} and model is not None:
            raise ConfigurationError(f"{mode.value}: leave out {' '.join([model, *files])}.")
        if mode is Mode.RESUME:
            self._resume([model, *files] if model is not None else [], options)
        elif mode is Mode.UNDO:
            undoing.handle(self, options)
        elif mode is Mode.FORGET:
            forgetting.handle(self, options)
        elif mode is Mode.LIST:
            listing.handle(self, options)
        elif mode is Mode.VERIFY and model is not None:
            from ingest.loading.verify import verify  # a load does not need it

            self._report_audit(verify(find_model(model), using=options["database"]))
        elif model is None:
            raise ConfigurationError(
                "Give a model and a file: bulk_load app.Model FILE, or bulk_load --benchmark."
            )
        elif not files:
            raise ConfigurationError(
                f"Give a file: bulk_load {find_model(model)._meta.label} FILE. Standard input is -."
            )
        else:
            self._read(find_model(model), files, options)

    def _resume(self, files: Sequence[str], options: dict[str, Any]) -> None:
        source = source_options.as_source(files) if files else None
        if files and not (Path(files[0]).exists() or SeveralSource.accepts(files[0])):
            raise CommandError(
                "A resume takes the model, the file and all options from the ledger: leave them "
                "out. Only a file that was moved or renamed is named: --resume LOAD FILE.",
                returncode=WRONG_USAGE,
            )
        alias = options["database"] or router.db_for_write(Load)
        check_ledger(alias)
        from ingest.uploads.running import resume_load  # other loads do not need it

        number = options["resume"]
        work = partial(
            resume_load,
            number,
            source,
            using=alias,
            workers=options["workers"],
            scheduler=options["scheduler"],
        )
        self._perform(f"Resuming load {number}", work, options)

    def _read(self, model: type[Model], files: Sequence[str], options: dict[str, Any]) -> None:
        source_options.check_streams(files, options["layout"])
        if options["detect"]:
            detecting.handle(self, model, files, options)
        elif options["preview"] is not None:
            previews.handle(self, model, files, options)
        else:
            self._load(model, files, **options)

    def _load(self, model: type[Model], files: Sequence[str], **options: Any) -> None:
        how = {name: options[name] for name in LOAD_OPTIONS if options[name] is not None}
        how |= source_options.chosen(options) | {"layout": layout_options.chosen(options, model)}
        how |= layout_options.for_load(options)
        source = source_options.as_source(files)
        self._perform(
            f"Loading {model._meta.label}",
            partial(load, model, source, using=options["database"], who=_user(), **how),
            options,
        )

    def _perform(
        self, title: str, work: Callable[..., LoadResult], options: dict[str, Any]
    ) -> None:
        """Run the load with a progress display, and report its result."""
        more = "more " if options["resume"] is not None else ""
        with ProgressDisplay(options["progress"] or "auto", self.stderr, title) as display:
            try:
                result = work(progress=display)
            except KeyboardInterrupt as interruption:
                # Its text says what was loaded by a load in chunks.
                said = str(interruption) or f"nothing {more}was loaded."
                raise CommandError(f"Interrupted: {said}", returncode=INTERRUPTED) from None
        summary.report(self, result, verbosity=options["verbosity"])
        if result.audit is not None:
            self._report_audit(result.audit)
        if result.rejected:
            sys.exit(SOME_REJECTED)

    def _report_audit(self, audit: Audit) -> None:
        self.stdout.write(str(audit))
        if audit.problems:
            sys.exit(FAILED)


def _treat_sigterm_as_ctrl_c() -> None:
    """Let SIGTERM end the process in order, unless the process has its own way to handle it.

    Its default action would leave a scratch schema, temporary files and a running load behind.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container may have no user names
        return ""


def _commit_by_itself(alias: str) -> None:
    """Turn autocommit on in the command's own process, where nothing else would commit."""
    if alias in connections:
        own = connections[alias]
        if own.connection is None and not own.settings_dict["AUTOCOMMIT"]:
            own.set_autocommit(True)
