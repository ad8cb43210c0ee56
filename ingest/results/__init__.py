"""The progress and the result of a load."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import TYPE_CHECKING, Any

from ingest.plurals import counted
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
    """The progress of a load."""

    counts: Counts
    """The records so far whose rows PostgreSQL has accepted, or that were rejected or skipped.
    Records that were read ahead are not counted."""
    bytes_read: int
    """Bytes of the source that these records take, with what separates them. For a compressed file,
    a Parquet file or a workbook: a share of its size. 0 if the source is not made of bytes."""
    bytes_total: int | None
    """The source's size in bytes, if it is known."""
    rows_before: int = 0
    """How many of these records were committed by an earlier run of the load, before it was
    resumed."""

    @property
    def rows(self) -> int:
        """Records processed so far."""
        return self.counts.read

    @property
    def rejected(self) -> int:
        """Records refused so far."""
        return self.counts.rejected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """The numbers of records, by their outcome.

    ``read = inserted + updated + unchanged + ignored + rejected + skipped``
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    """Records that changed an existing row."""
    unchanged: int = 0
    """Records whose row existed with the same values: it was not written."""
    ignored: int = 0
    """Records whose row existed and was kept as it is, as the options ask."""
    rejected: int = 0
    skipped: int = 0
    """Records left out because of the layout, the options or a later record with the same key."""
    padded: int = 0
    """Records with too few cells, to which empty cells were added; also counted above."""
    cut: int = 0
    """Records with too many cells, whose extra cells were dropped; also counted above."""
    deleted: int = 0
    """Rows (not records) that were deleted because the source did not have them."""

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
        return self.read == self.accounted

    @property
    def accounted(self) -> int:
        """Records whose outcome is known."""
        settled = self.inserted + self.updated + self.unchanged + self.ignored
        return settled + self.rejected + self.skipped

    @property
    def loaded(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated


def details_of(counts: Any) -> dict[str, int]:
    """Return the counts of inserted, updated, … rows that are not zero, by name.

    Empty if rows were only inserted: the number of rows says it already. ``counts`` is any object
    with these counts, such as a ``LoadResult`` or a load of the ledger.
    """
    named = {name: getattr(counts, name) for name in DETAILS}
    if not any(count for name, count in named.items() if name != "inserted"):
        return {}
    return {name: count for name, count in named.items() if count}


DETAILS = ("inserted", "updated", "unchanged", "ignored", "deleted")
"""The counts of rows by outcome, in the order in which they are shown."""
REPEATED = "The same file "
"""The beginning of the decision that reports that a file was loaded before."""
REJECTS_TAKEN = 1_000
"""The most rejects that are pickled or returned by ``as_dict()``; the reject log has all."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LoadResult:
    """The result of a load."""

    model: str
    """The model's label."""
    table: str
    """The table's name with its schema, quoted."""
    source: str
    """The name of the source."""
    inserted: int
    """New rows."""
    updated: int = 0
    """Existing rows that were changed."""
    unchanged: int = 0
    """Records whose row existed with the same values: it was not written."""
    ignored: int = 0
    """Records whose row existed and was kept as it is, as the options ask."""
    read: int
    """Records of the source:
    ``inserted + updated + unchanged + ignored + rejected + skipped``."""
    rejected: int
    """Records that were refused."""
    skipped: int
    """Records left out because of the layout, the options or a later record with the same key."""
    deleted: int = 0
    """Rows that were deleted because the source did not have them, as the options ask."""
    padded: int = 0
    """Records with too few cells, to which ``lenient`` added empty ones. They are also counted
    above, by their outcome."""
    cut: int = 0
    """Records with too many cells, whose extra cells were dropped, empty or not."""
    rejects: Iterable[Reject]
    """The rejects, one for each reason, in the order of the records."""
    is_dry_run: bool
    """Whether everything was rolled back, as asked."""
    seconds: float
    """Wall-clock time from opening the source to the commit."""
    stages: Mapping[str, float]
    """Wall-clock seconds of each stage in the caller's thread, by the stage's name."""
    method: str
    """The method's name."""
    driver: str
    """The driver that sent the rows: ``asyncpg``, or ``psycopg`` inside ``atomic()``."""
    decisions: tuple[str, ...] = ()
    """Decisions of the load and their reasons, a sentence each."""
    audit: Audit | None = None
    """The result of ``verify``; None if it was not asked for."""
    load: Load | None = None
    """The load in the ledger; None if it is not recorded. ``load.rows()`` are its rows."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the ``decisions`` that probably show a mistake.

        Either values were stored as the ORM would store them but probably not as they were meant,
        or the same file was loaded before.
        """
        return tuple(each for each in self.decisions if each.startswith(("Warning: ", REPEATED)))

    reject_log: str = ""
    """The absolute path of the JSON Lines file with all rejects; empty if none was asked for."""
    reject_file: str = ""
    """The absolute path of the file with the refused records; empty if none was asked for."""

    counted: tuple[Reason, ...] | None = None
    """The value of ``reasons``, if the load has counted them."""

    @property
    def rows(self) -> int:
        """Rows written: ``inserted + updated``."""
        return self.inserted + self.updated

    @property
    def rows_per_second(self) -> float:
        """Rows written per second of wall-clock time."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def details(self) -> dict[str, int]:
        """Counts of the rows that are not zero, by name; empty if rows were only inserted."""
        return details_of(self)

    @property
    def number(self) -> int | None:
        """The load's number in the ledger, for ``--undo`` and ``--list``; None if not recorded."""
        return None if self.load is None else self.load.pk

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons with their counts, the most frequent first."""
        return ReasonCounts(self.rejects).reasons() if self.counted is None else self.counted

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON, with up to 1,000 ``rejects``.

        ``load`` is the load's number, and ``audit`` the list of problems that it found.
        """
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told["rows"] = self.rows
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
        counts = "".join(f", {count:,} {name}" for name, count in self.details.items())
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        number = "" if self.number is None else f" (load {self.number})"
        rows = f"{counted(self.rows, 'row')} of {self.source} into {self.table}"
        return f"{verb} {rows}{counts}{rejected}{number}"

    def __repr__(self) -> str:
        return f"<LoadResult: {self}>"

    def __getstate__(self) -> dict[str, Any]:
        # The log is an open file.
        return {**vars(self), "rejects": tuple(islice(self.rejects, REJECTS_TAKEN))}
