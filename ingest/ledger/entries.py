"""A load in the ledger, written over the load's own session or over Django's connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self, cast

from django.apps import apps
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from ingest import conf
from ingest.exceptions import LedgerError
from ingest.ledger.entry import Entry, Pending, Settled
from ingest.ledger.inserters import INSERTER, identify
from ingest.ledger.locks import at_work, lock
from ingest.ledger.old_rows import keep_old_rows
from ingest.ledger.ownership import full_ids
from ingest.ledger.place import find_ledger
from ingest.ledger.rows import (
    MODELS,
    DjangoConnection,
    insert,
    insert_many,
    insert_returning,
    model_of,
    select,
    table_of,
    update,
)
from ingest.ledger.seen_keys import forget_seen_keys, keep_seen_keys, recall_seen_keys
from ingest.postgres.catalog import quote_name
from ingest.results import Counts
from ingest.sources.batch import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ingest.ledger.inserters import Inserters
    from ingest.ledger.models import Load
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.ranges import Range

_HAS_NOT_ENDED = "status OPERATOR(pg_catalog.<>) ALL ('{loaded,undone}'::pg_catalog.text[])"


def is_recorded_on(session: Session) -> bool:
    """Return whether the ledger's tables exist."""
    return bool(find_whole_ledger(session))


def find_whole_ledger(session: Session) -> Mapping[str, str]:
    """Return the qualified names of the ledger's tables, or none if one of them is missing."""
    found = find_ledger(session) if apps.is_installed("ingest") else {}
    return found if len(found) == len(MODELS) else {}


def find_load(number: int, alias: str) -> Load:
    """Return the load with this number, or raise ``LedgerError``."""
    # A greater number is no bigint, and PostgreSQL would refuse the query.
    rows = select(alias, model_of("Load"), _OF_NUMBER, number) if abs(number) < 2**63 else []
    if not rows:
        raise LedgerError(f"There is no load {number} in the ledger of {alias!r}.")
    return cast("Load", rows[0])


