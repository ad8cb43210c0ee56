"""Taking a load's rows away again: exactly these, or none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, IntegrityError, OperationalError, connections, transaction
from django.utils import timezone

from ingest.exceptions import LedgerError
from ingest.ledger.entries import find_load
from ingest.ledger.locks import keep_still
from ingest.ledger.models import KeyList, Load
from ingest.ledger.ownership import read_ownership
from ingest.ledger.place import in_place_of
from ingest.ledger.referrers import find_referrers, lock_cascading_tables
from ingest.postgres.catalog import quote_db_table

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from ingest.ledger.ownership import Ownership, RowSet

KEYS_SHOWN = 5
"""So many rows that are kept are named."""
CANNOT_SERIALIZE = "40001"
"""PostgreSQL's SQLSTATE of a row that was changed meanwhile, in a stricter isolation level."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UndoPlan:
    """What an undo of a load would delete, and what it would keep."""

    load: Load
    model: str
    """The model's label."""
    source: str
    """The file as it was named, or the kind of iterable."""
    day: dt.date
    """When the load began, in the current time zone."""
    rows: int
    """Rows that the load inserted."""
    deletable: int
    """Rows that are as the load inserted them."""
    changed: int
    """Rows that have a key of the load and are not as it inserted them: somebody has updated them,
    or has given their keys to other rows. They are never deleted."""
    gone: int
    """Rows of the load whose keys no row has any more."""
    changed_keys: tuple[str, ...] = ()
    """The keys of a few of the rows that were changed."""
    may_be_hidden: bool = False
    """Do policies of the table hold for the role? Then rows that are gone may only be hidden."""
    reason: str | None = None
    """Why no row can be proved to be the load's; None where that is possible."""

    @property
    def refusal(self) -> str | None:
        """Why the load is not undone without being told to keep changed rows; None: it is."""
        return self._refuse(keep_changed=False)

    def check(self, *, keep_changed: bool) -> None:
        """Raise ``LedgerError`` where the load must not be undone so."""
        refusal = self._refuse(keep_changed=keep_changed)
        if refusal is not None:
            raise LedgerError(refusal)

    def _refuse(self, *, keep_changed: bool) -> str | None:
        if self.reason is not None and self.rows:
            return (
                f"Load {self.load.pk} cannot be undone, because {self.reason}: its rows cannot be "
                "told from other rows. Nothing was deleted: delete them by hand."
            )
        if self.changed and not keep_changed:
            return (
                f"Load {self.load.pk} is not undone: {self.changed:,} rows with its keys are not "
                f"as it inserted them ({self._name_changed()}): they were changed since, or are "
                "other rows with the same keys. Nothing was deleted: --keep-changed deletes the "
                f"{self.deletable:,} rows that are and keeps the others."
            )
        if self.gone and self.may_be_hidden and not keep_changed:
            return (
                f"Load {self.load.pk} is not undone: {self.gone:,} of its rows are gone, or row "
                "security hides them from the role of the load. Nothing was deleted: "
                f"--keep-changed deletes the {self.deletable:,} rows that are seen."
            )
        return None

    def _name_changed(self) -> str:
        return _name(self.changed_keys, self.changed)

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it says, as pairs of a name and a value."""
        changed = f"{self.changed:,}"
        if self.changed:
            changed += f" ({self._name_changed()})"
        return (
            ("model", self.model),
            ("file", self.source),
            ("day", self.day.isoformat()),
            ("rows", f"{self.rows:,}"),
            ("to delete", f"{self.deletable:,}"),
            ("changed since", changed),
            ("gone or hidden" if self.may_be_hidden else "gone", f"{self.gone:,}"),
        )

    def __str__(self) -> str:
        lines = [f"  {name:<14} {value}" for name, value in self.facts]
        return "\n".join([f"Load {self.load.pk}", *lines])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did."""

    load: Load
    deleted: int
    """Rows deleted."""
    gone: int
    """Rows of the load that others had deleted before."""
    kept: int = 0
    """Rows with a key of the load that were changed since, and are still there."""
    kept_keys: tuple[str, ...] = ()
    """The keys of a few of these."""

    def __str__(self) -> str:
        shown = f"Load {self.load.pk} is undone: {self.deleted:,} rows deleted"
        if self.gone:
            shown += f", {self.gone:,} were gone already"
        if self.kept:
            shown += f", {self.kept:,} changed since were kept ({_name(self.kept_keys, self.kept)})"
        return f"{shown}."


