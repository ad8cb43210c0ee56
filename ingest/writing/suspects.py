"""Find the suspect rows of a refused batch: those that may be refused, or may conflict.

This is a guess that saves time: suspect rows are tried one by one, and all others at once. The
server makes the guess, from only those columns that unique keys and checks use. It looks for
repeated keys only among the rows of which Arrow finds that they may share a key with another row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingest.postgres.errors import may_be_of_row
from ingest.postgres.session import Query, Statement
from ingest.writing.row_by_row import UniqueKey
from ingest.writing.staging import StagingTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.errors import RowError
    from ingest.postgres.session import Script, Session


FEW_KNOWN = 2
"""Up to this many rows whose keys are already in the table are found by letting COPY fail, because
most batches that have any have one or two. More are found by one query for all rows, which reads an
index once for each row."""
TAIL_ROWS = 1_000
"""How many rows of the batch before are also searched for repeated keys: most records that repeat
another follow it soon."""
_CHECK_VIOLATION = "23514"


class CannotTellError(Exception):
    """A query for suspect rows failed, because a type refuses a value or a check raises."""


class SuspectRows:
    """Finds the suspect rows of one batch after the other."""

    def __init__(self, session: Session, table: Table, encoding: CopyEncoding) -> None:
        # A value drawn from a sequence never repeats another.
        keys = unique_keys(table, encoding.given)
        checks = [
            (check["expression"], check["columns"])
            for check in table.facts["checks"]
            if set(check["columns"]) <= set(encoding.names)
        ]
        self._required = [
            item.name for item in table.columns if item.is_required and item.name in encoding.names
        ]
        self._may_share = [_shared_columns(key, encoding) for key in keys]
        self._watched = sorted({name for key in keys for name in key.columns})
        self._of_keys = StagingTable(session, table, encoding, "keys", self._watched)
        self._tail: pa.RecordBatch | None = None
        """The last rows of the previous batch."""
        watched = {name for _, columns in checks for name in columns}
        self._of_checks = StagingTable(session, table, encoding, "checks", watched)
        self._later = [_later_of_one_key(key, self._of_keys) for key in keys]
        self._known = [_known(table, key, self._of_keys) for key in keys]
        refused = " OR ".join(f"NOT ({expression})" for expression, _ in checks)
        places = f"SELECT {self._of_checks.place} FROM {self._of_checks.name}"
        self._refused = [f"{places} WHERE {refused}"] if checks else []
        self._meets_refused = self._meets_known = False
        """Whether the previous batch had rows that a check refused, or rows with known keys."""
        self._tries = 0

    def find(self, rows: pa.RecordBatch) -> Script[set[int]]:
        """Return the places of suspect rows, before the other rows of a batch are sent."""
        found = {
            int(place.as_py())
            for name in self._required
            if rows.column(name).null_count
            for place in pc.indices_nonzero(pc.is_null(rows.column(name)))
        }
        found |= yield from self._find_sharing(rows)
        self._tries = 0
        if self._meets_refused:
            found |= yield from self._find_refused(rows)
        if self._meets_known:
            found |= yield from self._find_known(rows)
        return found

    def find_more(self, rows: pa.RecordBatch, refusal: RowError) -> Script[set[int]]:
        """Return the places of more suspect rows, after one of the other rows was refused."""
        if refusal.state == _CHECK_VIOLATION and not self._meets_refused:
            found = yield from self._find_refused(rows)
            if found:
                return found
        self._tries += 1
        if self._tries <= FEW_KNOWN and refusal.place is not None:
            return {refusal.place}  # its key may already be in the table
        return set() if self._meets_known else (yield from self._find_known(rows))

    def _find_sharing(self, rows: pa.RecordBatch) -> Script[set[int]]:
        if not self._may_share:
            return set()
        keys = rows.select(self._watched)
        given = keys if self._tail is None else pa.concat_batches([self._tail, keys])
        before = given.num_rows - rows.num_rows
        self._tail = keys.take(pa.arange(max(rows.num_rows - TAIL_ROWS, 0), rows.num_rows))
        sharing: set[int] = set()
        for names in self._may_share:
            every = range(before, given.num_rows)
            sharing.update(every if names is None else _sharing(given, names))
        return (yield from _find_by(self._of_keys, self._later, given, sorted(sharing), before))

    def _find_refused(self, rows: pa.RecordBatch) -> Script[set[int]]:
        found = yield from _find_by(self._of_checks, self._refused, rows)
        self._meets_refused = bool(found)
        return found

    def _find_known(self, rows: pa.RecordBatch) -> Script[set[int]]:
        found = yield from _find_by(self._of_keys, self._known, rows)
        self._meets_known = len(found) > FEW_KNOWN
        return found


def _find_by(
    staging: StagingTable,
    queries: Sequence[str],
    rows: pa.RecordBatch,
    chosen: Sequence[int] | None = None,
    before: int = 0,
) -> Script[set[int]]:
    """Return the places of the rows that any of the queries finds, among all rows or those chosen.

    The first ``before`` rows belong to the previous batch and have no place in this one.
    """
    found: set[int] = set()
    at = pa.arange(0, rows.num_rows) if chosen is None else pa.array(chosen, pa.int64())
    if not queries or not len(at):
        return found
    yield staging.emptying
    yield Statement("SAVEPOINT ingest_suspects")
    try:
        yield staging.filling(rows.take(at), pc.subtract(at, before))
        for query in queries:
            found |= {place for (place,) in (yield Query(query)) if place >= 0}
    except Exception as error:
        if not may_be_of_row(error):
            raise
        yield Statement("ROLLBACK TO SAVEPOINT ingest_suspects")
        yield Statement("RELEASE SAVEPOINT ingest_suspects")
        raise CannotTellError from None
    yield Statement("RELEASE SAVEPOINT ingest_suspects")
    return found


_ALIKE = {
    *("bool", "int2", "int4", "int8", "numeric", "text", "varchar", "uuid"),
    *("date", "time", "timestamp", "timestamptz"),
}
"""Types whose equal values are equal in Arrow, unless a collation says otherwise."""


def _shared_columns(key: UniqueKey, encoding: CopyEncoding) -> list[str] | None:
    """Return the columns by which Arrow can find rows that share the key, or None."""
    kinds = {
        item.column.name: item.column.type_name for item in encoding.columns if item.dump is None
    }
    if key.plain and all(kinds.get(name) in _ALIKE for name in key.plain):
        return list(key.plain)
    return None


def _sharing(rows: pa.RecordBatch, names: list[str]) -> set[int]:
    """Return the places of rows with the same values as another row; a null equals nothing."""
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in names])
    following, before = order[1:], order[:-1]
    is_same = pa.scalar(True)
    for name in names:
        values = rows.column(name)
        is_same = pc.and_(is_same, pc.equal(values.take(following), values.take(before)))
    at = pc.indices_nonzero(is_same)
    return {*following.take(at).to_pylist(), *before.take(at).to_pylist()}


def unique_keys(table: Table, given: Sequence[str]) -> list[UniqueKey]:
    """Return the unique keys that depend only on the given columns."""
    return [
        UniqueKey(
            name=key["name"],
            expressions=tuple(key["expressions"]),
            operators=tuple(key["operators"]),
            predicate=key["predicate"] or "true",
            columns=tuple(key["columns"]),
            plain=tuple(key["plain"]),
            parts=tuple(key["parts"]),
        )
        for key in table.facts["unique_keys"]
        if set(key["columns"]) <= set(given) and len(key["expressions"]) == len(key["operators"])
    ]


def _later_of_one_key(key: UniqueKey, probe: StagingTable) -> str:
    """Return a query for the rows that share a key with an earlier row; a null equals nothing."""
    expressions = ", ".join(key.expressions)
    rows = f"FROM {probe.name} WHERE ({key.predicate}) AND ROW({expressions}) IS NOT NULL"
    # The first of them need not be suspect: the others are tried after it in any case.
    return (
        f"SELECT {probe.place} {rows} AND NOT ({probe.place} OPERATOR(pg_catalog.=) ANY "
        f"(SELECT pg_catalog.min({probe.place}) {rows} GROUP BY {expressions}))"
    )


def _known(table: Table, key: UniqueKey, probe: StagingTable) -> str:
    """Return a query for the rows whose key is already in the table."""
    # Only the keys that the table shares with the batch are read, through the table's index.
    given = f"(SELECT {probe.place} AS place, {key.select} FROM {probe.name} WHERE {key.predicate})"
    known = f"(SELECT {key.select} FROM {table.qualified_name} WHERE {key.predicate})"
    return (
        f"SELECT given.place FROM {given} AS given WHERE EXISTS "
        f"(SELECT FROM {known} AS known WHERE {key.equal('known', 'given')} AND EXISTS "
        f"(SELECT FROM {given} AS again WHERE {key.equal('known', 'again')}))"
    )
