"""What the figures have in common: a scratch database, trials in fresh processes, and the table."""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from rich.console import Console
from rich.table import Table

from finance.models import Account, Transaction
from ingest import load
from ingest.loading.own_process import prepare_arrow
from tests.performance import rows as made

CHECK = (
    'ALTER TABLE finance_transaction ADD CONSTRAINT "figures_amount" '
    f"CHECK (amount <> {made.FORBIDDEN_AMOUNT})"
)
WIDTH = 110


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """How one variant stands to another, and what it is to be at most."""

    of: str
    to: str
    goal: float | None = None
    measure: str = "seconds"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """Variants that are run in turns, and the ratios that count."""

    about: str
    rows: int
    repeat: int = 3
    variants: Mapping[str, Callable[["Trial"], Any]]
    """Each loads what its trial has, and gives a ``LoadResult`` or anything with its counts."""
    ratios: Sequence[Ratio]
    files: Callable[[Path, int], None]
    """Makes the files in a folder, for so many records."""
    prepare: Mapping[str, Callable[["Trial"], None]] = dataclasses.field(default_factory=dict)
    """What is done for a variant before its time is taken."""
    note: str = ""
    harms_tables: bool = False
    """Whether a variant changes the table, so that each gets a database of its own."""
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What a measure of any variant is to be at most."""
    limits_of: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    """What a measure of one variant is to be at most, by the variant and the measure."""
    tables: str = "finance_transaction"
    """What is emptied before each trial."""
    fill: Callable[[], None] = lambda: None
    """Fills the tables that the rows refer to, beside those of finance."""
    check: Callable[[Any], Mapping[str, str]] = lambda _: {}
    """Gives what must be the same of every variant, by its name, once its time was taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One variant in its own process."""

    folder: Path
    rows: int

    def path(self, name):
        return str(self.folder / name)

    def load(self, source, **options):
        return load(
            Transaction, source if not isinstance(source, str) else self.path(source), **options
        )


def run(figure, asked):
    """Run every variant of a figure and print its table."""
    rows, repeat = asked.rows or figure.rows, asked.repeat or figure.repeat
    names = asked.only or list(figure.variants)
    samples = {name: [] for name in names}
    console = Console(width=WIDTH)
    console.print(f"{figure.about} {rows:,} records, {repeat} times in turns.", highlight=False)
    with tempfile.TemporaryDirectory(prefix="figures-") as folder, ExitStack() as stack:
        figure.files(Path(folder), rows)
        if not figure.harms_tables:
            stack.enter_context(scratch_database())
            figure.fill()
        for round_ in range(repeat):
            for name in names if round_ % 2 == 0 else reversed(names):
                with scratch_database() if figure.harms_tables else nullcontext():
                    found = _in_a_fresh_process(figure, asked.name, name, rows, folder)
                samples[name].append(found)
                console.print(_line_of(name, found), highlight=False, markup=False)
    console.print(_table_of_variants(samples))
    console.print(_table_of_ratios(figure, samples))
    for name, found in samples.items():
        if found[0]["said"]:
            console.print(f"{name}: {found[0]['said']}", highlight=False, markup=False)
    for line in _compare(samples):
        console.print(line, highlight=False, markup=False)
    if figure.note:
        console.print(figure.note, highlight=False)


@contextmanager
def scratch_database():
    """Lend a database of the migrations' own making, with accounts in it, and give its name."""
    before = connection.settings_dict["NAME"]
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        User.objects.bulk_create(User(username=f"u{at}") for at in range(made.USERS))
        Account.objects.bulk_create(
            (
                Account(user_id=made.user_of(at), number=made.number_of(at), name=f"Account {at}")
                for at in range(1, made.ACCOUNTS + 1)
            ),
            batch_size=1_000,
        )
        with connection.cursor() as cursor:
            cursor.execute(CHECK)
            cursor.execute("VACUUM ANALYZE")
        yield name
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)


