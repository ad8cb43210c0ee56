"""The interface through which a load is recorded; a load that is not recorded writes nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.results import Counts
from ingest.sources.batch import Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.ledger.inserters import Inserters
    from ingest.ledger.models import Load
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.ranges import Range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """What has been committed of a load."""

    chunks: int = 0
    counts: Counts = dataclasses.field(default_factory=Counts)
    position: Position = dataclasses.field(default_factory=Position)
    """The position from which the source continues."""
    bytes_read: int = 0
    """Bytes of the source up to this position, for the progress."""
    marks: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """How far the reject ``log`` and the reject ``file`` are written."""
    is_finished: bool = False
    fingerprint: str = ""
    """The file's fingerprint, recorded since the load's first chunk was committed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending:
    """Rejects of a chunk that are not yet in the reject log and the reject file."""

    chunk: int
    """The chunk's key in the ledger."""
    read: int
    """Records read up to the end of the chunk."""
    log: bytes
    records: bytes


class Entry:
    """A load that is not recorded: nothing is written."""

    is_brief: bool = False
    """Whether it is written as a whole, by one statement; see ``BriefEntry``."""
    load: Load | None = None
    """Its row in the ledger."""
    rejects_kept: int = 0
    """How many rejects of committed chunks the ledger has."""

    @property
    def may_have_chunks(self) -> bool:
        """Return whether ``settle`` may find committed chunks, and so needs a transaction."""
        return False

    def lock(self, session: Session) -> None:
        """Show other processes that this load is running, for as long as the session lives."""

    def settle(self, session: Session) -> Settled:  # noqa: ARG002
        """Read what has been committed of the load."""
        return Settled()

    def begin_chunk(
        self,
        session: Session,  # noqa: ARG002
        ordinal: int,  # noqa: ARG002
        first_record: int,  # noqa: ARG002
        table: Table,  # noqa: ARG002
    ) -> int:
        """Record a chunk in the transaction of its rows and return its key.

        The ledger accepts a chunk's number once only. Another process that loads the same chunk
        waits here, and fails if we commit.
        """
        return 0

    def end_chunk(  # noqa: PLR0913 - the facts of a chunk
        self,
        session: Session,
        chunk: int,
        *,
        ranges: Sequence[Range],
        rejects: Sequence[Reject],
        inserters: Inserters,
        old_values: OldValues | None = None,
        seen: SeenKeys | None = None,
        **facts: Any,
    ) -> None:
        """Complete the chunk, in the same transaction."""

    def recall_keys(self, session: Session, seen: str, keys: str) -> list[str]:  # noqa: ARG002
        """Put the keys of the committed chunks into a temporary table.

        Return the names of the files that were read.
        """
        return []

    def forget_keys(self, session: Session) -> None:
        """Delete the keys that were kept for the load, which has ended."""

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:
        """Record keys that do not form short ranges."""

    def tell(self, session: Session, **facts: Any) -> None:
        """Record facts of the load in the transaction that ends a chunk."""

    def note(self, **facts: Any) -> None:
        """Record facts of the load over Django's connection, between its transactions."""

    def show_progress(self, **facts: Any) -> bool:  # noqa: ARG002
        """Record the progress of the load over Django's connection, at any time.

        Return whether somebody asked to cancel the load.
        """
        return False

    def is_cancel_asked(self) -> bool:
        """Return whether somebody asked to cancel the load."""
        return False

    def ordinals(self, session: Session) -> set[int]:  # noqa: ARG002
        """Return the numbers of the committed chunks."""
        return set()

    def number_records(self, session: Session) -> None:
        """Assign record numbers to the chunks that were loaded without them."""

    def next_pending(self, session: Session, through: int | None) -> Pending | None:
        """Return the rejects of the first chunk whose rejects are not all in the files yet.

        ``through`` is the last chunk to consider; None considers all.
        """

    def end_pending(
        self,
        session: Session,
        pending: Pending,
        rejects: Sequence[Reject],
        marks: Mapping[str, Any],
    ) -> None:
        """Record that these rejects are in the files now, up to the marks."""

    def status(self) -> str | None:
        """Return the load's current status in the ledger."""
        return None

    def read(self) -> Load | None:
        """Read the load from the ledger again."""
        return None
