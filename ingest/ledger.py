"""The ledger's pen: what a load did is written in the transaction that has its rows.

What proves which rows are in (chunks, keys, counts, the end) goes over the load's own session and
stands or falls with the rows. What only tells how it goes (progress, a failure) goes over Django's
connection meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from ingest import conf
from ingest.exceptions import LedgerError
from ingest.results import Counts
from ingest.sources.batch import Position
from ingest.table import find_table, quote_db_table, quote_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db import models

    from ingest.models import Load
    from ingest.ranges import Range
    from ingest.rejects import Reject
    from ingest.session import Session

LOCK_CLASS = 0x1A9E57
"""The first number of the advisory locks by which running loads are known."""
PATIENCE_SECONDS = 5.0
"""How long a load waits for the end of a process that was killed, or is about to end."""
PAUSE_SECONDS = 0.1
ENDED = ("loaded", "undone")
"""The states in which nobody goes on with a load."""
MODELS = ("Load", "Chunk", "KeyRange", "KeyList", "Reject")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """What of a load is committed."""

    chunks: int = 0
    counts: Counts = dataclasses.field(default_factory=Counts)
    position: Position = dataclasses.field(default_factory=Position)
    """Where the source goes on."""
    marks: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    """How far the ``log`` and the ``file`` of rejects are written."""
    is_finished: bool = False
    fingerprint: str = ""
    """The file's, since its first chunk is committed."""


def is_recorded_on(session: Session) -> bool:
    """Say whether the ledger's tables are there."""
    if not apps.is_installed("ingest"):
        return False
    return all(find_table(session, _model(name)._meta.db_table) is not None for name in MODELS)


def find_load(number: int, alias: str) -> Load:
    """Find a load by its number, or raise ``LedgerError``."""
    load: Load | None = _model("Load").objects.using(alias).filter(pk=number).first()
    if load is None:
        raise LedgerError(f"There is no load {number} in the ledger of {alias!r}.")
    return load


def begin_alone(session: Session, what: str) -> None:
    """Keep others from beginning the same load until the session's transaction ends."""
    session.fetch(_BEGIN_ALONE, f"ingest begins {what}")


def is_alive(load: Load) -> bool:
    """Say whether some process is at work on a load at this moment.

    Behind a pooler in transaction mode no lock outlives a transaction, so that a load between two
    chunks is not seen.
    """
    with connections[load._state.db or "default"].cursor() as cursor:
        cursor.execute(_IS_LOCKED, [LOCK_CLASS, _lock_number(load.pk)])
        [is_locked] = cursor.fetchone()
    return bool(is_locked)


def keep_still(load: Load) -> bool:
    """Keep others from a load until Django's transaction ends; False: one is at work on it."""
    with connections[load._state.db or "default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, _lock_number(load.pk)]
        )
        [is_ours] = cursor.fetchone()
    return bool(is_ours)


class Entry:
    """A load that is not recorded: nothing is written."""

    load: Load | None = None
    """Its row in the ledger."""

    def lock(self, session: Session) -> None:
        """Let others see that this load is at work, as long as the session lives."""

    def settle(self, session: Session) -> Settled:  # noqa: ARG002
        """Read what of the load is committed."""
        return Settled()

    def begin_chunk(self, session: Session, ordinal: int, first_record: int) -> int:  # noqa: ARG002
        """Write down a chunk in the transaction of its rows; gives its key.

        Its number can be written once only: whoever else is at the same chunk waits here, and fails
        if we commit.
        """
        return 0

    def end_chunk(
        self,
        session: Session,
        chunk: int,
        *,
        ranges: Sequence[Range],
        rejects: Sequence[Reject],
        **facts: Any,
    ) -> None:
        """Complete the chunk, in the same transaction."""

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:
        """Write down keys that are in no short ranges."""

    def tell(self, session: Session, **facts: Any) -> None:
        """Write down facts of the load, in the transaction of a chunk's end."""

    def note(self, **facts: Any) -> bool:  # noqa: ARG002
        """Tell how it goes, over Django's connection; gives whether somebody asked to cancel."""
        return False

    def status(self) -> str | None:
        """Give its status as the ledger has it now."""
        return None

    def read(self) -> Load | None:
        """Read the load as it stands in the ledger now."""
        return None


