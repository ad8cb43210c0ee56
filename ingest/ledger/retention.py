"""Forgetting old loads: deletes their rows from the ledger and changes no table of the user's."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, transaction
from django.utils import timezone

from ingest.exceptions import ConfigurationError, LedgerError
from ingest.ledger.locks import find_alive, keep_still
from ingest.ledger.models import Load
from ingest.ledger.rows import DjangoConnection, given, model_of, select, table_of, text_of
from ingest.plurals import counted

if TYPE_CHECKING:
    from datetime import datetime

LOADS_AT_A_TIME = 100
"""Loads that are forgotten in one transaction, so that nobody waits long for its locks."""
_OF_CHUNKS = ("KeyRange", "KeyList", "OldRows", "SeenKeys", "PendingRejects")
_OF_LOADS = ("Reject", "LoadProgress", "Chunk")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forgotten:
    """How many of the loads that ended before a moment were forgotten or kept."""

    before: datetime
    """The moment: loads that ended before it are old."""
    loads: int
    """Old loads that were forgotten or, in a dry run, would be."""
    undoable: int
    """Those of them whose rows were loaded: they can no longer be undone."""
    unfinished: int
    """Old loads that are kept because they can be resumed, or never began."""
    at_work: int
    """Old loads that are kept because a process is running them."""
    is_dry_run: bool = False

    def __str__(self) -> str:
        """Return the result as sentences."""
        verb = "Would forget" if self.is_dry_run else "Forgot"
        text = f"{verb} {_loads(self.loads)} that ended before {self.before:%Y-%m-%d %H:%M}."
        if self.undoable:
            can = "could no longer be" if self.is_dry_run else "can no longer be"
            text += (
                f" {_loads(self.undoable)} of these {can} undone, and their files are new to "
                "--on-repeat; the rows stay in their tables."
            )
        kept = []
        if self.unfinished:
            kept.append(f"{_loads(self.unfinished)} not finished: resume or undo them first")
        if self.at_work:
            kept.append(f"{_loads(self.at_work)} that somebody is at work on")
        return text + (f" Kept {'; '.join(kept)}." if kept else "")


def forget_loads(
    older_than: timedelta, *, using: str = DEFAULT_DB_ALIAS, dry_run: bool = False
) -> Forgotten:
    """Delete from the ledger the loads that ended long enough ago, with all their records.

    These records are their chunks, keys, rejects, progress and old values. The rows that they
    loaded stay. A forgotten load cannot be undone, ``Load.rows()`` no longer finds its rows, and
    its file counts as new. Failed loads of which nothing was committed are forgotten, too. Loads
    that can be resumed, wait or run are kept, and their number is reported.

    ``dry_run``: only count. Raise ``LedgerError`` if the ledger cannot be changed; loads that were
    forgotten before the error remain forgotten.
    """
    if older_than <= timedelta(0):
        raise ConfigurationError(f"older_than is {older_than}: it must be more than nothing.")
    try:
        before = timezone.now() - older_than
    except OverflowError:
        raise ConfigurationError(
            f"older_than is {older_than}: no load is that old. Give less, such as 90 days."
        ) from None
    forgotten = undoable = left = 0
    try:
        last = 0
        while True:
            with transaction.atomic(using=using):
                found, last = _next(before, last, using, is_locked=not dry_run)
                if not found:
                    break
                mine = found if dry_run else [load for load in found if keep_still(load)]
                if not dry_run:
                    _delete([load.pk for load in mine], using)
            forgotten += len(mine)
            undoable += sum(load.status == Load.Status.LOADED for load in mine)
        if not dry_run:  # locked by other processes
            sql = _COUNT.format(**_names(using))
            [(left,)] = DjangoConnection(using).fetch(sql, text_of(before))
        kept = select(using, Load, _KEPT.format(**_names(using)), text_of(before))
        running = len(find_alive(kept))
    except IntegrityError as error:
        raise LedgerError(
            f"A load could not be forgotten, because rows of another table refer to it: {error}"
        ) from error
    except DatabaseError as error:
        raise LedgerError(f"The ledger of {using!r} could not be changed: {error}") from error
    return Forgotten(
        before=before,
        loads=forgotten,
        undoable=undoable,
        unfinished=len(kept) - running,
        at_work=running + left,
        is_dry_run=dry_run,
    )


def _next(before: datetime, last: int, using: str, *, is_locked: bool) -> tuple[list[Load], int]:
    """Return the next old loads after the number ``last``, and the last one's number."""
    rest = _FORGETTABLE.format(
        limit=LOADS_AT_A_TIME,
        lock="FOR UPDATE SKIP LOCKED" if is_locked else "",
        **_names(using),
    )
    found = select(using, Load, rest, text_of(before), str(last))
    return found, max((load.pk for load in found), default=last)


def _delete(keys: list[int], using: str) -> None:
    connection, texts = DjangoConnection(using), [str(key) for key in keys]
    if not keys:
        return
    upload = table_of("Upload")
    connection.fetch(_LET_GO.format(table=upload), texts)
    for name in _OF_CHUNKS:
        connection.fetch(_DELETE_OF_CHUNKS.format(table=table_of(name), **_names(using)), texts)
    for name in _OF_LOADS:
        connection.fetch(_DELETE.format(table=table_of(name), key="load_id"), texts)
    connection.fetch(_DELETE.format(table=table_of("Load"), key="id"), texts)


def _names(using: str) -> dict[str, str]:
    moment = given(1, model_of("Load")._meta.get_field("started_at"), using)
    return {
        "before": moment,
        "load": table_of("Load"),
        "chunk": table_of("Chunk"),
        "pending": table_of("PendingRejects"),
    }


def _loads(count: int) -> str:
    return counted(count, "load")


_IS_OLD = """
coalesce(t.ended_at, t.seen_at, t.started_at) OPERATOR(pg_catalog.<) {before}
"""
_IS_OVER = """
(t.status::pg_catalog.text OPERATOR(pg_catalog.=) 'undone'
 OR (t.status::pg_catalog.text OPERATOR(pg_catalog.=) 'loaded'
  AND NOT EXISTS (SELECT FROM {pending} p JOIN {chunk} c
                    ON c.id OPERATOR(pg_catalog.=) p.chunk_id
                  WHERE c.load_id OPERATOR(pg_catalog.=) t.id))
 OR (t.status::pg_catalog.text
       OPERATOR(pg_catalog.=) ANY ('{{failed,interrupted}}'::pg_catalog.text[])
     AND NOT EXISTS (SELECT FROM {chunk} c WHERE c.load_id OPERATOR(pg_catalog.=) t.id)))
"""
"""A load that failed has chunks in the ledger only if their rows are committed."""
_FORGETTABLE = (
    f"WHERE {_IS_OLD} AND {_IS_OVER} AND t.id OPERATOR(pg_catalog.>) $2::bigint "
    "ORDER BY t.id LIMIT {limit} {lock}"
)
_COUNT = f"SELECT pg_catalog.count(*) FROM {{load}} t WHERE {_IS_OLD} AND {_IS_OVER}"
_KEPT = f"WHERE {_IS_OLD} AND NOT {_IS_OVER}"
_LET_GO = """
UPDATE {table} SET load_id = NULL
WHERE load_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::bigint[])
"""
_DELETE_OF_CHUNKS = """
DELETE FROM {table} t USING {chunk} c
WHERE t.chunk_id OPERATOR(pg_catalog.=) c.id
  AND c.load_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::bigint[])
"""
_DELETE = """
DELETE FROM {table} WHERE {key} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::bigint[])
"""
