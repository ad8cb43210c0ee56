"""A benchmark from beginning to end."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from django.db import connections

from ingest.benchmark import upserts
from ingest.benchmark.candidates import Candidate, FloorBaseline, MethodCandidate, PsqlBaseline
from ingest.benchmark.explain import explain
from ingest.benchmark.methods import get_method
from ingest.benchmark.plain_role import RoleCandidate
from ingest.benchmark.prepare import WARM_UP_ROWS, prepare
from ingest.benchmark.probes import TRIAL_ROWS, try_method
from ingest.benchmark.psql import Psql, find_psql
from ingest.benchmark.result import BenchmarkResult, MethodResult, Sample
from ingest.benchmark.sample import describe_environment, frozen_garbage, take_sample
from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.benchmark.options import BenchmarkOptions
    from ingest.benchmark.prepare import Material


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a benchmark has come."""

    message: str
    """What begins now."""
    done: int
    """Rows written so far, in all runs."""
    total: int
    """Rows to write in all runs; 0 while this is not known."""


def run_benchmark(
    options: BenchmarkOptions, *, progress: Callable[[Progress], None] | None = None
) -> BenchmarkResult:
    """Measure the methods on a scratch copy of the model's table, and return their costs.

    Real rows are read, never written. During the benchmark the models of the copied tables lead to
    the scratch schema in the whole process: nothing else may use them. Raise an ``IngestError`` if
    it fails.
    """
    report = progress or (lambda _: None)

    def say(message: str) -> None:
        report(Progress(message=message, done=0, total=0))

    psql = None
    if "psql" in options.baselines:
        psql = Psql(find_psql(options.database, options.psql), options.database)
    with prepare(options, say) as material, frozen_garbage():
        return _Run(options, material, psql, report).measure()


