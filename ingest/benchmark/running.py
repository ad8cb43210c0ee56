"""A benchmark from beginning to end."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from ingest.benchmark.environment import describe_environment
from ingest.benchmark.measuring import take_sample
from ingest.benchmark.preparing import prepare
from ingest.benchmark.result import BenchmarkResult, MethodResult, Sample
from ingest.benchmark.trials import TRIAL_ROWS, try_method
from ingest.methods import get_method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.benchmark.options import BenchmarkOptions
    from ingest.benchmark.preparing import Material
    from ingest.methods.base import Method, Row

WARM_UP_ROWS = 1_000
"""More would warm up nothing further: libraries are imported and statements planned long before."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a benchmark has come."""

    message: str
    """What begins now."""
    done: int
    """Rows written so far, in all runs."""
    total: int
    """Rows to write in all runs; 0 while it is not known."""


def run_benchmark(
    options: BenchmarkOptions, *, progress: Callable[[Progress], None] | None = None
) -> BenchmarkResult:
    """Measure the methods on a scratch copy of the model's table, and say what each cost.

    Real rows are read, never written. While it runs the models of the copied tables lead to the
    scratch schema in the whole process: nothing else may use them. Raises an ``IngestError``.
    """
    report = progress or (lambda _: None)
    with prepare(
        options, lambda message: report(Progress(message=message, done=0, total=0))
    ) as material:
        return _Run(options, material, report).measure()


class _Run:
    def __init__(
        self, options: BenchmarkOptions, material: Material, report: Callable[[Progress], None]
    ) -> None:
        self._options = options
        self._stage = material.stage
        self._target = material.target
        self._reference = material.reference
        self._rows = material.rows
        self._sizes = material.sizes
        self._report = report
        self._done = self._total = 0
        self._methods = [get_method(name) for name in options.methods]

    def measure(self) -> BenchmarkResult:
        environment = describe_environment(self._options.database)
        refused = self._try_methods(environment)
        self._total = sum(
            size * self._options.repeat + min(size, WARM_UP_ROWS)
            for size in self._sizes
            for method in self._methods
            if not refused.get(method.name) and not _is_capped(method, size)
        )
        results = []
        for size in self._sizes:
            results.extend(self._measure_size(size, refused))
        self._report(Progress(message="done", done=self._total, total=self._total))
        return BenchmarkResult(
            environment=environment,
            table=self._describe_table(),
            results=tuple(results),
            notes=tuple(dict.fromkeys(self._stage.scratch.notes)),
        )

    def _try_methods(self, environment: dict[str, Any]) -> dict[str, str]:
        """Say of each method why it cannot be measured, and find out what bulk_create sends."""
        refused = {}
        environment["bulk_create_uses_unnest"] = None
        for method in self._methods:
            reasons = method.refusals(self._stage.model)
            if reasons:
                refused[method.name] = " ".join(reasons)
                continue
            if method.driver != "django":
                continue
            statements, outside = try_method(
                self._stage, method, self._target, self._rows[:TRIAL_ROWS]
            )
            if outside:
                refused[method.name] = (
                    f"left out: it writes to {', '.join(outside)} too, which is real; "
                    "a signal's receiver or a save() of the model's own does that"
                )
            if method.name == "bulk_create" and len(self._rows) > 1:
                inserts = [sql for sql in statements if sql.startswith("INSERT ")]
                if inserts:
                    environment["bulk_create_uses_unnest"] = any("UNNEST(" in s for s in inserts)
        return refused

    def _measure_size(self, size: int, refused: dict[str, str]) -> list[MethodResult]:
        rows = self._rows[:size]
        self._reference.prepare(size)
        self._reference.prepare(min(size, WARM_UP_ROWS))
        samples: dict[str, list[Sample]] = {method.name: [] for method in self._methods}
        problems: dict[str, str] = dict(refused)
        measured = []
        for method in self._methods:
            if method.name in problems:
                continue
            if _is_capped(method, size):
                problems[method.name] = f"capped at {method.benchmark_row_cap:,} rows"
                continue
            measured.append(method)
        failed: dict[str, str] = {}
        for round_number in range(self._options.repeat + 1):
            order = list(measured)
            Random(f"{self._options.seed} {size} {round_number}").shuffle(order)  # noqa: S311
            for method in order:
                planned = size if round_number else min(size, WARM_UP_ROWS)
                if method.name in failed:
                    self._done += planned
                    continue
                self._say(method, size, round_number)
                sample, problem = self._take(method, rows if round_number else rows[:WARM_UP_ROWS])
                self._done += planned
                if problem:
                    failed[method.name] = problem
                if sample is not None and round_number:
                    samples[method.name].append(sample)
        return [
            MethodResult(
                method=method.name,
                rows=size,
                samples=tuple(samples[method.name]),
                verified=None if method.name in problems else method.name not in failed,
                note=problems.get(method.name) or failed.get(method.name, ""),
            )
            for method in self._methods
        ]

    def _say(self, method: type[Method], size: int, round_number: int) -> None:
        what = f"run {round_number} of {self._options.repeat}" if round_number else "warm-up"
        self._report(
            Progress(
                message=f"{method.name}, {size:,} rows, {what}",
                done=self._done,
                total=self._total,
            )
        )

    def _take(self, method: type[Method], rows: Sequence[Row]) -> tuple[Sample | None, str]:
        """Give a sample, and what was wrong with it."""
        self._empty()
        try:
            sample = take_sample(method, self._target, rows)
        except Exception as error:  # noqa: BLE001 - one method's failure is a line of the report
            with suppress(Exception):
                connections[self._options.database].close_if_unusable_or_obsolete()
            line = str(error).strip().partition("\n")[0]
            return None, f"failed: {line or type(error).__name__}"
        problem = self._reference.problem(len(rows))
        return sample, f"wrong: it {problem}" if problem else ""

    def _empty(self) -> None:
        # Tables that refer to the measured one have no row that does; their constraints stand in
        # the way of TRUNCATE nevertheless, and come back at once.
        inward = self._stage.copier.inward_foreign_keys if self._stage.copier else []
        with transaction.atomic(using=self._options.database):
            for drop, _ in inward:
                self._execute(drop)
            self._execute(f"TRUNCATE {self._stage.name} RESTART IDENTITY")
            for _, add in inward:
                self._execute(add)

    def _execute(self, sql: str) -> None:
        with connections[self._options.database].cursor() as cursor:
            cursor.execute(sql)

    def _describe_table(self) -> dict[str, Any]:
        table = self._target.table
        return {
            "model": self._stage.model._meta.label,
            "name": self._stage.original,
            "indexes": [index.name for index in table.indexes],
            "foreign_keys": [key.name for key in table.foreign_keys],
            "checks": [item.name for item in table.constraints if item.kind == "c"],
            "triggers": [trigger.name for trigger in table.triggers],
            "columns": [column.name for column in table.columns],
            "fields_given": [field.name for field in self._target.fields],
            "source": self._options.source,
            "seed": self._options.seed if self._options.source is None else None,
        }


def _is_capped(method: type[Method], size: int) -> bool:
    return method.benchmark_row_cap is not None and size > method.benchmark_row_cap
