"""Workers that load the chunks of one source side by side, and commit them in the source's order.

What is in is at any moment what one worker alone would have put in by then: the chunks before some
record, and none after it. A chunk whose rows are sent waits, in its open transaction, for its turn.
Where it thereby keeps an earlier one waiting (both have the same unique key) it makes way.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from ingest.exceptions import IngestError
from ingest.member import Member
from ingest.results import Counts
from ingest.table import read_settled_table
from ingest.tasks import Again, Assignment, Commit, Committed, Failed, Ready, Seen, Sent, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.fingerprints import Fingerprint
    from ingest.job import Job
    from ingest.ledger import Entry, Settled
    from ingest.reject_file import RejectFile
    from ingest.reject_log import RejectLog
    from ingest.reporting import Reporter
    from ingest.session import Session
    from ingest.sources import Position, Source
    from ingest.table import Table

LOOK_SECONDS = 0.2
"""How often it is looked whether one chunk stands in another's way."""


def why_alone(job: Job, source: Source, session: Session, entry: Entry) -> str | None:
    """Say why one worker must do it all, or give None."""
    if session.is_callers:
        return "the rows must go over the caller's connection."
    if entry.load is None:
        return "the load is not recorded."
    if not getattr(settings, "SETTINGS_MODULE", None):
        return "another process cannot find the settings: DJANGO_SETTINGS_MODULE is not set."
    if job.layout is not None and job.layout.continuation is not None:
        return "the layout puts records together, which might be cut apart."
    if not source.paths or source.find_ends(entry_start(), 1) is None:
        return f"{source.name} must be read from its beginning to be cut into chunks."
    return None


class Team:
    """One try at a load by several workers, from what is committed of it to its end."""

    def __init__(  # noqa: PLR0913 - as a Run
        self,
        job: Job,
        source: Source,
        session: Session,
        *,
        entry: Entry,
        log: RejectLog,
        file: RejectFile | None,
        fingerprint: Fingerprint,
        reporter: Reporter,
    ) -> None:
        self._job = job
        self._source = source
        self._session = session
        self._entry = entry
        self._log = log
        self._file = file
        self._fingerprint = fingerprint
        self._reporter = reporter
        self._decisions: dict[str, None] = {}
        self._members: list[Member] = []
        self._turn = 0
        self._marks: dict[str, dict[str, int]] = {}
        self.table: Table