class LedgerEntry(Entry):
    """One load in the ledger."""

    load: Load

    def __init__(self, load: Load, alias: str) -> None:
        self.load = load
        self._alias = alias
        self._rejects_kept = 0
        self._locked: Session | None = None

    @classmethod
    def begin(cls, session: Session, alias: str, **facts: Any) -> Self:
        """Write down that a load begins."""
        load = _model("Load")(started_at=timezone.now(), **facts)
        load.pk = insert(session, load, alias)
        load._state.adding, load._state.db = False, alias
        return cls(load, alias)

    def lock(self, session: Session) -> None:
        if self._locked is session and session.lasts:
            return
        statement = _LOCK if session.lasts else _LOCK_TRANSACTION
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not session.fetch(statement, LOCK_CLASS, _lock_number(self.load.pk))[0][0]:
            if time.monotonic() > deadline:
                raise LedgerError(
                    f"Another process is at work on load {self.load.pk}: wait for its end, or "
                    "cancel it."
                )
            time.sleep(PAUSE_SECONDS)
        self._locked = session

    def settle(self, session: Session) -> Settled:
        [(chunks, read, loaded, rejected, skipped, kept, status, fingerprint)] = session.fetch(
            _SETTLED.format(**_tables()), self.load.pk
        )
        if status == "undone":  # since it was looked at
            raise LedgerError(f"Load {self.load.pk} is undone: there is nothing to go on with.")
        self._rejects_kept = kept
        last = session.fetch(_LAST_POSITION.format(**_tables()), self.load.pk)
        where = json.loads(last[0][0]) if last else {}
        return Settled(
            chunks=chunks,
            counts=Counts(read=read, loaded=loaded, rejected=rejected, skipped=skipped),
            position=Position(**where.get("source", {})),
            marks=where.get("marks", {}),
            is_finished=status == "loaded",
            fingerprint=fingerprint,
        )

    def begin_chunk(self, session: Session, ordinal: int, first_record: int) -> int:
        chunk = _model("Chunk")(
            load_id=self.load.pk,  # a router may not know that both are on one database
            ordinal=ordinal,
            first_record=first_record,
            last_record=first_record,
            rows=0,
            committed_at=timezone.now(),
        )
        return insert(session, chunk, self._alias)

    def end_chunk(
        self,
        session: Session,
        chunk: int,
        *,
        ranges: Sequence[Range],
        rejects: Sequence[Reject],
        **facts: Any,
    ) -> None:
        facts["committed_at"] = timezone.now()
        self._update(session, _model("Chunk"), chunk, **facts)
        if ranges:
            first, last = zip(*ranges, strict=True)
            session.fetch(
                f"INSERT INTO {_table('KeyRange')} (chunk_id, first, last) "
                "SELECT $1::int8, * FROM unnest($2::int8[], $3::int8[])",
                chunk,
                list(first),
                list(last),
            )
        room = max(conf.rejects_kept() - self._rejects_kept, 0)
        self._keep(session, chunk, rejects[:room])

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:
        session.fetch(
            f"INSERT INTO {_table('KeyList')} (chunk_id, keys) VALUES ($1::int8, $2::text::jsonb)",
            chunk,
            json.dumps(keys),
        )

    def tell(self, session: Session, **facts: Any) -> None:
        self._update(session, _model("Load"), self.load.pk, **facts)

    def note(self, **facts: Any) -> bool:
        rows = _model("Load").objects.using(self._alias).filter(pk=self.load.pk)
        if "status" in facts:  # what is loaded stays so, whatever comes after the commit
            rows = rows.exclude(status__in=ENDED)
        facts["seen_at"] = timezone.now()
        try:
            rows.update(**facts)
        except (InterfaceError, OperationalError):
            if connections[self._alias].in_atomic_block:
                raise
            connections[self._alias].close()  # Django opens another one
            rows.update(**facts)
        return bool(rows.values_list("is_cancel_asked", flat=True).first())

    def status(self) -> str | None:
        rows = _model("Load").objects.using(self._alias).filter(pk=self.load.pk)
        found: str | None = rows.values_list("status", flat=True).first()
        return found

    def read(self) -> Load:
        self.load.refresh_from_db(using=self._alias)
        return self.load

    def _update(self, session: Session, model: Any, key: int, **facts: Any) -> None:
        fields = [model._meta.get_field(name) for name in facts]
        pairs = ", ".join(
            f"{quote_name(field.column)} = ${place}::text::{_cast(field, self._alias)}"
            for place, field in enumerate(fields, 2)
        )
        session.fetch(
            f"UPDATE {quote_db_table(model._meta.db_table)} SET {pairs} WHERE id = $1::int8",
            key,
            *map(_text, facts.values()),
        )

    def _keep(self, session: Session, chunk: int, rejects: Sequence[Reject]) -> None:
        if not rejects:
            return
        names = [field.name for field in dataclasses.fields(rejects[0])]
        kept = [name for name in names if name in _REJECT_FIELDS]
        columns = [
            [None if value is None else _text(value) for value in column]
            for column in ([getattr(reject, name) for reject in rejects] for name in kept)
        ]
        model = _model("Reject")
        casts = ", ".join(
            f"${place}::text[]::{_cast(model._meta.get_field(name), self._alias)}[]"
            for place, name in enumerate(kept, 3)
        )
        session.fetch(
            f"INSERT INTO {_table('Reject')} (load_id, chunk_id, "
            f"{', '.join(map(quote_name, kept))}) "
            f"SELECT $1::int8, $2::int8, * FROM unnest({casts})",
            self.load.pk,
            chunk,
            *columns,
        )
        self._rejects_kept += len(rejects)


