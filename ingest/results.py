"""What a load says of itself: how far it has come, and what it did."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingest.findings import Audit
    from ingest.models import Load
    from ingest.rejects import Reject


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a load has come."""

    rows: int
    """Records read and sent on."""
    rejected: int
    """Records refused until now."""
    bytes_read: int
    """Bytes read of the source; 0 where it is not made of bytes."""
    bytes_total: int | None
    """The source's size in bytes, where it is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Records by what became of them: ``read = loaded + rejected + skipped``."""

    read: int = 0
    loaded: int = 0
    rejected: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(Counts)
            }
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            **{
                field.name: getattr(self, field.name) - getattr(other, field.name)
                for field in dataclasses.fields(Counts)
            }
        )

    @property
    def add_up(self) -> bool:
        """Is no record without a fate?"""
        return self.read == self.loaded + self.rejected + self.skipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did."""

    model: str
    """The model's label."""
    table: str
    """The table's name with its schema, quoted."""
    source: str
    """What the rows came from."""
    rows: int
    """Rows loaded."""
    read: int
    """Records that the source had: ``rows + rejected + skipped``."""
    rejected: int
    """Records that were refused."""
    skipped: int
    """Records that the layout or the options said to leave out."""
    rejects: Iterable[Reject]
    """The reasons, one ``Reject`` each, in the order of the records: iterate over it."""
    is_dry_run: bool
    """Was everything rolled back, as asked?"""
    seconds: float
    """Wall-clock time from opening the source to the commit."""
    stages: Mapping[str, float]
    """Wall-clock seconds of each stage of the caller's thread, by the stage's name."""
    method: str
    """The method's name."""
    driver: str
    """The driver that sent the rows: ``asyncpg``, or ``psycopg`` inside ``atomic()``."""
    decisions: tuple[str, ...] = ()
    """What was decided on the way and why, a sentence each."""
    audit: Audit | None = None
    """What ``verify`` found; None where it was not asked for."""
    load: Load | None = None
    """The load in the ledger; None where it is not recorded. ``load.rows()`` are its rows."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was stored as the ORM would, and is hardly what was meant: some ``decisions``."""
        return tuple(each for each in self.decisions if each.startswith("Warning: "))

    @property
    def rows_per_second(self) -> float:
        """Rows loaded per second of wall-clock time."""
        return self.rows / self.seconds if self.seconds else 0.0