class _Run:
    def __init__(
        self,
        options: BenchmarkOptions,
        material: Material,
        psql: Psql | None,
        report: Callable[[Progress], None],
    ) -> None:
        self._options = options
        self._material = material
        self._tables = material.tables
        self._target = material.target
        self._reference = material.reference
        self._psql = psql
        self._report = report
        self._done = self._total = 0
        self._contestants: list[Candidate] = []

    def measure(self) -> BenchmarkResult:
        environment = describe_environment(self._options.database)
        if self._psql is not None:
            environment["psql"] = self._psql.version()
        environment["bulk_create_uses_unnest"] = None
        results: list[MethodResult] = []
        explanation = None
        if self._options.explain:
            explanation = explain(self._material, self._options.repeat, self._say_explain)
        else:
            results = self._measure_all(environment)
        self._report(Progress(message="done", done=self._total, total=self._total))
        return BenchmarkResult(
            environment=environment,
            table=self._describe_table(),
            results=tuple(results),
            explanation=explanation,
            notes=tuple(dict.fromkeys(self._tables.scratch.notes)),
        )

    def _measure_all(self, environment: dict[str, Any]) -> list[MethodResult]:
        self._contestants = self._find_contestants()
        refused = self._try_contestants(environment)
        self._total = sum(
            size * self._options.repeat + min(size, WARM_UP_ROWS)
            for size in self._material.sizes
            for contestant in self._contestants
            if not refused.get(contestant.name) and not _is_capped(contestant, size)
        )
        return [
            result for size in self._material.sizes for result in self._measure_size(size, refused)
        ]

    def _find_contestants(self) -> list[Candidate]:
        if self._options.overlap is not None:
            return upserts.candidates(self._material, self._psql)
        contestants: list[Candidate] = [
            MethodCandidate(self._material, get_method(name)) for name in self._options.methods
        ]
        if self._options.role is not None:
            contestants.append(RoleCandidate(self._material, self._options.role))
        if self._psql is not None:
            contestants.append(PsqlBaseline(self._material, self._psql))
        if "floor" in self._options.baselines:
            contestants.append(FloorBaseline(self._material))
        return contestants

    def _try_contestants(self, environment: dict[str, Any]) -> dict[str, str]:
        """Return why candidates cannot be measured, by name; record what bulk_create sends."""
        refused = {}
        rows = self._material.rows
        for contestant in self._contestants:
            reasons = contestant.refusals()
            if self._options.from_file and not self._material.files:
                reasons = ["No field is given: there is no column to write into a file."]
            if reasons:
                refused[contestant.name] = " ".join(reasons)
                continue
            if not isinstance(contestant, MethodCandidate):
                continue
            method = contestant.method
            if method.driver != "django":
                continue
            statements, outside = try_method(self._tables, method, self._target, rows[:TRIAL_ROWS])
            if outside:
                refused[method.name] = (
                    f"left out: it writes to {', '.join(outside)} too, which is real; "
                    "a signal's receiver or a save() of the model's own does that"
                )
            if method.name == "bulk_create" and len(rows) > 1:
                inserts = [sql for sql in statements if sql.startswith("INSERT ")]
                if inserts:
                    environment["bulk_create_uses_unnest"] = any("UNNEST(" in s for s in inserts)
        return refused

    def _measure_size(self, size: int, refused: dict[str, str]) -> list[MethodResult]:
        self._reference.prepare(size)
        self._reference.prepare(min(size, WARM_UP_ROWS))
        problems: dict[str, str] = dict(refused)
        measured = []
        for contestant in self._contestants:
            if contestant.name in problems:
                continue
            if _is_capped(contestant, size):
                problems[contestant.name] = f"capped at {counted(contestant.row_cap or 0, 'row')}"
                continue
            measured.append(contestant)
        samples: dict[str, list[Sample]] = {one.name: [] for one in self._contestants}
        failed: dict[str, str] = {}
        for round_number in range(self._options.repeat + 1):
            order = list(measured)
            Random(f"{self._options.seed} {size} {round_number}").shuffle(order)  # noqa: S311
            count = size if round_number else min(size, WARM_UP_ROWS)
            for contestant in order:
                if contestant.name not in failed:
                    self._say(contestant, size, round_number)
                    sample, problem = self._take(contestant, count)
                    if problem:
                        failed[contestant.name] = problem
                    if sample is not None and round_number:
                        samples[contestant.name].append(sample)
                self._done += count
        return [
            MethodResult(
                method=contestant.name,
                rows=size,
                samples=tuple(samples[contestant.name]),
                verified=None if contestant.name in problems else contestant.name not in failed,
                note=problems.get(contestant.name) or failed.get(contestant.name, ""),
                decisions=contestant.decisions if samples[contestant.name] else (),
                is_yardstick=contestant.is_yardstick,
                costs=contestant.costs if samples[contestant.name] else None,
            )
            for contestant in self._contestants
        ]

    def _say(self, contestant: Candidate, size: int, round_number: int) -> None:
        what = f"run {round_number} of {self._options.repeat}" if round_number else "warm-up"
        self._report(
            Progress(
                message=f"{contestant.name}, {counted(size, 'row')}, {what}",
                done=self._done,
                total=self._total,
            )
        )

    def _say_explain(self, message: str, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._report(Progress(message=message, done=done, total=total))

    def _take(self, contestant: Candidate, count: int) -> tuple[Sample | None, str]:
        """Return a sample, and what was wrong with it."""
        self._material.table_state.reset()
        try:
            sample = take_sample(self._options.database, contestant.open(count))
        except Exception as error:  # noqa: BLE001 - one method's failure is a line of the report
            with suppress(Exception):
                connections[self._options.database].close_if_unusable_or_obsolete()
            line = str(error).strip().partition("\n")[0]
            return None, f"failed: {line or type(error).__name__}"
        problem = contestant.problem(count)
        return sample, f"wrong: it {problem}" if problem else ""

    def _describe_table(self) -> dict[str, Any]:
        table = self._target.table
        return {
            "model": self._tables.model._meta.label,
            "name": self._tables.original,
            "indexes": [index.name for index in table.indexes],
            "foreign_keys": [key.name for key in table.foreign_keys],
            "checks": [item.name for item in table.constraints if item.kind == "c"],
            "triggers": [trigger.name for trigger in table.triggers],
            "columns": [column.name for column in table.columns],
            "fields_given": [field.name for field in self._target.fields],
            "source": self._options.source,
            "seed": self._options.seed if self._options.source is None else None,
            "from_file": self._options.from_file,
            "existing": self._options.existing,
            "overlap": self._options.overlap,
        }


def _is_capped(contestant: Candidate, size: int) -> bool:
    return contestant.row_cap is not None and size > contestant.row_cap
