"""The cost of each part of a table: the same rows, with one more part each time."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from django.db import connections

from ingest.benchmark.candidates import Encoded, converter_of, typed_batches
from ingest.benchmark.prepare import WARM_UP_ROWS
from ingest.benchmark.result import Explanation, PartCost
from ingest.benchmark.scratch.parts import KINDS, create_bare, read_parts
from ingest.conversion.slow_fields import add_up
from ingest.exceptions import BenchmarkError
from ingest.plurals import counted
from ingest.postgres.session import open_asyncpg_session
from ingest.writing.copy import CopyWriter
from ingest.writing.direct import DirectWriter
from ingest.writing.primary_keys import PrimaryKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.benchmark.prepare import Material
    from ingest.conversion import TypedBatch

    Say = Callable[[str, int, int], None]
    """Takes what begins now, the rows written so far and the rows of all runs."""

WAYS = ("copy", "references", "indexes", "both")
"""The whole table by ``copy``, by ``direct`` with each of its two techniques, and with both."""


def explain(material: Material, rounds: int, say: Say) -> Explanation:
    """Measure the parts of the model's table with the largest number of rows."""
    count = material.sizes[-1]
    if not material.target.fields:
        raise BenchmarkError("No field is given: there are no rows that a part could cost.")
    study = _Study(material, rounds, say)
    material.reference.prepare(min(count, WARM_UP_ROWS))
    material.reference.prepare(count)
    study.run(min(count, WARM_UP_ROWS), "warm-up")
    study.forget()
    for number in range(1, rounds + 1):
        study.run(count, f"run {number} of {rounds}")
    return study.explanation(count)


class _Study:
    def __init__(self, material: Material, rounds: int, say: Say) -> None:
        self._material = material
        self._rounds = rounds
        self._say = say
        self._bare = create_bare(material.tables)
        self._parts = sorted(
            read_parts(material.tables, self._bare), key=lambda part: KINDS.index(part.kind)
        )
        self._seconds: list[list[float]] = []
        """The seconds of each round: for the bare table, and with each further part."""
        self._ways: list[dict[str, float]] = []
        """The seconds of each round by each of ``WAYS``."""
        self._decisions: tuple[str, ...] = ()
        self._encoded: Encoded | None = None
        self._batches: Sequence[TypedBatch] = ()
        self._slow_fields: tuple[str, ...] = ()
        self._count = 0
        runs = len(self._parts) + 1 + len(WAYS)
        count = material.sizes[-1]
        self._total = runs * (rounds * count + min(count, WARM_UP_ROWS))
        self._done = 0

    def forget(self) -> None:
        self._seconds, self._ways = [], []

    def run(self, count: int, what: str) -> None:
        """Measure one round: every part once, and every way once."""
        if count != self._count:
            self._count = count
            converter = converter_of(self._material, count)
            self._batches = typed_batches(self._material, count, converter)
            self._slow_fields = tuple(field.told() for field in add_up(converter.slow_fields))
            self._encoded = Encoded(self._material, self._batches)
        self._bare = create_bare(self._material.tables)
        seconds = [self._measure_parts("the bare table", what)]
        for part in self._parts:
            self._execute(f"TRUNCATE {self._bare} RESTART IDENTITY", *part.add)
            seconds.append(self._measure_parts(f"with {part.kind} {part.name}", what))
        self._seconds.append(seconds)
        self._ways.append({way: self._measure_way(way, what) for way in WAYS})

    def explanation(self, count: int) -> Explanation:
        """Return the results of all rounds."""
        parts = []
        names = [("table", "the rows themselves"), *((p.kind, p.name) for p in self._parts)]
        for place, (kind, name) in enumerate(names):
            costs = [
                (one[place] - (one[place - 1] if place else 0.0)) * 1e6 / count
                for one in self._seconds
            ]
            cost = PartCost(
                kind=kind,
                name=name,
                microseconds=median(costs),
                spread_microseconds=max(costs) - min(costs),
            )
            parts.append(cost)
        copy = median(one["copy"] for one in self._ways)
        saved = {
            way: median(one["copy"] - one[way] for one in self._ways) * 1e6 / count for way in WAYS
        }
        return Explanation(
            rows=count,
            rounds=self._rounds,
            parts=tuple(parts),
            copy_microseconds=copy * 1e6 / count,
            saved_by_references=saved["references"],
            saved_by_indexes=saved["indexes"],
            saved=saved["both"],
            decisions=self._decisions,
        )

    def _measure_parts(self, title: str, what: str) -> float:
        self._report(title, what)
        encoded = self._encoded
        assert encoded is not None  # noqa: S101 - run() has set it
        target = encoded.target(self._material.tables.alias, self._bare)
        payloads = encoded.payloads
        with open_asyncpg_session(self._material.tables.alias) as session:
            started = time.perf_counter()
            with session.transaction():
                for payload in payloads:
                    session.start_copy(target, payload).result()
            seconds = time.perf_counter() - started
        self._check(title, self._bare)
        return seconds

    def _measure_way(self, way: str, what: str) -> float:
        title = "copy into the whole table" if way == "copy" else f"direct, {way}"
        self._report(title, what)
        target = self._material.target
        writer = CopyWriter(target.table, target.model)
        if way != "copy":
            writer = DirectWriter(
                target.table,
                target.model,
                references="trigger" if way == "indexes" else "auto",
                indexes="keep" if way == "references" else "auto",
            )
        self._material.table_state.reset()
        encoding = target.converter().encoding
        with open_asyncpg_session(target.alias) as session:
            started = time.perf_counter()
            with session.transaction():
                keys = PrimaryKeys(session, target.table, target.model, encoding, purpose="none")
                for _ in writer.write(session, keys, self._batches):
                    pass
            seconds = time.perf_counter() - started
        self._check(title, None)
        if way == "both":
            self._decisions = (*dict.fromkeys(writer.decisions), *self._slow_fields)
        return seconds

    def _check(self, title: str, name: str | None) -> None:
        problem = self._material.reference.problem(self._count, name)
        # The effects of triggers on the rows are expected only if all triggers exist.
        is_whole = name is None or not any(part.kind == "trigger" for part in self._parts)
        if problem and is_whole:
            raise BenchmarkError(f"The table {problem}, in the run {title!r}.")

    def _report(self, title: str, what: str) -> None:
        self._say(f"{title}, {counted(self._count, 'row')}, {what}", self._done, self._total)
        self._done += self._count

    def _execute(self, *statements: str) -> None:
        with connections[self._material.tables.alias].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
