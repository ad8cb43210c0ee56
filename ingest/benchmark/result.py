"""The results of a benchmark, and their JSON."""

from __future__ import annotations

import dataclasses
import json
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.benchmark.methods.base import Costs

FORMAT = 1
"""The version of the JSON format; it increases when readers must change."""
NOISY_SPREAD = 0.25
"""A result is noisy if its slowest and fastest samples differ by more than this share of the
median: two methods that differ less could not be distinguished."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One run of one method."""

    seconds: float
    """Wall-clock time from rows in memory, or from a file, to the commit."""
    wal_bytes: int
    """Bytes of write-ahead log that the server wrote in the meantime, for any reason."""
    client_cpu_seconds: float
    """Processor time of this process, in all threads."""
    peak_memory_bytes: int | None
    """How much this process grew at its peak; None if the system does not report it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodResult:
    """The results of one method for one number of rows."""

    method: str
    """The method's name."""
    rows: int
    """Rows written in each sample."""
    samples: tuple[Sample, ...] = ()
    """The samples that were kept, in order; none if the method did not run."""
    verified: bool | None = None
    """Whether the table held the given rows after every run; None if the method did not run."""
    note: str = ""
    """Why it did not run, or what was wrong."""
    decisions: tuple[str, ...] = ()
    """The decisions of the method with their reasons, a sentence each."""
    is_yardstick: bool = False
    """Whether it is not a method of ingest, but a baseline."""
    costs: Costs | None = None
    """Where the last sample spent its time; None if the method does not know."""

    @property
    def seconds(self) -> list[float]:
        """The seconds of each sample."""
        return [sample.seconds for sample in self.samples]

    @property
    def median_seconds(self) -> float | None:
        """The median of the samples' seconds."""
        return median(self.seconds) if self.samples else None

    @property
    def spread_seconds(self) -> float | None:
        """Seconds between the fastest and the slowest sample."""
        return max(self.seconds) - min(self.seconds) if self.samples else None

    @property
    def rows_per_second(self) -> float | None:
        """Rows written per second, by the median."""
        return self.rows / self.median_seconds if self.median_seconds else None

    @property
    def stable(self) -> bool | None:
        """Whether the spread is small compared with the median; None for fewer than two samples."""
        if len(self.samples) <= 1 or self.median_seconds is None or self.spread_seconds is None:
            return None
        return self.spread_seconds <= NOISY_SPREAD * self.median_seconds

    @property
    def is_ranked(self) -> bool:
        """Whether the method ran and stored the given rows."""
        return bool(self.samples) and self.verified is True

    def as_json(self) -> dict[str, Any]:
        """Return the result as values for JSON."""
        memory = [s.peak_memory_bytes for s in self.samples if s.peak_memory_bytes is not None]
        return {
            "method": self.method,
            "rows": self.rows,
            "seconds": self.seconds,
            "median_seconds": self.median_seconds,
            "spread_seconds": self.spread_seconds,
            "rows_per_second": self.rows_per_second,
            "stable": self.stable,
            "verified": self.verified,
            "wal_bytes": _median([sample.wal_bytes for sample in self.samples]),
            "client_cpu_seconds": _median([s.client_cpu_seconds for s in self.samples]),
            "peak_memory_bytes": max(memory, default=None),
            "note": self.note,
            "decisions": list(self.decisions),
            "yardstick": self.is_yardstick,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartCost:
    """The cost per row of one part of the table."""

    kind: str
    """``table`` for the bare table, otherwise one of ``ingest.benchmark.scratch.parts.KINDS``."""
    name: str
    microseconds: float
    """The time per row with this part minus the time without it: the median over the rounds."""
    spread_microseconds: float
    """The difference between the smallest and the largest cost of a round; if it is as large as the
    cost, the cost cannot be distinguished from noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """The costs of the table's parts, in microseconds per row, and what ``direct`` saves."""

    rows: int
    """Rows written in each run."""
    rounds: int
    parts: tuple[PartCost, ...]
    """The bare table first, then each part in the order in which they were added."""
    copy_microseconds: float
    """The cost of ``copy`` into the whole table: encoding and sending."""
    saved_by_references: float
    """What ``direct`` saves of the foreign keys' costs by checking references as a set."""
    saved_by_indexes: float
    """What ``direct`` saves of the indexes' costs by building them after the rows."""
    saved: float
    """What it saves by both together."""
    decisions: tuple[str, ...]
    """The decisions of ``direct``, a sentence each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """The result of a benchmark."""

    environment: dict[str, Any]
    """Versions, processor and the server's settings that affect the figures."""
    table: dict[str, Any]
    """The model, its table with indexes, foreign keys and triggers, and the origin of the rows."""
    results: tuple[MethodResult, ...]
    """For each number of rows, the results of all methods in their order."""
    explanation: Explanation | None = None
    """The cost of each part of the table, if requested."""
    notes: tuple[str, ...] = ()
    """Sentences about differences from the real table."""

    def as_json(self) -> str:
        """Return the result as JSON, format 1: see docs/benchmark.md."""
        document = {
            "format": FORMAT,
            "environment": self.environment,
            "table": self.table,
            "results": [result.as_json() for result in self.results],
            "explain": None if self.explanation is None else dataclasses.asdict(self.explanation),
            "notes": list(self.notes),
        }
        return json.dumps(document, indent=2) + "\n"


def _median(values: list[Any]) -> Any:
    return median(values) if values else None
