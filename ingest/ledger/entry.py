"""What is written of a load, and when; a load that is not recorded writes nothing."""

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
    """What of a load is committed."""

    chunks: int = 0
    counts: Counts = dataclasses.field(default_factory=Counts)
    position: Position = dataclasses.field(default_factory=Position)
    """Where the source goes on."""
    bytes_read: int = 0
    """How much of the source that is, for the progress."""
    marks: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """How far the ``log`` and the ``file`` of rejects are written."""
    is_finished: bool = False
    fingerprint: str = ""
    """The file's, since its first chunk is committed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pending:
    """What a chunk refused that is not yet in the reject log and the reject file."""

    chunk: int
    """The chunk's key in the ledger."""
    read: int
    """Records read by its end."""
    log: bytes
    records: bytes


class Entry:
    """A load that is not recorded: nothing is written."""

    is_brief: bool = False
    """Is it written as a whole, by one statement? See ``BriefEntry``."""
    load: Load | None = None
    """Its row in the ledger."""
    rejects_kept: int = 0
    """How many rejects the ledger has of the chunks that are committed."""

    @property
    def may_have_chunks(self) -> bool:
        """Return whether ``settle`` has anything to read, and needs a transaction."""
        return False

    def lock(self, session: Session) -> None:
        """Let others see that this load is at work, as long as the session lives."""

    def settle(self, session: Session) -> Settled:  # noqa: ARG002
        """Read what of the load is committed."""
        return Settled()

    def begin_chunk(
        self,
        session: Session,  # noqa: ARG002
        ordinal: int,  # noqa: ARG002
        first_record: int,  # noqa: ARG002
        table: Table,  # noqa: ARG002
    ) -> int:
        """Write down a chunk in the transaction of its rows; gives its key.

        Its number can be written once only: whoever else is at the same chunk waits here, and fails
        if we commit.
        """
        return 0

    def end_chunk(  # noqa: PLR0913 - what there is to a chunk, each once
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
        """Put the keys of the chunks that are committed into a temporary table.

        Gives the names of the files that were read.
        """
        return []

    def forget_keys(self, session: Session) -> None:
        """Delete the keys that were kept for a load which has ended."""

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:
        """Write down keys that are in no short ranges."""

    def tell(self, session: Session, **facts: Any) -> None:
        """Write down facts of the load, in the transaction of a chunk's end."""

    def note(self, **facts: Any) -> None:
        """Write down facts of the load over Django's connection, between its transactions."""

    def show_progress(self, **facts: Any) -> bool:  # noqa: ARG002
        """Show how far the load is, over Django's connection, at any time.

        Return whether somebody asked to cancel the load.
        """
        return False

    def is_cancel_asked(self) -> bool:
        """Return whether somebody asked to cancel the load."""
        return False

    def ordinals(self, session: Session) -> set[int]:  # noqa: ARG002
        """Return the numbers of the chunks that are in."""
        return set()

    def number_records(self, session: Session) -> None:
        """Count the records before each chunk, where whoever loaded it did not know it."""

    def next_pending(self, session: Session, through: int | None) -> Pending | None:
        """Return the rejects of the first chunk that has such as are not written to the files.

        ``through``: the last chunk that is of interest; None: every one is.
        """

    def end_pending(
        self,
        session: Session,
        pending: Pending,
        rejects: Sequence[Reject],
        marks: Mapping[str, Any],
    ) -> None:
        """Write down that they are in the files now, up to the marks."""

    def status(self) -> str | None:
        """Return its status as the ledger has it now."""
        return None

    def read(self) -> Load | None:
        """Read the load as it stands in the ledger now."""
        return None
