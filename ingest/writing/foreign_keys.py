"""Foreign keys, a set at a time: the rows' distinct keys are looked up and locked in one statement.

PostgreSQL checks a foreign key with one trigger call a row. Here the same question is asked for all
rows of a batch at once, with the same lock (``FOR KEY SHARE``) in the same transaction, and the
triggers are left out by ``session_replication_role`` while the COPY of these rows runs. ``guards``
says when that is not certain to have the outcome that the triggers would have had.
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
"""Keys remembered as locked for each foreign key, some 50 MB at most; to lock a key again is
harmless, only slower."""

PATIENCE_SECONDS = 5.0
"""How long a load that holds the table for itself tries to lock what its rows refer to."""
PAUSE_SECONDS = 0.02
"""How long it leaves the others alone between two tries."""
UUID_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class MissingReference:
    """A row that refers to a row which does not exist."""

    place: int
    """The row's place in the batch."""
    value: Any
    """The key that leads nowhere."""
    constraint: Constraint


class ForeignKeyCheck:
    """Looks up and locks the rows that the batches of one load refer to.

    Keys are remembered as locked. A lock keeps them from others, but not from whoever else uses the
    transaction: what the caller does between two batches may delete them, or give the locks back by
    a rollback to a savepoint. Then all are asked for again.
    """

    def __init__(
        self, session: Session, table: Table, encoding: CopyEncoding, *, waits: bool = True
    ) -> None:
        """Plan the look-ups; ``waits=False`` for a load that holds an exclusive lock on the table.

        Whoever has locked a row that it refers to may be waiting for the table: to wait as well
        would be a deadlock that row by row inserts would not have had.
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
        """Lock what the rows refer to, and give the references that lead nowhere, by place."""
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
            return False  # nobody else uses it
        self._functions_run = session.functions_run
        before = self._state
        [(is_counted, mark, *state)] = session.fetch(_STATE, list(map(str, self._parents)))
        self._state = tuple(state)
        return mark != self._marks.last or not is_counted or self._state != before


class _Marks:
    """Numbers the look-ups; the last one's number stands in the transaction as a setting.

    A rollback to a savepoint gives back the locks that were taken after it, and undoes the setting.
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
        # Matched by PostgreSQL's own operator; ONLY, as its triggers ask; in the order of the key,
        # so that two loads lock the same rows in the same order.
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
        """Return bytes as text, which both drivers take for a UUID; leave other keys alone."""
        if not isinstance(key, bytes):
            return key
        is_binary = len(key) == UUID_BYTES  # else its digits, in a COPY of text
        return str(uuid.UUID(bytes=key) if is_binary else uuid.UUID(key.decode()))


# How many rows of each parent this transaction has deleted or updated, in savepoints too; TRUNCATE
# gives a table another file. As text, for what is said of _SENT.
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
"""How the keys are sent, by the column's type; varchar is compared as text. Numbers go as text:
asyncpg looks up any other array type in the catalog, by statements that name no schema."""