class LedgerEntry(Entry):
    """One load in the ledger."""

    load: Load

    def __init__(self, load: Load, alias: str) -> None:
        self.load = load
        self._alias = alias
        self.rejects_kept = 0
        self._locked: Session | None = None
        self._is_new = False
        """Whether this process began the load and has committed nothing yet."""
        self._ledger: Mapping[str, str] = {}
        self._identified: Session | None = None
        self._identity = ""
        self._top = self._xmin = 0
        """The ids of the top-level transaction and of the chunk's (sub)transaction."""

    @classmethod
    def begin(
        cls, session: Session, alias: str, ledger: Mapping[str, str] | None = None, **facts: Any
    ) -> Self:
        """Record that a load begins; ``ledger`` are its tables, where they are known."""
        now = timezone.now()
        load = model_of("Load")(started_at=now, seen_at=now, **facts)
        load.pk = insert(session, load, alias)
        load._state.adding, load._state.db = False, alias
        entry = cls(load, alias)
        entry._is_new = True
        entry._ledger = ledger or find_ledger(session)
        return entry

    @property
    def may_have_chunks(self) -> bool:
        return not self._is_new

    def lock(self, session: Session) -> None:
        if self._locked is session and session.lasts:
            return
        lock(session, self.load)
        self._locked = session

    def settle(self, session: Session) -> Settled:
        if self._is_new:
            self._is_new = False  # what follows may be committed
            return Settled()
        self._ledger = self._ledger or find_ledger(session)
        tables = {name.lower(): table_of(name) for name in MODELS}
        [found] = session.fetch(_SETTLED.format(sums=_SUMMED, **tables), self.load.pk)
        chunks, kept, status, fingerprint, position, marks, *sums = found
        refuse_undone(self.load, status)
        self.rejects_kept = kept
        where = json.loads(position) if position else {}
        return Settled(
            chunks=chunks,
            counts=Counts(**dict(zip(SUMS, sums, strict=True))),
            position=Position(**where.get("source", {})),
            bytes_read=where.get("bytes", 0),
            marks=json.loads(marks) if marks else {},
            is_finished=status == "loaded",
            fingerprint=fingerprint,
        )

    def begin_chunk(self, session: Session, ordinal: int, first_record: int, table: Table) -> int:
        chunk = model_of("Chunk")(
            load_id=self.load.pk,  # a router may not know that both are on one database
            ordinal=ordinal,
            first_record=first_record,
            last_record=first_record,
            inserted=0,
            committed_at=timezone.now(),
        )
        inserted = insert_returning(session, chunk, self._alias, INSERTER, is_ignored=True)
        if not inserted:
            raise at_work(self.load)  # it has committed the chunk
        key, self._top, self._xmin = inserted
        if self._identified is not session:
            self._identity = identify(session, table)
            self._identified = session
        return int(key)

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
        if ranges:
            first, last = zip(*ranges, strict=True)
            session.fetch(
                f"INSERT INTO {table_of('KeyRange')} (chunk_id, first, last) "
                "SELECT $1::bigint, given.* FROM ROWS FROM ("
                "pg_catalog.unnest($2::pg_catalog.text[]::bigint[]), "
                "pg_catalog.unnest($3::pg_catalog.text[]::bigint[])) AS given",
                chunk,
                list(map(str, first)),  # asyncpg looks up other array types in the catalog
                list(map(str, last)),
            )
        facts["committed_at"] = timezone.now()
        if self._identity:
            raw = {self._xmin, *inserters.read(session, chunk, has_ranges=bool(ranges))}
            facts["transactions"] = full_ids(self._top, raw)
            facts["table_identity"] = self._identity
        update(session, self._alias, model_of("Chunk"), chunk, **facts)
        if old_values is not None:
            keep_old_rows(session, chunk, old_values)
        if seen is not None:
            keep_seen_keys(session, chunk, seen.tables.noted, seen.sources)
        self._keep(session, chunk, rejects)

    def _keep(self, session: Session, chunk: int, rejects: Sequence[Reject]) -> None:
        """Record rejects, up to the number that the ledger keeps."""
        kept = rejects[: max(conf.rejects_kept() - self.rejects_kept, 0)]
        if kept:
            common = {"load_id": self.load.pk, "chunk_id": chunk}
            told = list(map(vars, kept))
            insert_many(session, self._alias, model_of("Reject"), common, told)
            self.rejects_kept += len(kept)

    def ordinals(self, session: Session) -> set[int]:
        sql = _ORDINALS.format(chunk=table_of("Chunk"))
        return {ordinal for (ordinal,) in session.fetch(sql, self.load.pk)}

    def number_records(self, session: Session) -> None:
        sql = _NUMBER_RECORDS.format(chunk=table_of("Chunk"), read=SUMS["read"])
        session.fetch(sql, self.load.pk)

    def next_pending(self, session: Session, through: int | None) -> Pending | None:
        tables = {name.lower(): table_of(name) for name in MODELS}
        rows = session.fetch(_PENDING.format(**tables), self.load.pk, through)
        if not rows:
            return None
        chunk, last_record, _, _ = rows[0]
        logs, records = zip(*(row[2:] for row in rows), strict=True)
        return Pending(chunk=chunk, read=last_record, log=b"".join(logs), records=b"".join(records))

    def end_pending(
        self,
        session: Session,
        pending: Pending,
        rejects: Sequence[Reject],
        marks: Mapping[str, Any],
    ) -> None:
        room = max(conf.rejects_kept() - self.rejects_kept, 0)
        self._keep(session, pending.chunk, [reject.kept() for reject in rejects[:room]])
        told = json.dumps({"marks": marks})
        session.fetch(_MARK.format(chunk=table_of("Chunk")), pending.chunk, told)
        session.fetch(_NOT_PENDING.format(rejects=table_of("PendingRejects")), pending.chunk)

    def recall_keys(self, session: Session, seen: str, keys: str) -> list[str]:
        return recall_seen_keys(session, self.load.pk, seen, keys)

    def forget_keys(self, session: Session) -> None:
        forget_seen_keys(session, self.load.pk)

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:
        session.fetch(
            f"INSERT INTO {table_of('KeyList')} (chunk_id, keys) "
            "VALUES ($1::bigint, $2::pg_catalog.text::pg_catalog.jsonb)",
            chunk,
            json.dumps(keys),
        )

    def tell(self, session: Session, **facts: Any) -> None:
        update(session, self._alias, model_of("Load"), self.load.pk, **facts)

    def note(self, **facts: Any) -> None:
        # A load that is committed keeps its status, whatever happens afterwards.
        condition = _HAS_NOT_ENDED if "status" in facts else "true"
        facts["seen_at"] = timezone.now()
        self._patiently(
            lambda: update(
                DjangoConnection(self._alias),
                self._alias,
                model_of("Load"),
                self.load.pk,
                condition=condition,
                into=self._table("Load"),
                **facts,
            )
        )

    def show_progress(self, **facts: Any) -> bool:
        facts["seen_at"] = timezone.now()
        connection, model = DjangoConnection(self._alias), model_of("LoadProgress")
        into = self._table("LoadProgress")

        def show() -> None:
            if not update(connection, self._alias, model, self.load.pk, into=into, **facts):
                insert(connection, model(load_id=self.load.pk, **facts), self._alias, into)

        self._patiently(show)
        return self.is_cancel_asked()

    def _table(self, name: str) -> str:
        """Return a table's name with its schema.

        Django's search path may have changed: a generator that is being read can change it.
        """
        return self._ledger.get(name) or table_of(name)

    def _patiently(self, write: Callable[[], Any]) -> None:
        """Write over Django's connection, and retry once if the connection was lost."""
        wrapper = connections[self._alias]
        try:
            write()
        except (InterfaceError, OperationalError):
            if wrapper.in_atomic_block:
                raise
            if not wrapper.is_usable():
                wrapper.close()  # Django opens another one
            write()

    def is_cancel_asked(self) -> bool:
        return bool(self._ask("is_cancel_asked"))

    def status(self) -> str | None:
        found = self._ask("status")
        return None if found is None else str(found)

    def _ask(self, column: str) -> Any:
        """Read one column of the load over Django's connection; None if the load is gone."""
        rows = DjangoConnection(self._alias).fetch(
            f"SELECT {quote_name(column)} FROM {self._table('Load')} "
            "WHERE id OPERATOR(pg_catalog.=) $1::bigint",
            self.load.pk,
        )
        return rows[0][0] if rows else None

    def read(self) -> Load:
        [found] = select(
            self._alias, model_of("Load"), _OF_NUMBER, self.load.pk, table=self._table("Load")
        )
        self.load.__dict__.update(found.__dict__)
        return self.load


