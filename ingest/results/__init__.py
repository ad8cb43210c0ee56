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

    counts: Counts
    """What became of the records so far: those whose rows PostgreSQL has accepted, and those that
    are out. Records that were read ahead are not among them."""
    bytes_read: int
    """Bytes of the source that these records are, and what stands between them; of a compressed
    file, a Parquet file or a workbook a share of its size. 0 where it is not made of bytes."""
    bytes_total: int | None
    """The source's size in bytes, where it is known."""
    rows_before: int = 0
    """Records among these that were committed before this run of the load, which resumed it."""

    @property
    def rows(self) -> int:
        """Records that the load is done with."""
        return self.counts.read

    @property
    def rejected(self) -> int:
        """Records refused until now."""
        return self.counts.rejected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Records by what became of them.

    ``read = inserted + updated + unchanged + ignored + rejected + skipped``
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    """Records that changed a row that the table had."""
    unchanged: int = 0
    """Records whose row the table had with the same values: it was not written."""
    ignored: int = 0
    """Records whose row the table had, and that were told to leave it as it is."""
    rejected: int = 0
    skipped: int = 0
    """Records that the layout, the options or a later record of the same key left out."""
    padded: int = 0
    """Records with too few cells that got empty ones; they are counted above as well."""
    cut: int = 0
    """Records with too many cells that lost the surplus ones; counted above as well."""
    deleted: int = 0
    """Rows that the table had and the source did not, and that were deleted. No records."""

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
        """Records of which it is known what became of them."""
        settled = self.inserted + self.updated + self.unchanged + self.ignored
        return settled + self.rejected + self.skipped

    @property
    def loaded(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated


def details_of(counts: Any) -> dict[str, int]:
    """Return how many rows were inserted, updated and so on, as far as any were.

    It is empty where none was anything but inserted, because then that is the number of rows.
    ``counts`` is anything that has these counts: a ``LoadResult``, or a load of the ledger.
    """
    named = {name: getattr(counts, name) for name in DETAILS}
    if not any(count for name, count in named.items() if name != "inserted"):
        return {}
    return {name: count for name, count in named.items() if count}


DETAILS = ("inserted", "updated", "unchanged", "ignored", "deleted")
"""The counts that say what became of rows, in the order in which they are told."""
REPEATED = "The same file "
"""How the decision begins that says that a file was loaded before."""
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
    inserted: int
    """Rows that the table did not have before."""
    updated: int = 0
    """Rows that the table had and that were changed."""
    unchanged: int = 0
    """Records whose row the table had with the same values: it was not written."""
    ignored: int = 0
    """Records whose row the table had and kept, as asked."""
    read: int
    """Records that the source had:
    ``inserted + updated + unchanged + ignored + rejected + skipped``."""
    rejected: int
    """Records that were refused."""
    skipped: int
    """Records that the layout or the options said to leave out."""
    deleted: int = 0
    """Rows that the table had and the source did not, and that were deleted as asked."""
    padded: int = 0
    """Records that had too few cells and got empty ones, as ``lenient`` asks. They are counted
    above by what became of them."""
    cut: int = 0
    """Records that had too many cells and lost the surplus ones, whatever these held."""
    rejects: Iterable[Reject]
    """The reasons, one ``Reject`` each, in the order of the records: iterate over it."""
    is_dry_run: bool
    """Whether everything was rolled back, as asked."""
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
        """What is hardly what was meant, of the ``decisions``.

        Values were stored as the ORM would have stored them, or the file was loaded before.
        """
        return tuple(each for each in self.decisions if each.startswith(("Warning: ", REPEATED)))

    reject_log: str = ""
    """The absolute path of all reasons, as JSON Lines; empty where none was asked for."""
    reject_file: str = ""
    """The absolute path of the refused records; empty where none was asked for."""

    counted: tuple[Reason, ...] | None = None
    """What ``reasons`` gives, where the load has counted them."""

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
        """What became of the records that were not refused, by its name; empty: inserted, all."""
        return details_of(self)

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
        rows = f"{self.rows:,} rows of {self.source} into {self.table}"
        return f"{verb} {rows}{counts}{rejected}{number}"

    def __repr__(self) -> str:
        return f"<LoadResult: {self}>"

    def __getstate__(self) -> dict[str, Any]:
        # The log is an open file.
        return {**vars(self), "rejects": tuple(islice(self.rejects, REJECTS_TAKEN))}