def plan_undo(load_id: int, *, using: str = DEFAULT_DB_ALIAS) -> UndoPlan:
    """Return what an undo of a load would do; nothing is changed.

    Raises a ``LedgerError`` where there is no such load, or where it runs or was undone.
    """
    found = find_load(load_id, using)
    # Behind a pooler settings hold for a transaction only.
    with transaction.atomic(using=using), in_place_of(found):
        load = _find(load_id, using)
        _, plan = _plan(load, using)
    return plan


def undo(load_id: int, *, using: str = DEFAULT_DB_ALIAS, keep_changed: bool = False) -> Undone:
    """Delete the rows that a load inserted, in one transaction, and mark the load undone.

    A row is deleted only where its key and the transaction that wrote it are the load's. Where
    rows with keys of the load are not as it inserted them, nothing is deleted, unless
    ``keep_changed`` is true: then these are kept and all others deleted.

    Raises a ``LedgerError``, and then nothing was deleted: also if there is no such load, if it
    runs or was undone, if its rows cannot be told from others, or if other rows refer to its rows.
    It does not call ``delete()``, sends no signals of the rows and deletes nothing along with them.
    """
    found = find_load(load_id, using)
    with transaction.atomic(using=using), in_place_of(found):
        load = _find(load_id, using, lock=True)
        ownership, plan = _plan(load, using)
        plan.check(keep_changed=keep_changed)
        deleted = _delete(load, ownership.own)
        for rows in ownership.parents:
            _delete(load, rows)
        # Rows may have been changed, or kept by a trigger, since they were counted.
        after = _count(load, ownership)
        if after.deletable:
            raise LedgerError(
                f"Load {load.pk} cannot be undone: {after.deletable:,} of its rows are still there "
                "after the DELETE, because a trigger, a rule or a policy of the table keeps them. "
                "Nothing was deleted."
            )
        after.check(keep_changed=keep_changed)
        _mark_undone(load, using)
    return Undone(
        load=load,
        deleted=deleted,
        gone=max(after.rows - deleted - after.changed, 0),
        kept=after.changed,
        kept_keys=after.changed_keys,
    )


def _find(load_id: int, using: str, *, lock: bool = False) -> Load:
    sql = _LOAD.format(table=quote_db_table(Load._meta.db_table), lock="FOR UPDATE" if lock else "")
    found = list(Load.objects.using(using).raw(sql, [str(load_id)]))
    if not found:
        raise LedgerError(f"There is no load {load_id} in the ledger of {using!r}.")
    [load] = found
    if load.status == Load.Status.UNDONE:
        raise LedgerError(f"Load {load.pk} is undone already.")
    if not keep_still(load, shared=not lock):
        raise LedgerError(f"Load {load.pk} is running: cancel it first.")
    return load


def _plan(load: Load, using: str) -> tuple[Ownership, UndoPlan]:
    load._state.db = using
    try:
        model = apps.get_model(load.model)
    except (LookupError, ValueError) as error:
        raise LedgerError(
            f"Load {load.pk} cannot be undone: there is no model {load.model} any more."
        ) from error
    ownership = read_ownership(load, model)
    with connections[using].cursor() as cursor:
        cursor.execute(_MAY_BE_HIDDEN, [quote_db_table(model._meta.db_table)])
        [may_be_hidden] = cursor.fetchone()
    plan = _count(load, ownership)
    return ownership, dataclasses.replace(plan, may_be_hidden=bool(may_be_hidden))


