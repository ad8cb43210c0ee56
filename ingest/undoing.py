"""Taking a load's rows away again: exactly these, or none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.models import Sum
from django.utils import timezone

from ingest.exceptions import LedgerError
from ingest.ledger import find_load, in_place_of, keep_still
from ingest.models import KeyList, Load
from ingest.referring import find_referrers, lock_cascading_tables

if TYPE_CHECKING:
    from django.db.models import QuerySet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did."""

    load: Load
    deleted: int
    """Rows deleted."""
    gone: int
    """Rows of the load that others had deleted before."""

    def __str__(self) -> str:
        shown = f"Load {self.load.pk} is undone: {self.deleted:,} rows deleted"
        return f"{shown}, {self.gone:,} were gone already." if self.gone else f"{shown}."


def undo(load_id: int, *, using: str = DEFAULT_DB_ALIAS) -> Undone:
    """Delete the rows that a load put in, in one transaction, and mark the load undone.

    Raises a ``LedgerError``, and then nothing was deleted: if there is no such load, if it runs or
    was undone, or if other rows refer to its rows. It does not call ``delete()``, sends no signals
    of the rows and deletes nothing along with them.
    """
    found = find_load(load_id, using)
    # Behind a pooler settings hold for a transaction only.
    with transaction.atomic(using=using), in_place_of(found):
        load = _locked(load_id, using)
        rows = _rows(load)
        _check_later_loads(load)
        lock_cascading_tables(rows)
        referrers = find_referrers(rows)
        if referrers:
            raise LedgerError(
                f"Load {load.pk} cannot be undone, because other rows refer to its rows: "
                f"{'; '.join(map(str, referrers))}. Nothing was deleted: delete these first."
            )
        deleted = _delete(load, rows)
        put_in = load.chunks.using(using).aggregate(rows=Sum("rows"))["rows"] or 0
        if deleted > put_in:
            raise LedgerError(
                f"Load {load.pk} put in {put_in:,} rows, but {deleted:,} have its keys: somebody "
                "has given rows these keys by hand. Nothing was deleted: delete them by hand."
            )
        # A natural key may come again; it is then another load's.
        KeyList.objects.using(using).filter(chunk__load=load).delete()
        load.status = Load.Status.UNDONE
        load.ended_at = load.ended_at or timezone.now()
        load.save(using=using, update_fields=["status", "ended_at"])
    return Undone(load=load, deleted=deleted, gone=put_in - deleted)


def _locked(load_id: int, using: str) -> Load:
    load = Load.objects.using(using).select_for_update().filter(pk=load_id).first()
    if load is None:
        raise LedgerError(f"There is no load {load_id} in the ledger of {using!r}.")
    if load.status == Load.Status.UNDONE:
        raise LedgerError(f"Load {load.pk} is undone already.")
    if not keep_still(load):
        raise LedgerError(f"Load {load.pk} is running: cancel it first.")
    return load


def _rows(load: Load) -> QuerySet[Any]:
    try:
        return load.rows()
    except LookupError as error:
        raise LedgerError(
            f"Load {load.pk} cannot be undone: there is no model {load.model} any more."
        ) from error


def _check_later_loads(load: Load) -> None:
    """A key recorded again by a later load is that load's row now."""
    alias = load._state.db
    with connections[alias or DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(LATER_LOADS, {"load": load.pk, "table": load.table, "model": load.model})
        found: Any = cursor.fetchone()
    if found is not None:
        later, key = found
        raise LedgerError(
            f"Load {load.pk} cannot be undone: load {later} has put in the key {key!r} again. "
            f"Nothing was deleted: undo load {later} first."
        )


LATER_LOADS = """
WITH own AS (
    SELECT jsonb_array_elements_text(l.keys) AS key
    FROM ingest_keylist l JOIN ingest_chunk c ON c.id = l.chunk_id
    WHERE c.load_id = %(load)s
)
SELECT c.load_id, own.key
FROM ingest_load o
JOIN ingest_chunk c ON c.load_id = o.id
JOIN ingest_keylist l ON l.chunk_id = c.id
CROSS JOIN LATERAL jsonb_array_elements_text(l.keys) AS later (key)
JOIN own ON own.key = later.key
WHERE (o."table" = %(table)s OR o.model = %(model)s) AND o.id > %(load)s
ORDER BY c.load_id DESC
LIMIT 1
"""


def _delete(load: Load, rows: QuerySet[Any]) -> int:
    try:
        # Not delete(): that would fetch the rows, and delete along with them what refers to them.
        deleted = rows._raw_delete(rows.db) or 0
        with connections[rows.db].cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except IntegrityError as error:
        raise LedgerError(
            f"Load {load.pk} cannot be undone: {error} Nothing was deleted."
        ) from error
    return int(deleted)
