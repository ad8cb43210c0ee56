"""``manage.py bulk_load``: load a file into a model, or measure what each way of loading costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from ingest import benchmark
from ingest.exceptions import ConfigurationError, IngestError, did_you_mean
from ingest.loading import load
from ingest.management.display import KINDS, ProgressDisplay
from ingest.sources import SourceOptions

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import Model

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes; 0 is a load of every row."""


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
            default=DEFAULT_DB_ALIAS,
            metavar="ALIAS",
            help="the database, by its name in DATABASES (default: %(default)s)",
        )
        reading = parser.add_argument_group("reading a file")
        reading.add_argument("--encoding", default="utf-8", help="default: %(default)s")
        reading.add_argument("--delimiter", default=",", help="default: a comma")
        reading.add_argument(
            "--columns",
            nargs="+",
            metavar="FIELD",
            help="the fields the columns feed, for a file without a header",
        )
        parser.add_argument(
            "--progress", choices=KINDS, default="auto", help="how to show progress"
        )
        benchmark.add_arguments(parser)

    def handle(self, *_args: Any, model: str | None, file: str | None, **options: Any) -> None:
        try:
            if options["benchmark"]:
                benchmark.handle(self, model=model, file=file, **options)
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
        how = SourceOptions(
            columns=tuple(options["columns"]) if options["columns"] else None,
            encoding=options["encoding"],
            delimiter=options["delimiter"].replace("\\t", "\t"),
        )
        title = f"Loading {model._meta.label}"
        with ProgressDisplay(options["progress"], self.stderr, title) as display:
            try:
                result = load(model, file, using=options["database"], options=how, progress=display)
            except KeyboardInterrupt:
                raise CommandError(
                    "Interrupted: nothing was loaded.", returncode=INTERRUPTED
                ) from None
        self.stdout.write(
            f"Loaded {result.rows:,} rows into {result.table} in {result.seconds:.2f} s "
            f"({result.rows_per_second:,.0f} rows/s)."
        )


def find_model(label: str) -> type[Model]:
    """Find the installed model, or raise ``CommandError`` with the nearest names."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models()]
        raise CommandError(
            f"There is no model {label!r}.{did_you_mean(label, labels)} "
            "Say it as app.Model, and see that the app is in INSTALLED_APPS.",
            returncode=WRONG_USAGE,
        ) from None
