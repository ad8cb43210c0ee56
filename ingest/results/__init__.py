"""What a load says of itself: how far it has come, and what it did."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import TYPE_CHECKING, Any

from ingest.results.reasons import ReasonCounts
from ingest.results.rejects import as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingest.ledger.models import Load
    from ingest.results.findings import Audit
    from ingest.results.reasons import Reason
    from ingest.results.rejects import Reject


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
    padded: int = 0
    """Records with too few cells that got empty ones; they are loaded or rejected as well."""
    cut: int = 0
    """Records with too many cells that lost the surplus ones; loaded or rejected as well."""

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
        """Return whether every record read is accounted for."""
        return self.read == self.loaded + self.rejected + self.skipped


REJECTS_TAKEN = 1_000
"""So many rejects are pickled or given by ``as_dict()``: the reject log has all of them."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
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
    padded: int = 0
    """Records that had too few cells and got empty ones, as ``lenient`` asks. They are among the
    ``rows`` or the ``rejected``."""
    cut: int = 0
    """Records that had too many cells and lost the surplus ones, whatever these held."""
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

    reject_log: str = ""
    """The absolute path of all reasons, as JSON Lines; empty where none was asked for."""
    reject_file: str = ""
    """The absolute path of the refused records; empty where none was asked for."""

    counted: tuple[Reason, ...] | None = None
    """What ``reasons`` gives, where the load has counted them."""

    @property
    def rows_per_second(self) -> float:
        """Rows loaded per second of wall-clock time."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def number(self) -> int | None:
        """The load's number in the ledger, for ``--undo`` and ``--list``; None: not recorded."""
        return None if self.load is None else self.load.pk

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Equal reasons counted, the most frequent ones first."""
        return ReasonCounts(self.rejects).reasons() if self.counted is None else self.counted

    def as_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can write, with up to 1,000 ``rejects``.

        ``load`` is the load's number, and ``audit`` a list of what does not hold.
        """
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told["load"] = self.number
        told["audit"] = None if self.audit is None else [str(it) for it in self.audit.problems]
        told["rejects"] = [vars(reject) for reject in islice(self.rejects, REJECTS_TAKEN)]
        told["reasons"] = [dataclasses.asdict(reason) for reason in self.reasons]
        del told["counted"]
        told["stages"] = dict(self.stages)
        taken: dict[str, Any] = as_json(told)
        return taken

    def __str__(self) -> str:
        verb = "Would have loaded" if self.is_dry_run else "Loaded"
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        number = "" if self.number is None else f" (load {self.number})"
        return f"{verb} {self.rows:,} rows of {self.source} into {self.table}{rejected}{number}"

    def __repr__(self) -> str:
        return f"<LoadResult: {self}>"

    def __getstate__(self) -> dict[str, Any]:
        # The log is an open file.
        return {**vars(self), "rejects": tuple(islice(self.rejects, REJECTS_TAKEN))}
