"""Check foreign keys as a set: one statement looks up and locks all distinct keys of the rows.

PostgreSQL checks a foreign key with one trigger call for each row. Here all rows of a batch are
checked at once, with the same lock (``FOR KEY SHARE``) in the same transaction, and the triggers
are disabled by ``session_replication_role`` while the COPY of these rows runs. ``preconditions``
says when this is not certain to have the same outcome as the triggers.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import NOTHING_LOADED, IngestError, Outcome
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from ingest.postgres.catalog import Constraint, Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session

REMEMBERED_KEYS = 2_000_000
"""Keys cached as locked for each foreign key, some 50 MB at most; locking a key again is harmless,
only slower."""

PATIENCE_SECONDS = 5.0
"""How long a load with an exclusive lock on the table tries to lock the rows it refers to."""
PAUSE_SECONDS = 0.02
"""The pause between two tries, for the other transactions."""
UUID_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class MissingReference:
    """A row that refers to a row that does not exist."""

    place: int
    """The row's place in the batch."""
    value: Any
    """The key that does not exist."""
    constraint: Constraint


class ForeignKeyCheck:
    """Looks up and locks the rows to which the batches of one load refer.

    Locked keys are cached. A lock protects them from other transactions, but not from other code in
    the same one: between two batches, the caller may delete the rows, or release the locks by a
    rollback to a savepoint. Then all keys are looked up again.
    """

    def __init__(
        self, session: Session, table: Table, encoding: CopyEncoding, *, waits: bool = True
    ) -> None:
        """Plan the look-ups; ``waits=False`` for a load that holds an exclusive lock on the table.

        A transaction that has locked a referenced row may be waiting for the table. Waiting for its
        lock would be a deadlock that inserts row by row would not have.
        """
        names = encoding.names
        self.session = session
        self._functions_run = session.functions_run
        self._state: tuple[Any, ...] | None = None
        self._marks = _Marks()
        self._keys = [
            _ForeignKey(key, encoding, table, waits=waits)
            for key in sorted(table.foreign_keys, key=lambda key: (key.references, key.name))
            if key.is_enforced and key.columns[0] in names
        ]
        self._parents = sorted({key.parent for key in self._keys})

    def __len__(self) -> int:
        return len(self._keys)

    def missing(self, rows: pa.RecordBatch) -> list[MissingReference]:
        """Lock the rows that a batch refers to; return the missing references, sorted by place."""
        if self._may_have_lost_some():
            for key in self._keys:
                key.forget()
        found: list[MissingReference] = []
        for key in self._keys:
            found.extend(key.missing(self.session, rows, self._marks))
        found.sort(key=lambda item: item.place)
        return found

    def _may_have_lost_some(self) -> bool:
        """Return whether the transaction may have lost parents, or locks, since the last batch."""
        session = self.session
        if not self._parents:
            return False
        if not session.is_callers and session.functions_run == self._functions_run:
            return False  # no other code uses it
        self._functions_run = session.functions_run
        before = self._state
        [(is_counted, mark, *state)] = session.fetch(_STATE, list(map(str, self._parents)))
        self._state = tuple(state)
        return mark != self._marks.last or not is_counted or self._state != before


class _Marks:
    """Numbers the look-ups; the number of the last one is stored in a setting of the transaction.

    A rollback to a savepoint releases the locks that were taken after it, and resets the setting.
    """

    def __init__(self) -> None:
        self._name = uuid.uuid4().hex
        self._look_ups = 0
        self.last: str | None = None
        """The mark of the last look-up that locked a row."""

    def next(self) -> str:
        self._look_ups += 1
        return f"{self._name} {self._look_ups}"


