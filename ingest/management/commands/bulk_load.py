"""``manage.py bulk_load``: load a file into a model, or measure what each way of loading costs."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ingest import benchmark
from ingest.audit import verify
from ingest.exceptions import REJECTS_SHOWN, ConfigurationError, IngestError
from ingest.layout import find_model
from ingest.loading import load
from ingest.management import layouts
from ingest.management.display import KINDS, ProgressDisplay

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import Model

    from ingest.findings import Audit
    from ingest.results import LoadResult

LOAD_OPTIONS = (
    *("columns", "encoding", "delimiter"),
    *("method", "references", "indexes", "analyze"),
    *("on_error", "reject_limit", "reject_log", "dry_run", "verify"),
)
"""Those of the command's options that load() takes by the same name."""
FAILED, WRONG_USAGE, SOME_REJECTED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes; 0 is a load of every record."""


class Command(BaseCommand):
    """The door to ingest."""

    help = (
        "Load a delimited text file into a model's table by COPY, all or nothing: "
        "bulk_load finance.Transaction FILE.csv. "
        "Or measure what each way of loading costs on your own schema: bulk_load --benchmark."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", nargs="?", metavar="app.Model", help="the model to load into")
        parser.add_argument(
            "file",
            nargs="?",
            metavar="FILE",
            help="the file to load, whose first line names fields; - is standard input",
        )
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help="the database, by its name in DATABASES "
            "(default: the one that the routers name for the model)",
        )
        reading = parser.add_argument_group("reading a file")
        reading.add_argument("--encoding", help="any codec Python knows (default: utf-8)")
        reading.add_argument(
            "--delimiter",
            type=lambda text: text.replace("\\t", "\t"),
            help=r"what stands between the cells; \t is a tab (default: a comma)",
        )
        reading.add_argument(
            "--columns",
            nargs="+",
            metavar="FIELD",
            help="the fields the columns feed, for a file without a header",
        )
        layouts.add_arguments(parser)
        writing = parser.add_argument_group("writing")
        writing.add_argument(
            "--method",
            choices=("direct", "copy"),
            help="direct takes the fastest path that is proved safe (default); copy is plain COPY",
        )
        writing.add_argument(
            "--references",
            choices=("auto", "set", "trigger"),
            help="check foreign keys as a set, or row by row by PostgreSQL's triggers",
        )
        writing.add_argument(
            "--indexes",
            choices=("auto", "rebuild", "keep"),
            help="build plain indexes after the rows, or keep them up row by row",
        )
        writing.add_argument(
            "--no-analyze",
            dest="analyze",
            action="store_false",
            help="do not ANALYZE the table after the load",
        )
        writing.add_argument("--dry-run", action="store_true", help="do everything but commit")
        writing.add_argument(
            "--verify",
            action="store_true",
            help="ask every constraint and index of the table again, after the load or, without "
            "a FILE, alone; the exit code is 1 if one does not hold",
        )
        refusing = parser.add_argument_group("records that are refused")
        refusing.add_argument(
            "--on-error",
            choices=("abort", "reject"),
            help="load nothing if a record is refused (default), or load all the others; "
            "the exit code is then 3",
        )
        refusing.add_argument(
            "--reject-limit", metavar="N|N%", help="load nothing if more records are refused"
        )
        refusing.add_argument(
            "--reject-log", metavar="FILE", help="write the reasons down as JSON Lines"
        )
        parser.add_argument(
            "--progress", choices=KINDS, default="auto", help="how to show progress"
        )
        benchmark.add_arguments(parser)

    def handle(self, *_args: Any, model: str | None, file: str | None, **options: Any) -> None:
        try:
            if options["benchmark"]:
                benchmark.handle(self, model=model, file=file, **options)
            elif model is not None and file is None and options["verify"]:
                self._tell(verify(find_model(model), using=options["database"]))
            elif model is None or file is None:
                raise CommandError(
                    "Say what to load: bulk_load app.Model FILE, or bulk_load --benchmark.",
                    returncode=WRONG_USAGE,
                )
            else:
                self._load(find_model(model), file, **options)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from error
        except IngestError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None

    def _load(self, model: type[Model], file: str, **options: Any) -> None:
        how = {name: options[name] for name in LOAD_OPTIONS if options[name] is not None}
        how["layout"] = layouts.chosen(options)
        title = f"Loading {model._meta.label}"
        with ProgressDisplay(options["progress"], self.stderr, title) as display:
            try:
                result = load(model, file, using=options["database"], progress=display, **how)
            except KeyboardInterrupt:
                raise CommandError(
                    "Interrupted: nothing was loaded.", returncode=INTERRUPTED
                ) from None
        self._report(result, verbosity=options["verbosity"])
        if result.audit is not None:
            self._tell(result.audit)
        if result.rejected and not result.is_dry_run:
            sys.exit(SOME_REJECTED)

    def _tell(self, audit: Audit) -> None:
        self.stdout.write(str(audit))
        if audit.problems:
            sys.exit(FAILED)

    def _report(self, result: LoadResult, *, verbosity: int) -> None:
        if verbosity > 1:
            for decision in result.decisions:
                self.stdout.write(decision)
        for reject in islice(result.rejects, REJECTS_SHOWN):
            self.stderr.write(str(reject))
        if result.rejected or result.skipped:
            skipped = f" + {result.skipped:,} skipped" if result.skipped else ""
            self.stdout.write(
                f"Read {result.read:,} records = {result.rows:,} loaded + "
                f"{result.rejected:,} rejected{skipped}."
            )
        verb = "Would have loaded" if result.is_dry_run else "Loaded"
        self.stdout.write(
            f"{verb} {result.rows:,} rows into {result.table} in {result.seconds:.2f} s "
            f"({result.rows_per_second:,.0f} rows/s)."
        )
