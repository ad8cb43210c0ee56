"""What a benchmark found, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.benchmark.methods.base import Costs

FORMAT = 1
"""The number of the JSON's format; it goes up when a reader would have to change."""
NOISY_SPREAD = 0.25
"""A result is noisy when its slowest and fastest samples differ by more than this share of the
median: two methods nearer than that could not be told apart."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One run of one method."""

    seconds: float
    """Wall-clock time from rows in memory, or from a file, to committed."""
    wal_bytes: int
    """Bytes of write-ahead log that the server wrote meanwhile, for whatever reason."""
    client_cpu_seconds: float
    """Processor time of this process, all threads."""
    peak_memory_bytes: int | None
    """How much this process grew at its peak; None where the system does not tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodResult:
    """What one method did with one number of rows."""

    method: str
    """The method's name."""
    rows: int
    """Rows written in each sample."""
    samples: tuple[Sample, ...] = ()
    """The samples that were kept, in their order; none where the method did not run."""
    verified: bool | None = None
    """Whether the table held the given rows after every run; None where the method did not run."""
    note: str = ""
    """Why it did not run, or what was wrong."""
    decisions: tuple[str, ...] = ()
    """What the method decided on the way and why, a sentence each."""
    is_yardstick: bool = False
    """Whether it is no method of ingest, but there to be compared with."""
    costs: Costs | None = None
    """Where the last sample spent its time; None where the method does not know."""

    @property
    def seconds(self) -> list[float]:
        """The samples' seconds."""
        return [sample.seconds for sample in self.samples]

    @property
    def median_seconds(self) -> float | None:
        """The median of the samples' seconds."""
        return median(self.seconds) if self.samples else None

    @property
    def spread_seconds(self) -> float | None:
        """Seconds between the fastest sample and the slowest."""
        return max(self.seconds) - min(self.seconds) if self.samples else None

    @property
    def rows_per_second(self) -> float | None:
        """Rows written per second, by the median."""
        return self.rows / self.median_seconds if self.median_seconds else None

    @property
    def stable(self) -> bool | None:
        """Whether the spread is small against the median; None for fewer than two samples."""
        if len(self.samples) <= 1 or self.median_seconds is None or self.spread_seconds is None:
            return None
        return self.spread_seconds <= NOISY_SPREAD * self.median_seconds

    @property
    def is_ranked(self) -> bool:
        """Return whether the method ran and stored what it was given."""
        return bool(self.samples) and self.verified is True

    def as_json(self) -> dict[str, Any]:
        """Return the result as the JSON has it."""
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
    """What one part of the table costs each row."""

    kind: str
    """``table`` for the bare table, else one of ``ingest.benchmark.scratch.parts.KINDS``."""
    name: str
    microseconds: float
    """A row's time with this part less that without it: the median over the rounds."""
    spread_microseconds: float
    """Between the smallest of the rounds and the largest; the part is lost in the noise when this
    is as large as the cost."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the table's parts cost, in microseconds a row, and what ``direct`` saves of it."""

    rows: int
    """Rows written in each run."""
    rounds: int
    parts: tuple[PartCost, ...]
    """The bare table first, then each part in the order in which they were added."""
    copy_microseconds: float
    """``copy`` into the whole table: encoded and sent."""
    saved_by_references: float
    """What ``direct`` saves by checking references as a set, of the foreign keys' costs."""
    saved_by_indexes: float
    """What it saves by building indexes after the rows, of the indexes' costs."""
    saved: float
    """What it saves by both together."""
    decisions: tuple[str, ...]
    """What ``direct`` decided on the way, a sentence each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What a benchmark found."""

    environment: dict[str, Any]
    """Versions, processor and the server's settings that matter for the figures."""
    table: dict[str, Any]
    """The model, its table, its indexes, foreign keys and triggers, and the rows' origin."""
    results: tuple[MethodResult, ...]
    """For each number of rows, each method in the order of the methods' list."""
    explanation: Explanation | None = None
    """What each part of the table costs, where that was asked."""
    notes: tuple[str, ...] = ()
    """Sentences on what was measured differently from the real table."""

    def as_json(self) -> str:
        """Return the whole as JSON, format 1: see docs/benchmark.md."""
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