class _ForeignKey:
    def __init__(
        self, constraint: Constraint, encoding: CopyEncoding, table: Table, *, waits: bool
    ) -> None:
        [name] = constraint.columns
        type_name = table.column(quote_name(name)).type_name
        self.parent = cast("int", constraint.references_oid)
        self._constraint = constraint
        self._waits = waits
        self._place = encoding.names.index(name)
        self._locked: pa.Array | None = None
        # With PostgreSQL's own operator; with ONLY, like its triggers; in the order of the key, so
        # that two loads lock the same rows in the same order.
        parent_key = quote_name(constraint.referenced_columns[0])
        self._sql = (
            "SELECT given.place, "
            "(SELECT pg_catalog.set_config('ingest.locked', $2::pg_catalog.text, true)) "
            f"FROM pg_catalog.unnest({_SENT[type_name]}) "
            "WITH ORDINALITY AS given(key, place) "
            f"JOIN ONLY {constraint.references} AS parent "
            f"ON parent.{parent_key} OPERATOR(pg_catalog.=) given.key "
            f"ORDER BY parent.{parent_key} FOR KEY SHARE OF parent{'' if waits else ' NOWAIT'}"
        )

    def forget(self) -> None:
        self._locked = None

    def missing(
        self, session: Session, rows: pa.RecordBatch, marks: _Marks
    ) -> list[MissingReference]:
        cells = rows.column(self._place)
        keys = pc.unique(cells).drop_null()
        if self._locked is not None:
            keys = keys.filter(pc.invert(pc.is_in(keys, value_set=self._locked)))
        if not len(keys):
            return []
        given = keys.to_pylist()
        mark = marks.next()
        places = {int(place) - 1 for place, _ in self._look_up(session, given, mark)}
        if places:
            marks.last = mark
        exists = pa.array([place in places for place in range(len(given))], pa.bool_())
        self._remember(keys.filter(exists))
        if len(places) == len(given):
            return []
        lost = keys.filter(pc.invert(exists))
        at = pc.indices_nonzero(pc.is_in(cells, value_set=lost)).to_pylist()
        return [
            MissingReference(
                place=place, value=self._as_text(cells[place].as_py()), constraint=self._constraint
            )
            for place in at
        ]

    def _look_up(self, session: Session, keys: list[Any], mark: str) -> list[tuple[Any, ...]]:
        sent = [str(self._as_text(key)) for key in keys]
        if self._waits:
            return session.fetch(self._sql, sent, mark)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            session.execute("SAVEPOINT ingest_keys")
            try:
                rows = session.fetch(self._sql, sent, mark)
            except (asyncpg.LockNotAvailableError, psycopg.errors.LockNotAvailable) as error:
                session.execute("ROLLBACK TO SAVEPOINT ingest_keys")
                if time.monotonic() > deadline:
                    raise IngestError(self._busy()).with_outcome(
                        Outcome.NOTHING, NOTHING_LOADED
                    ) from error
                time.sleep(PAUSE_SECONDS)
            else:
                session.execute("RELEASE SAVEPOINT ingest_keys")
                return rows

    def _busy(self) -> str:
        return (
            f"Others have held locks on rows of {self._constraint.references} that the records "
            f"refer to, for longer than {PATIENCE_SECONDS:g} s. To wait for them while the load "
            "has the table for itself could end in a deadlock: load again, or keep the indexes, "
            "and the load waits its turn."
        )

    def _remember(self, keys: pa.Array) -> None:
        if self._locked is None or len(self._locked) + len(keys) > REMEMBERED_KEYS:
            self._locked = keys
        else:
            self._locked = pa.concat_arrays([self._locked, keys])

    def _as_text(self, key: Any) -> Any:
        """Return a UUID's bytes as text, which both drivers accept; leave other keys unchanged."""
        if not isinstance(key, bytes):
            return key
        is_binary = len(key) == UUID_BYTES  # otherwise its digits, in a COPY in text format
        return str(uuid.UUID(bytes=key) if is_binary else uuid.UUID(key.decode()))


# How many rows of each parent this transaction has deleted or updated, also in savepoints; TRUNCATE
# gives a table another file. Sent as text, for the reason given at _SENT.
_STATE = """
SELECT pg_catalog.current_setting('track_counts')::boolean,
       pg_catalog.current_setting('ingest.locked', true),
       pg_catalog.string_agg(pg_catalog.concat_ws(' ',
           p.oid, pg_catalog.pg_stat_get_xact_tuples_deleted(p.oid),
           pg_catalog.pg_stat_get_xact_tuples_updated(p.oid), pg_catalog.pg_relation_filenode(p.oid)
         ), ',' ORDER BY p.place)
FROM pg_catalog.unnest($1::pg_catalog.text[]::pg_catalog.oid[]) WITH ORDINALITY AS p(oid, place)
"""
_SENT = {
    "int2": "$1::pg_catalog.text[]::smallint[]",
    "int4": "$1::pg_catalog.text[]::integer[]",
    "int8": "$1::pg_catalog.text[]::bigint[]",
    "text": "$1::pg_catalog.text[]",
    "uuid": "$1::pg_catalog.text[]::pg_catalog.uuid[]",
    "varchar": "$1::pg_catalog.text[]",
}
"""How the keys are sent, by the column's type; varchar is compared as text. Numbers are sent as
text: asyncpg looks up any other array type in the catalog, with statements that name no schema."""