def _in_a_fresh_process(figure, asked_name, variant, rows, folder):
    database = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {figure.tables}, ingest_load RESTART IDENTITY CASCADE")
        cursor.execute("CHECKPOINT")
    connection.close()
    command = [sys.executable, "-m", "tests.performance", asked_name, "--variant", variant]
    command += ["--rows", str(rows), "--folder", folder, "--database", database]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def run_variant(figure, asked):
    """Run one variant in this process, and print what it took as JSON."""
    connection.settings_dict["NAME"] = asked.database
    prepare_arrow()  # as the command does
    trial = Trial(folder=Path(asked.folder), rows=asked.rows)
    if asked.variant in figure.prepare:
        figure.prepare[asked.variant](trial)
    started, cpu_started = time.perf_counter(), time.process_time()
    result = figure.variants[asked.variant](trial)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    found = {
        "seconds": seconds,
        "CPU a row": cpu_seconds * 1e6 / trial.rows,
        "memory": _peak_memory(),
        "loaded": result if isinstance(result, int) else result.rows,
        "rejected": getattr(result, "rejected", 0),
        "said": getattr(result, "said", ""),
        "check": figure.check(result),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _line_of(name, sample):
    """Return what a sample took, which is printed as soon as it is there."""
    return (
        f"  {name}: {sample['seconds']:.2f} s, {sample['loaded']:,} loaded, "
        f"{sample['rejected']:,} rejected, {sample['memory']:.0f} MB"
    )


def _peak_memory():
    """Return the most memory this process has had, in MB."""
    # Not getrusage(), which begins with what the parent had when it forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _compare(samples):
    """Yield whether what must be the same is so, a line each."""
    found = {}
    for name, of_variant in samples.items():
        for sample in of_variant:
            for what, value in sample["check"].items():
                found.setdefault(what, {}).setdefault(value, {})[name] = None
    for what, variants in found.items():
        if len(variants) == 1:
            [(value, names)] = variants.items()
            yield f"{what}: THE SAME of {', '.join(names)}: {value}"
        for value, names in variants.items() if len(variants) > 1 else ():
            yield f"{what}: DIFFERENT, of {', '.join(names)}: {value}"


def _median(samples, name, measure):
    return statistics.median(sample[measure] for sample in samples[name])


def _table_of_variants(samples):
    table = Table(box=None, pad_edge=False)
    for column in ("variant", "seconds", "± ", "CPU µs a row", "MB", "loaded", "rejected"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, found in samples.items():
        seconds = [sample["seconds"] for sample in found]
        table.add_row(
            name,
            f"{statistics.median(seconds):.2f}",
            f"{(max(seconds) - min(seconds)) / 2:.2f}",
            f"{_median(samples, name, 'CPU a row'):.1f}",
            f"{_median(samples, name, 'memory'):.0f}",
            f"{found[0]['loaded']:,}",
            f"{found[0]['rejected']:,}",
        )
    return table


def _table_of_ratios(figure, samples):
    table = Table(box=None, pad_edge=False)
    for column in ("ratio of medians", "", "goal", ""):
        table.add_column(column)
    for ratio in figure.ratios:
        if ratio.of not in samples or ratio.to not in samples:
            continue
        got = _median(samples, ratio.of, ratio.measure) / _median(samples, ratio.to, ratio.measure)
        goal = "" if ratio.goal is None else f"at most {ratio.goal:g}"
        verdict = "" if ratio.goal is None else "kept" if got <= ratio.goal else "MISSED"
        table.add_row(f"{ratio.measure}: {ratio.of} / {ratio.to}", f"{got:.2f}", goal, verdict)
    for measure, limit in figure.limits.items():
        most = max(_median(samples, name, measure) for name in samples)
        verdict = "kept" if most <= limit else "MISSED"
        table.add_row(f"{measure}: the most of any", f"{most:.0f}", f"at most {limit:g}", verdict)
    for (name, measure), limit in figure.limits_of.items():
        if name in samples:
            got = _median(samples, name, measure)
            verdict = "kept" if got <= limit else "MISSED"
            table.add_row(f"{measure}: {name}", f"{got:.1f}", f"at most {limit:g}", verdict)
    return table
