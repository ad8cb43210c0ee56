"""What a coordinator and its workers say to each other, through a pipe."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.conversion.slow_fields import SlowField
    from ingest.postgres.session import Backend, SessionState
    from ingest.results import Counts
    from ingest.results.rejects import Reject
    from ingest.sources import Position


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assignment:
    """To a worker: the load that it belongs to."""

    load: int
    alias: str
    database: dict[str, Any]
    """The alias's settings as they are in the coordinator."""
    state: SessionState
    """What was set in the session of Django's connection in the coordinator."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """To a worker: a chunk to send, and to commit when its turn comes."""

    ordinal: int
    start: Position
    stop: Position
    records: int
    read_before: int
    """Records of the source before the chunk."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commit:
    """To a worker: it is the chunk's turn."""

    marks: dict[str, dict[str, Any]]
    """How far the rejects are written, with those of this chunk."""
    rejects_kept: int
    """How many rejects the ledger has of the chunks before."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retry:
    """To a worker: the chunk stands in the way of an earlier one; roll back and send it again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ready:
    """From a worker: it has its connection."""

    backend: Backend


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """From a worker: records of its chunk so far."""

    counts: Counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sent:
    """From a worker: the chunk's rows are in its open transaction."""

    counts: Counts
    rejects: tuple[Reject, ...]
    refused: bytes
    """The refused records in the source's own format."""
    decisions: tuple[str, ...]
    slow_fields: tuple[SlowField, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Committed:
    """From a worker: the chunk is in."""

    stages: Mapping[str, float]
    """What each stage of it took, in seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failed:
    """From a worker: the chunk was rolled back."""

    error: Exception
    is_passing: bool
    """Whether another try may succeed."""
