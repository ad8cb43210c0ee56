"""A load whose chunks are loaded by several processes, on one machine or on many.

The database keeps the processes apart and in order; they send each other no messages. The
coordinator holds an advisory lock with a random number, its *run*, for as long as it wants chunks
to be loaded. A process that loads a chunk holds a lock of that chunk until its transaction ends. A
process that waits for a chunk polls the chunk's row and these locks.
"""

from __future__ import annotations

import dataclasses
import secrets
import zlib
from typing import TYPE_CHECKING, Any

from ingest.exceptions import LedgerError
from ingest.ledger.entries import SUMS, LedgerEntry, refuse_undone
from ingest.ledger.rows import DjangoConnection, table_of
from ingest.postgres.base import END_MILLISECONDS
from ingest.results import Counts

if TYPE_CHECKING:
    from ingest.ledger.models import Load
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

RUN_CLASS = 0x1A9E58
"""The first number of the advisory locks that coordinators hold."""
PIECE_BYTES = 8 << 20
"""The most bytes of refused records in one row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Before:
    """What has been committed before a chunk."""

    read: int
    """Records read."""
    refused: int | None
    """Those of them that were refused; None if the chunk before does not record it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkState:
    """The state of a chunk in the ledger."""

    status: str
    """The status of the load."""
    own: Counts | None
    """The counts of the chunk's records, if it is committed."""
    before: Before | None
    """None if the chunk before is not committed."""
    is_wanted: bool
    """Whether the coordinator still wants chunks to be loaded; True if that was not asked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Which other processes run the load, as shown by their locks."""

    is_wanted: bool
    """Whether the coordinator still wants chunks to be loaded."""
    is_first_loaded: bool
    """Whether a process is loading the first chunk that is not committed: all others wait for it.
    """
    is_in_the_way: bool
    """Whether an earlier chunk is waiting for this session."""


def begin_run(session: Session) -> int:
    """Allow chunks to be loaded while the session lives, or until ``end_run``.

    Return the run's number: 0 behind a pooler in transaction mode, where no lock outlives a
    transaction.
    """
    number = secrets.randbelow(2**31 - 1) + 1
    if not session.lasts:
        return 0
    session.fetch(_BEGIN_RUN, RUN_CLASS, number)
    return number


def end_run(session: Session, load: Load, number: int) -> None:
    """Prevent chunks from being begun, and terminate the backends that are loading one."""
    session.fetch(_END_RUN, RUN_CLASS, number)
    end_chunks(session, load)


def end_chunks(session: Session, load: Load) -> None:
    """Terminate the backends that are loading a chunk."""
    session.terminate(_END_CHUNKS.format(locks=_LOCKS), chunk_class(load), END_MILLISECONDS)


def is_loading(load: Load, alias: str) -> bool:
    """Return whether a process is loading a chunk of the load, perhaps without a coordinator."""
    rows = DjangoConnection(alias).fetch(f"SELECT EXISTS ({_LOCKS})", chunk_class(load))
    return bool(rows[0][0])


def chunk_class(load: Load) -> int:
    """Return the first number of the advisory locks of a load's chunks."""
    path = (load.session_state or {}).get("settings", {}).get("search_path", "")
    return zlib.crc32(f"chunks of load {load.pk} of {path}".encode()) % 2**31