def _count(load: Load, ownership: Ownership) -> UndoPlan:
    own, others = ownership.own, ownership.others
    with connections[own.using].cursor() as cursor:
        deletable = _count_rows(cursor, own)
        changed = _count_rows(cursor, others)
        keys: list[Any] = []
        if changed:
            cursor.execute(
                f"SELECT r.{ownership.key}::pg_catalog.text FROM {own.table} r "
                f"WHERE {others.condition('r')} ORDER BY r.{ownership.key} LIMIT {KEYS_SHOWN}",
                others.parameters,
            )
            keys = [key for (key,) in cursor.fetchall()]
    return UndoPlan(
        load=load,
        model=load.model,
        source=load.source,
        day=timezone.localtime(load.started_at).date(),
        rows=ownership.rows,
        deletable=deletable,
        changed=changed,
        gone=max(ownership.rows - deletable - changed, 0),
        changed_keys=tuple(keys),
        reason=ownership.reason,
    )


def _count_rows(cursor: Any, rows: RowSet) -> int:
    cursor.execute(
        f"SELECT pg_catalog.count(*) FROM {rows.table} r WHERE {rows.condition('r')}",
        rows.parameters,
    )
    [count] = cursor.fetchone()
    return int(count)


def _delete(load: Load, rows: RowSet) -> int:
    lock_cascading_tables(rows)
    referrers = find_referrers(rows)
    if referrers:
        raise LedgerError(
            f"Load {load.pk} cannot be undone, because other rows refer to its rows: "
            f"{'; '.join(map(str, referrers))}. Nothing was deleted: delete these first."
        )
    try:
        with connections[rows.using].cursor() as cursor:
            # The condition is tested again for a row that somebody changes meanwhile.
            cursor.execute(
                f"DELETE FROM {rows.table} r WHERE {rows.condition('r')}", rows.parameters
            )
            deleted = cursor.rowcount
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except IntegrityError as error:
        raise LedgerError(
            f"Load {load.pk} cannot be undone: {error} Nothing was deleted."
        ) from error
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != CANNOT_SERIALIZE:
            raise
        raise LedgerError(
            f"Load {load.pk} is not undone: its rows were changed meanwhile. Nothing was deleted: "
            "try again."
        ) from error
    return int(deleted)


def _mark_undone(load: Load, using: str) -> None:
    load.status = Load.Status.UNDONE
    load.ended_at = load.ended_at or timezone.now()
    with connections[using].cursor() as cursor:
        cursor.execute(
            _FORGET.format(
                lists=quote_db_table(KeyList._meta.db_table),
                chunk=quote_db_table("ingest_chunk"),
            ),
            [str(load.pk)],
        )
        cursor.execute(
            _UNDONE.format(table=quote_db_table(Load._meta.db_table)),
            [load.status, load.ended_at.isoformat(), str(load.pk)],
        )


def _name(keys: Sequence[str], count: int) -> str:
    """Name a few rows by their keys, of more."""
    named = ", ".join(key if len(key) <= 40 else f"{key[:39]}…" for key in keys)  # noqa: PLR2004
    return f"with the keys {named}{', …' if count > len(keys) else ''}"


_LOAD = """
SELECT l.* FROM {table} l WHERE l.id OPERATOR(pg_catalog.=) %s::pg_catalog.int8 {lock}
"""
_MAY_BE_HIDDEN = """
SELECT pg_catalog.row_security_active(pg_catalog.to_regclass(%s)::pg_catalog.oid)
"""
# Nobody asks for the keys of a load that is undone.
_FORGET = """
DELETE FROM {lists} k USING {chunk} c
WHERE c.id OPERATOR(pg_catalog.=) k.chunk_id
  AND c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
"""
_UNDONE = """
UPDATE {table} SET status = %s, ended_at = %s::timestamp with time zone
WHERE id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
"""