_REJECT_FIELDS = {
    *("source", "record", "line", "column", "field", "value", "reason", "kind", "constraint"),
}


class SharedEntry(LedgerEntry):
    """A load that several workers are at, and whose lock their coordinator holds."""

    def lock(self, session: Session) -> None:
        """Leave it to the coordinator."""


def insert(session: Session, row: models.Model, alias: str) -> int:
    """Insert a row over the load's session, and give its key."""
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    names = ", ".join(quote_name(str(field.column)) for field in fields)
    casts = ", ".join(
        f"${place}::text::{_cast(field, alias)}" for place, field in enumerate(fields, 1)
    )
    [(key,)] = session.fetch(
        f"INSERT INTO {quote_db_table(row._meta.db_table)} ({names}) VALUES ({casts}) RETURNING id",
        *(_text(getattr(row, field.attname)) for field in fields),
    )
    return int(key)


def _cast(field: Any, alias: str) -> str:
    """Give the type to cast a text to; a text that is too long is refused, not cut."""
    kind = str(field.db_type(connections[alias]))
    return "text" if kind.startswith("varchar") else kind


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    return (
        value.isoformat()
        if hasattr(value, "isoformat")
        else str(value).replace("\0", "\N{SYMBOL FOR NULL}")
    )


def _model(name: str) -> Any:
    return apps.get_model("ingest", name)


def _table(name: str) -> str:
    return quote_db_table(_model(name)._meta.db_table)


def _tables() -> dict[str, str]:
    return {name.lower(): _table(name) for name in MODELS}


def _lock_number(key: int) -> int:
    return key % 2**31


_IS_LOCKED = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_locks l
  WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
"""
_BEGIN_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))::text"
_LOCK = "SELECT pg_try_advisory_lock($1::int4, $2::int4)"
_LOCK_TRANSACTION = "SELECT pg_try_advisory_xact_lock($1::int4, $2::int4)"
_SETTLED = """
SELECT count(c.id), coalesce(sum(c.rows + c.rejected + c.skipped), 0)::int8,
       coalesce(sum(c.rows), 0)::int8, coalesce(sum(c.rejected), 0)::int8,
       coalesce(sum(c.skipped), 0)::int8,
       (SELECT count(*) FROM {reject} WHERE load_id = $1::int8),
       (SELECT status FROM {load} WHERE id = $1::int8),
       (SELECT fingerprint FROM {load} WHERE id = $1::int8)
FROM {chunk} c WHERE c.load_id = $1::int8
"""
_LAST_POSITION = """
SELECT position::text FROM {chunk} WHERE load_id = $1::int8 ORDER BY ordinal DESC LIMIT 1
"""