class SharedEntry(LedgerEntry):
    """A load in the processes that load its chunks; the coordinator holds its lock."""

    def __init__(self, load: Load, alias: str, run: int) -> None:
        super().__init__(load, alias)
        self._run = run
        self._class = chunk_class(load)
        self._chunk = 0

    def lock(self, session: Session) -> None:
        """Do nothing: the coordinator holds the lock."""

    def lock_of(self, ordinal: int) -> str:
        """Return the statement that waits until no other process loads the chunk.

        It is the first of its transaction, which does not yet hold anything that others could wait
        for.
        """
        return f"SELECT pg_catalog.pg_advisory_xact_lock({self._class}, {ordinal % 2**31})"

    def look(self, ordinal: int, *, asks_run: bool = False) -> ChunkState:
        """Return what is committed now, read over Django's connection.

        That connection also sees what was committed in the meantime. ``asks_run``: check, too,
        whether the coordinator is still running.
        """
        rows = DjangoConnection(self._alias).fetch(
            _LOOK.format(load=table_of("Load"), chunk=table_of("Chunk"), counts=_COUNTS, run=_RUN),
            self.load.pk,
            ordinal,
            asks_run and self._run > 0,
            RUN_CLASS,
            self._run,
        )
        if not rows:
            raise LedgerError(f"Load {self.load.pk} is no longer in the ledger.")
        status, is_wanted, own, last_record, refused, *counts = rows[0]
        before = None
        if last_record is not None or ordinal == 1:
            before = Before(read=last_record or 0, refused=0 if ordinal == 1 else refused)
        return ChunkState(
            status=status,
            own=None if own is None else Counts(**dict(zip(SUMS, counts, strict=True))),
            before=before,
            is_wanted=is_wanted,
        )

    def refuse_undone(self, status: str) -> None:
        """Raise ``LedgerError`` if the load was undone since it was last read."""
        refuse_undone(self.load, status)

    def neighbours(self, ordinal: int, pid: int) -> Neighbours:
        """Return who is running; ``pid`` is the backend that loads this chunk."""
        [(is_wanted, is_first_loaded, is_in_the_way)] = DjangoConnection(self._alias).fetch(
            _NEIGHBOURS.format(chunk=table_of("Chunk")),
            *(self._class, ordinal, pid, RUN_CLASS, self._run, self.load.pk),
        )
        return Neighbours(
            is_wanted=is_wanted or not self._run,
            is_first_loaded=is_first_loaded,
            is_in_the_way=is_in_the_way,
        )

    def begin_chunk(self, session: Session, ordinal: int, first_record: int, table: Table) -> int:
        self._chunk = super().begin_chunk(session, ordinal, first_record, table)
        return self._chunk

    def end_chunk(self, session: Session, chunk: int, **facts: Any) -> None:
        """Complete the chunk except for its rejects, which the coordinator records in order."""
        super().end_chunk(session, chunk, **{**facts, "rejects": ()})

    def keep_rejects(self, session: Session, log: bytes, records: bytes) -> None:
        """Record the chunk's rejects in its transaction."""
        for start in range(0, max(len(log), len(records)), PIECE_BYTES):
            piece = slice(start, start + PIECE_BYTES)
            session.fetch(
                f"INSERT INTO {table_of('PendingRejects')} (chunk_id, log, records) "
                "VALUES ($1::bigint, $2::pg_catalog.bytea, $3::pg_catalog.bytea)",
                self._chunk,
                log[piece],
                records[piece],
            )


_BEGIN_RUN = "SELECT pg_catalog.pg_advisory_lock($1::integer, $2::integer)::pg_catalog.text"
_END_RUN = "SELECT pg_catalog.pg_advisory_unlock($1::integer, $2::integer)"
_LOCKS = """
SELECT l.pid, l.objid::bigint AS ordinal FROM pg_catalog.pg_locks l
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted
  AND l.classid::bigint OPERATOR(pg_catalog.=) $1::bigint
  AND l.objsubid OPERATOR(pg_catalog.=) 2::smallint
  AND l.database OPERATOR(pg_catalog.=) (
    SELECT d.oid FROM pg_catalog.pg_database d
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
"""
"""The locks of chunks that are being loaded."""
_END_CHUNKS = """
SELECT pg_catalog.pg_terminate_backend(l.pid, $2::bigint) FROM ({locks}) l
WHERE l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
"""
_RUN = """EXISTS (
    SELECT FROM pg_catalog.pg_locks l
    WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted
      AND l.classid::bigint OPERATOR(pg_catalog.=) $4::bigint
      AND l.objid::bigint OPERATOR(pg_catalog.=) $5::bigint
      AND l.objsubid OPERATOR(pg_catalog.=) 2::smallint
      AND l.database OPERATOR(pg_catalog.=) (
        SELECT d.oid FROM pg_catalog.pg_database d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"""
_COUNTS = ", ".join(f"({count})::bigint" for count in SUMS.values())
_LOOK = """
SELECT l.status::pg_catalog.text, CASE WHEN $3::boolean THEN {run} ELSE true END,
       c.id, b.last_record,
       (b.position OPERATOR(pg_catalog.->>) 'refused')::bigint,
       {counts}
FROM {load} l
LEFT JOIN {chunk} c ON c.load_id OPERATOR(pg_catalog.=) l.id
  AND c.ordinal OPERATOR(pg_catalog.=) $2::bigint
LEFT JOIN {chunk} b ON b.load_id OPERATOR(pg_catalog.=) l.id
  AND b.ordinal OPERATOR(pg_catalog.=) ($2::bigint OPERATOR(pg_catalog.-) 1::bigint)
WHERE l.id OPERATOR(pg_catalog.=) $1::bigint
"""
# An indirect wait for this session counts too: other sessions may be in between.
_NEIGHBOURS = f"""
WITH RECURSIVE chunks AS ({_LOCKS}), waiting (pid) AS (
    SELECT c.pid FROM chunks c WHERE c.ordinal OPERATOR(pg_catalog.<) $2::bigint
  UNION
    SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) FROM waiting w
    WHERE w.pid OPERATOR(pg_catalog.<>) $3::integer
)
SELECT {_RUN},
       EXISTS (SELECT FROM chunks c
               WHERE c.ordinal OPERATOR(pg_catalog.=) (
                 SELECT coalesce(pg_catalog.max(k.ordinal), 0) OPERATOR(pg_catalog.+) 1
                 FROM {{chunk}} k WHERE k.load_id OPERATOR(pg_catalog.=) $6::bigint)::bigint),
       EXISTS (SELECT FROM waiting w WHERE w.pid OPERATOR(pg_catalog.=) $3::integer)
"""
