"""The options of a benchmark, in Python and on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections

from ingest.benchmark.methods import get_method, method_names
from ingest.conf import benchmark_model
from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.layout import find_model
from ingest.loading.output_files import OutputFile, OutputFiles, check_streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser
    from django.db.models import Model

DEFAULT_ROWS = (1_000, 10_000, 100_000)
DEFAULT_REPEAT = 3
DEFAULT_SEED = 1
BASELINES = ("psql", "floor")
OUTPUTS = ("json", "plot")
"""The options that name a file to write."""
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What to measure. Raises ``ConfigurationError`` for options that cannot work."""

    model: type[Model]
    """The model whose table is measured."""
    database: str = DEFAULT_DB_ALIAS
    """The alias in ``settings.DATABASES``."""
    rows: tuple[int, ...] = DEFAULT_ROWS
    """The numbers of rows to write."""
    methods: tuple[str, ...] = ()
    """The methods' names; empty for all."""
    repeat: int = DEFAULT_REPEAT
    """Samples kept for each method and number of rows."""
    seed: int = DEFAULT_SEED
    """The same seed makes the same rows."""
    source: str | None = None
    """A file of rows, instead of rows generated from the fields."""
    baselines: tuple[str, ...] = ()
    """Baselines to measure besides the methods: ``psql``, ``floor``."""
    psql: str | None = None
    """The program psql, if it is not the one that Django's backend names."""
    from_file: bool = False
    """Whether all start from a CSV file, not from rows in memory; ``psql`` implies it."""
    existing: int = 0
    """Rows that the table holds before each run."""
    overlap: float | None = None
    """The share of the rows, from 0 to 1, that have keys of rows in the table. If given, upserts
    are measured instead of the methods."""
    role: str | None = None
    """An existing role as which ``direct`` is measured again."""
    explain: bool = False
    """Whether to measure the cost of each part of the table, instead of the methods."""

    def __post_init__(self) -> None:
        if self.database not in connections:
            raise ConfigurationError(
                f"There is no database {self.database!r} in DATABASES."
                f"{did_you_mean(self.database, connections)}"
            )
        if not self.rows or min(self.rows) < 1:
            raise ConfigurationError("A benchmark writes at least one row: --rows 1 or more.")
        if self.repeat < 1:
            raise ConfigurationError("A benchmark keeps at least one sample: --repeat 1 or more.")
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            raise ConfigurationError(
                f"There is no baseline {unknown[0]!r}.{did_you_mean(unknown[0], BASELINES)} "
                f"The baselines are {', '.join(BASELINES)}."
            )
        if self.existing < 0:
            raise ConfigurationError("--existing is a number of rows: 0 or more.")
        self._check_combination()
        object.__setattr__(self, "from_file", self.from_file or "psql" in self.baselines)
        names = dict.fromkeys(self.methods or method_names())
        for name in names:
            get_method(name)
        ordered = tuple(name for name in method_names() if name in names)
        object.__setattr__(self, "methods", ordered)

    def _check_combination(self) -> None:
        if self.existing and self.explain:
            raise ConfigurationError("--explain begins with an empty table: leave out --existing.")
        if self.overlap is not None:
            self._check_overlap()
        if self.role is not None and self.explain:
            raise ConfigurationError("--role measures a method and --explain none: leave out one.")
        if self.psql is not None and "psql" not in self.baselines:
            raise ConfigurationError(
                "--psql names the program that --baseline psql runs: use --baseline psql, or leave "
                "it out."
            )
        if self.explain and (self.baselines or self.from_file or self.methods):
            raise ConfigurationError(
                "--explain measures the table's parts and not the methods: leave out --methods, "
                "--baseline and --from-file."
            )

    def _check_overlap(self) -> None:
        if not 0 <= (self.overlap or 0) <= 1:
            raise ConfigurationError("--overlap is a share of the rows, from 0% to 100%.")
        if not self.existing:
            raise ConfigurationError(
                "--overlap is the share of the rows whose keys the table holds already: give "
                "the number of its rows with --existing N."
            )
        if self.methods or self.role is not None or "floor" in self.baselines:
            raise ConfigurationError(
                "--overlap measures upserts and not the methods: leave out --methods, --role and "
                "--baseline floor."
            )


