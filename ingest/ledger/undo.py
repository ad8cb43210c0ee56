"""Undoing a load: deletes its rows and restores old values, completely or not at all."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
    connections,
    transaction,
)
from django.utils import timezone

from ingest.exceptions import LedgerError
from ingest.ledger.entries import find_load
from ingest.ledger.locks import keep_still
from ingest.ledger.models import Load
from ingest.ledger.moments import local_time
from ingest.ledger.old_rows import KeptRows, OldCounts
from ingest.ledger.ownership import read_ownership
from ingest.ledger.place import in_place_of
from ingest.ledger.referrers import find_referrers, lock_cascading_tables
from ingest.ledger.rights import name_missing_rights
from ingest.ledger.rows import table_of
from ingest.ledger.shared import is_loading
from ingest.ledger.undo_plan import Undone, UndoPlan
from ingest.plurals import counted, noun
from ingest.postgres.errors import brief
from ingest.postgres.quoting import double_percent, quote_db_table
from ingest.postgres.rights import is_of_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.ledger.ownership import Ownership, RowSet

RIGHTS = "SELECT,DELETE"
"""The rights on the table that an undo needs, if the load has only inserted rows."""
KEYS_SHOWN = 5
"""The number of kept rows that are named."""
CANNOT_SERIALIZE = "40001"
"""PostgreSQL's SQLSTATE for a row that another transaction changed, in a stricter isolation level.
"""


def plan_undo(load_id: int, *, using: str = DEFAULT_DB_ALIAS) -> UndoPlan:
    """Return what an undo of a load would do; change nothing.

    Raise ``LedgerError`` if there is no such load, or if it is running or already undone.
    """
    found = find_load(load_id, using)
    # Behind a pooler settings hold for a transaction only.
    with _rights_told(found, using), transaction.atomic(using=using), in_place_of(found):
        load = _find(load_id, using)
        ownership = _read(load, using)
        with _old_rows(load, ownership) as old:
            plan = _plan(load, ownership, old)
    return plan


def undo(load_id: int, *, using: str = DEFAULT_DB_ALIAS, keep_changed: bool = False) -> Undone:
    """Undo a load in one transaction, and mark it as undone.

    The rows that it inserted are deleted. The rows that it changed get their old values back, and
    the rows that it deleted are inserted again, if the load has kept their old values
    (``keep_old``). Otherwise, a load that changed or deleted rows cannot be undone. Triggers fire,
    and all constraints hold.

    A row is deleted or restored only if its key and the transaction that wrote it are the load's.
    If rows with keys of the load are not as it left them, nothing is changed, unless
    ``keep_changed`` is true: then these are kept, and all others are deleted or restored.

    Raise ``LedgerError``, with nothing changed, if the load cannot be undone: also if there is no
    such load, if it is running or already undone, if its rows cannot be distinguished from others,
    or if other rows refer to its rows. This function does not call ``delete()`` or ``save()``,
    sends no signals for the rows and deletes nothing along with them.
    """
    found = find_load(load_id, using)
    with _rights_told(found, using), transaction.atomic(using=using), in_place_of(found):
        load = _find(load_id, using, lock=True)
        ownership = _read(load, using)
        with _old_rows(load, ownership) as old, _explained(load):
            if old.kept is not None:
                old.kept.lock()
            plan = _plan(load, ownership, old)
            plan.check(keep_changed=keep_changed)
            deleted, restored, put_back = _take_back(load, ownership, old)
        _check_done(load, "UPDATE", plan.restorable - restored)
        _check_done(load, "INSERT", plan.missing - put_back)
        # Rows may have been changed, or kept by a trigger, since they were counted.
        after = _count(load, ownership)
        _check_done(load, "DELETE", after.deletable)
        gone = max(after.rows - deleted - after.changed, 0) + old.counts.gone
        after = dataclasses.replace(
            after,
            changed=after.changed + old.counts.changed,
            changed_keys=(*after.changed_keys, *old.changed_keys)[:KEYS_SHOWN],
        )
        after.check(keep_changed=keep_changed)
        _mark_undone(load, using)
    return Undone(
        load=load,
        deleted=deleted,
        restored=restored,
        put_back=put_back,
        gone=gone,
        kept=after.changed,
        kept_keys=after.changed_keys,
    )


def _check_done(load: Load, verb: str, left: int) -> None:
    """Raise ``LedgerError`` if rows were not deleted, restored or inserted."""
    if left:
        still = noun(left, "is not what it was", "are not what they were")
        if verb == "DELETE":
            still = noun(left, "is still there", "are still there")
        raise LedgerError(
            f"Load {load.pk} cannot be undone: {left:,} of its rows {still} after the {verb}, "
            "because a trigger, a rule or a policy of the table keeps them. Nothing was deleted."
        )


def _find(load_id: int, using: str, *, lock: bool = False) -> Load:
    sql = _LOAD.format(table=quote_db_table(Load._meta.db_table), lock="FOR UPDATE" if lock else "")
    # A greater number is no bigint, and PostgreSQL would refuse the query.
    is_number = abs(load_id) < 2**63
    found = list(Load.objects.using(using).raw(sql, [str(load_id)])) if is_number else []
    if not found:
        raise LedgerError(f"There is no load {load_id} in the ledger of {using!r}.")
    [load] = found
    if load.status == Load.Status.UNDONE:
        raise LedgerError(f"Load {load.pk} is undone already.")
    if not keep_still(load, shared=not lock) or is_loading(load, using):
        raise LedgerError(f"Load {load.pk} is running: cancel it first.")
    return load


def _read(load: Load, using: str) -> Ownership:
    load._state.db = using
    try:
        model = apps.get_model(load.model)
    except (LookupError, ValueError) as error:
        raise LedgerError(
            f"Load {load.pk} cannot be undone: there is no model {load.model} any more."
        ) from error
    return read_ownership(load, model)


@dataclasses.dataclass(kw_only=True)
class _OldRows:
    """The old values that the ledger has of rows that the load changed or deleted."""

    updated: int
    removed: int
    kept: KeptRows | None = None
    """None if it has no old values."""
    lost: str | None = None
    counts: OldCounts = dataclasses.field(default_factory=OldCounts)
    changed_keys: tuple[str, ...] = ()


@contextmanager
def _old_rows(load: Load, ownership: Ownership) -> Iterator[_OldRows]:
    """Read the old values into a temporary table, which is dropped at the end."""
    with connections[ownership.own.using].cursor() as cursor:
        tables = {name: double_percent(table_of(name)) for name in ("Chunk", "OldRows")}
        cursor.execute(_OLD.format(**tables), [str(load.pk)])
        updated, removed, updated_kept, removed_kept = cursor.fetchone()
    old = _OldRows(updated=updated, removed=removed)
    for verb, count, kept in (
        ("updated", updated, updated_kept),
        ("deleted", removed, removed_kept),
    ):
        if kept < count:
            old.lost = (
                f"it {verb} {counted(count, 'row')} and did not keep what "
                f"{noun(count, 'it was', 'they were')}: only a load with --keep-old "
                "(keep_old=True) does"
            )
            break
    if old.lost is None and updated_kept + removed_kept and ownership.column:
        old.kept = KeptRows(load, ownership)
        old.lost = old.kept.why_not()
    yield old
    if old.kept is not None:
        old.kept.drop()


def _plan(load: Load, ownership: Ownership, old: _OldRows) -> UndoPlan:
    own = ownership.own
    with connections[own.using].cursor() as cursor:
        cursor.execute(_MAY_BE_HIDDEN, [quote_db_table(own.model._meta.db_table)])
        [may_be_hidden] = cursor.fetchone()
    if old.kept is not None and old.lost is None:
        old.counts = old.kept.count()
        if old.counts.changed:
            old.changed_keys = tuple(old.kept.changed_keys(KEYS_SHOWN))
    plan = _count(load, ownership)
    return dataclasses.replace(
        plan,
        changed=plan.changed + old.counts.changed,
        changed_keys=(*plan.changed_keys, *old.changed_keys)[:KEYS_SHOWN],
        gone=plan.gone + old.counts.gone,
        updated=old.updated,
        restorable=old.counts.restorable,
        removed=old.removed,
        missing=old.counts.missing,
        lost=old.lost,
        may_be_hidden=bool(may_be_hidden),
    )


def _count(load: Load, ownership: Ownership) -> UndoPlan:
    own, others = ownership.own, ownership.others
    deletable = changed = 0
    keys: list[Any] = []
    with connections[own.using].cursor() as cursor:
        if ownership.key:  # else there may be no table
            deletable = _count_rows(cursor, own)
            changed = _count_rows(cursor, others)
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
        day=local_time(load.started_at).date(),
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


def _take_back(load: Load, ownership: Ownership, old: _OldRows) -> tuple[int, int, int]:
    """Delete, restore and re-insert rows; return the three numbers."""
    using, kept = ownership.own.using, old.kept
    restored: int | None = 0
    if kept is not None:
        # Rows that the load changed may refer to rows that it inserted, so the inserted rows are
        # deleted second. But an inserted row may have taken a unique value that a changed row had
        # before: then they are deleted first.
        try:
            with transaction.atomic(using=using):
                restored = kept.restore()
        except IntegrityError:
            restored = None
    deleted = 0
    if ownership.rows:  # else there may be no table, or one from which nothing can be deleted
        deleted = _delete(load, ownership.own)
        for rows in ownership.parents:
            _delete(load, rows)
    if kept is None:
        put_back = 0
    else:
        restored = kept.restore() if restored is None else restored
        put_back = kept.put_back()
    with connections[using].cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return deleted, restored or 0, put_back


def _delete(load: Load, rows: RowSet) -> int:
    lock_cascading_tables(rows)
    referrers = find_referrers(rows)
    if referrers:
        raise LedgerError(
            f"Load {load.pk} cannot be undone, because other rows refer to its rows: "
            f"{'; '.join(map(str, referrers))}. Nothing was deleted: delete these first."
        )
    with connections[rows.using].cursor() as cursor:
        # PostgreSQL tests the condition again for a row that another transaction changes in the
        # meantime.
        cursor.execute(f"DELETE FROM {rows.table} r WHERE {rows.condition('r')}", rows.parameters)
        return int(cursor.rowcount)


@contextmanager
def _explained(load: Load) -> Iterator[None]:
    """Raise ``LedgerError`` for an error of PostgreSQL, saying that the load is not undone."""
    try:
        yield
    except (IntegrityError, DataError) as error:
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


@contextmanager
def _rights_told(found: Load, using: str) -> Iterator[None]:
    """Raise ``LedgerError`` with the missing GRANT if the role lacks a right."""
    try:
        yield
    except DatabaseError as error:
        if not is_of_rights(error):
            raise
        said = f"{brief(error)}."
        rights = "SELECT,INSERT,UPDATE,DELETE" if found.updated or found.deleted else RIGHTS
        with suppress(LookupError, ValueError):  # there is no such model any more
            model = apps.get_model(found.model)
            said += f" {name_missing_rights(using, said, model, rights, found.role)}"
        raise LedgerError(
            f"Load {found.pk} cannot be undone: {said.rstrip()} Nothing was deleted."
        ) from error


def _mark_undone(load: Load, using: str) -> None:
    load.status = Load.Status.UNDONE
    load.ended_at = load.ended_at or timezone.now()
    with connections[using].cursor() as cursor:
        for name in ("KeyList", "OldRows", "SeenKeys", "PendingRejects"):
            tables = {"lists": table_of(name), "chunk": table_of("Chunk")}
            cursor.execute(_FORGET.format(**tables), [str(load.pk)])
        cursor.execute(
            _UNDONE.format(table=quote_db_table(Load._meta.db_table)),
            [load.status, load.ended_at.isoformat(), str(load.pk)],
        )


_LOAD = """
SELECT l.* FROM {table} l WHERE l.id OPERATOR(pg_catalog.=) %s::pg_catalog.int8 {lock}
"""
_MAY_BE_HIDDEN = """
SELECT pg_catalog.row_security_active(pg_catalog.to_regclass(%s)::pg_catalog.oid)
"""
_OLD = """
SELECT coalesce(pg_catalog.sum(c.updated), 0)::pg_catalog.int8,
       coalesce(pg_catalog.sum(c.deleted), 0)::pg_catalog.int8,
       coalesce(pg_catalog.sum(k.updated), 0)::pg_catalog.int8,
       coalesce(pg_catalog.sum(k.deleted), 0)::pg_catalog.int8
FROM {Chunk} c
LEFT JOIN LATERAL (
  SELECT pg_catalog.sum(pg_catalog.cardinality(o.keys)) FILTER (WHERE NOT o.is_deleted) AS updated,
         pg_catalog.sum(pg_catalog.cardinality(o.keys)) FILTER (WHERE o.is_deleted) AS deleted
  FROM {OldRows} o WHERE o.chunk_id OPERATOR(pg_catalog.=) c.id
) k ON true
WHERE c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
"""
# An undone load cannot be resumed, so nobody reads these again.
_FORGET = """
DELETE FROM {lists} k USING {chunk} c
WHERE c.id OPERATOR(pg_catalog.=) k.chunk_id
  AND c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
"""
_UNDONE = """
UPDATE {table} SET status = %s, ended_at = %s::timestamp with time zone
WHERE id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
"""