def refuse_undone(load: Load, status: str | None) -> None:
    """Raise ``LedgerError`` if a load was undone or forgotten since it was last read."""
    if status is None:
        raise LedgerError(f"Load {load.pk} is no longer in the ledger: it was forgotten.")
    if status == "undone":
        raise LedgerError(f"Load {load.pk} is undone: there is nothing to resume.")


_OF_NUMBER = "WHERE t.id OPERATOR(pg_catalog.=) $1::bigint"
_READ = ("inserted", "updated", "unchanged", "ignored", "rejected", "skipped")
"""The results that a record can have."""
SUMS = {
    "read": " OPERATOR(pg_catalog.+) ".join(f"c.{name}" for name in _READ),
    **{name: f"c.{name}" for name in (*_READ, "padded", "cut", "deleted")},
}
"""The expression over the columns of a chunk that computes each count."""
# One statement: another process may commit a chunk between two. Not every chunk has marks: a chunk
# that a worker loaded gets them when its rejects are written.
_SETTLED = """
SELECT pg_catalog.count(c.id),
       (SELECT pg_catalog.count(*) FROM {reject}
        WHERE load_id OPERATOR(pg_catalog.=) $1::bigint),
       (SELECT status FROM {load} WHERE id OPERATOR(pg_catalog.=) $1::bigint),
       (SELECT fingerprint FROM {load} WHERE id OPERATOR(pg_catalog.=) $1::bigint),
       (SELECT position::pg_catalog.text FROM {chunk}
        WHERE load_id OPERATOR(pg_catalog.=) $1::bigint ORDER BY ordinal DESC LIMIT 1),
       (SELECT (position OPERATOR(pg_catalog.->) 'marks')::pg_catalog.text FROM {chunk}
        WHERE load_id OPERATOR(pg_catalog.=) $1::bigint
          AND pg_catalog.jsonb_exists(position, 'marks')
        ORDER BY ordinal DESC LIMIT 1),
       {sums}
FROM {chunk} c WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint
"""
_SUMMED = ",\n       ".join(
    f"coalesce(pg_catalog.sum({count}), 0)::bigint" for count in SUMS.values()
)
_ORDINALS = "SELECT ordinal FROM {chunk} WHERE load_id OPERATOR(pg_catalog.=) $1::bigint"
_NUMBER_RECORDS = """
UPDATE {chunk} t
SET first_record = s.through OPERATOR(pg_catalog.-) s.read OPERATOR(pg_catalog.+) 1::bigint,
    last_record = s.through
FROM (SELECT c.id, ({read})::bigint AS read,
             pg_catalog.sum({read}) OVER (ORDER BY c.ordinal)::bigint AS through
      FROM {chunk} c WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint) s
WHERE t.id OPERATOR(pg_catalog.=) s.id
"""
_PENDING = """
SELECT p.chunk_id, f.last_record, p.log, p.records
FROM {pendingrejects} p
JOIN (SELECT c.id, c.last_record FROM {chunk} c
      WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint
        AND c.ordinal OPERATOR(pg_catalog.<=) coalesce($2::bigint, c.ordinal)
        AND EXISTS (SELECT FROM {pendingrejects} e WHERE e.chunk_id OPERATOR(pg_catalog.=) c.id)
      ORDER BY c.ordinal LIMIT 1) f ON f.id OPERATOR(pg_catalog.=) p.chunk_id
ORDER BY p.id
"""
_MARK = """
UPDATE {chunk} SET position =
  position OPERATOR(pg_catalog.||) $2::pg_catalog.text::pg_catalog.jsonb
WHERE id OPERATOR(pg_catalog.=) $1::bigint
"""
_NOT_PENDING = "DELETE FROM {rejects} WHERE chunk_id OPERATOR(pg_catalog.=) $1::bigint"