def add_arguments(parser: CommandParser) -> None:
    """Add ``--benchmark`` and its options.

    None means that an option was not given. ``ingest.management.parsers`` lists the same names.
    """
    group = parser.add_argument_group("what is measured")
    group.add_argument(
        "--benchmark",
        action="store_true",
        help="Measure the methods on a temporary copy of a model's table.",
    )
    group.add_argument(
        "--model",
        dest="benchmark_model",
        metavar="app.Model",
        help="Model whose table is measured (default: the first argument, or "
        'INGEST["BENCHMARK_MODEL"]).',
    )
    group.add_argument(
        "--rows",
        nargs="+",
        type=_number,
        metavar="N",
        help=f"Numbers of rows (default: {' '.join(map(str, DEFAULT_ROWS))}).",
    )
    group.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help=f"Methods to measure, out of {', '.join(method_names())} (default: all).",
    )
    group.add_argument(
        "--repeat",
        type=_number,
        metavar="N",
        help=f"Samples of each method and size, after a warm-up (default: {DEFAULT_REPEAT}).",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help=f"Seed of the generated rows (default: {DEFAULT_SEED}).",
    )
    group.add_argument(
        "--source",
        metavar="FILE",
        help="Measure with the rows of this file, not with generated ones.",
    )
    group.add_argument(
        "--from-file",
        action="store_true",
        help="Measure from a CSV file of the rows, not from rows in memory.",
    )
    group.add_argument(
        "--baseline",
        dest="baselines",
        nargs="+",
        metavar="NAME",
        help=r"Also measure, for comparison: psql (its \copy of the same file; implies "
        "--from-file), floor (the least work that PostgreSQL itself must do).",
    )
    group.add_argument(
        "--psql", metavar="PATH", help="The program psql (default: the one on PATH)."
    )
    group.add_argument(
        "--existing",
        type=_number,
        metavar="N",
        help="Rows in the table before each run (default: 0).",
    )
    group.add_argument(
        "--overlap",
        type=_share,
        metavar="SHARE",
        help="With --existing: measure upserts instead of the methods; this share of the rows, "
        "such as 50%%, has keys that are in the table.",
    )
    group.add_argument(
        "--role",
        metavar="ROLE",
        help="Measure direct a second time, as this role.",
    )
    group.add_argument(
        "--explain",
        action="store_true",
        help="Measure what each index, constraint and trigger of the table costs per row.",
    )
    group.add_argument(
        "--json",
        metavar="FILE",
        help="Write the results to this file, as JSON; - is standard output.",
    )
    group.add_argument(
        "--plot", metavar="FILE", help="Plot seconds against rows: a file .png, .svg or .pdf."
    )


def _number(text: str) -> int:
    try:
        return int(text.replace("_", "").replace(",", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _share(text: str) -> float:
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 50%") from None
    return number / 100 if text.strip().endswith("%") else number


def find_measured_model(label: str | None) -> type[Model]:
    """Return the named model, or the one in ``INGEST["BENCHMARK_MODEL"]``.

    Raise ``ConfigurationError`` with similar names if there is none.
    """
    label = label or benchmark_model()
    if not label:
        raise ConfigurationError(
            "Name the model whose table is to be measured: --model app.Model, "
            'or set INGEST = {"BENCHMARK_MODEL": "app.Model"}.'
        )
    return find_model(label)


def check_outputs(options: dict[str, Any]) -> None:
    """Raise ``ConfigurationError`` for files that could not be written at the end."""
    if options.get("json") not in (None, "-"):
        _check_writable(Path(options["json"]), "--json")
    if options.get("plot") is not None:
        plot = Path(options["plot"])
        if plot.suffix.lower() not in PLOT_SUFFIXES:
            raise ConfigurationError(
                f"--plot {plot}: the name must end in {', '.join(PLOT_SUFFIXES)}."
            )
        if importlib.util.find_spec("matplotlib") is None:
            raise ConfigurationError(
                "--plot needs matplotlib: pip install 'django-ingest[benchmark]'."
            )
        _check_writable(plot, "--plot")


@contextmanager
def open_outputs(options: dict[str, Any]) -> Iterator[dict[str, OutputFile]]:
    """Open the files of ``--json`` and ``--plot`` before anything is measured.

    Raise ``ConfigurationError`` if one is the source, or exists already.
    """
    names = [name for name in OUTPUTS if options.get(name) not in {None, "-"}]
    if options.get("overwrite") and not names:
        raise ConfigurationError(
            "--overwrite is for files that are written, and there is none: leave it out."
        )
    files = OutputFiles(overwrite=options.get("overwrite", False))
    if options.get("source") is not None:
        check_streams("the source", options["source"])
        files.protect("the source", options["source"])
    opened: dict[str, OutputFile] = {}
    with ExitStack() as stack:
        for name in names:
            path = Path(options[name])
            if name == "json" and path.exists() and not path.is_file():  # /dev/stdout, a pipe
                opened[name] = OutputFile(path=options[name], file=path.open("wb"))
            else:
                opened[name] = files.open(path, f"The file of --{name}")
            stack.callback(opened[name].discard)
        yield opened
        for output in opened.values():
            output.file.flush()


def _check_writable(path: Path, option: str) -> None:
    if path.is_dir():
        raise ConfigurationError(f"{option} {path}: that is a folder.")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{option} {path}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"{option} {path}: it cannot be written.")
