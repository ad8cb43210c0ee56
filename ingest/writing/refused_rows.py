"""Find the record and the values that PostgreSQL refused, for error messages and rejects."""

from __future__ import annotations

import dataclasses
import re
import uuid
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.exceptions import ConstraintRefused
from ingest.plurals import counted
from ingest.postgres.errors import RowError, explain, refusal_error, refusal_of
from ingest.postgres.quoting import unquoted
from ingest.results.rejects import Kind, Reject, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.sources.batch import FileRecords
    from ingest.writing.foreign_keys import MissingReference

KEPT_BYTES = 8 << 20
"""The size of the rows that are kept of the latest batches, for a refusal after the last COPY: some
100,000 short ones. A record before them is named without its line."""
KEPT_FILES = 1_000
"""The most files of these batches: each needs some 28 KB in addition to its rows, such as its
source."""
UUID_BYTES = 16
_KINDS: dict[str, Kind] = {"23503": "reference", "23505": "duplicate"}
"""The kinds of SQLSTATEs; all others are from other constraints or from triggers."""
_KEY = re.compile(r"\((.*?)\)=\(")
"""PostgreSQL's detail, in any language: ``Key (account_id, "Number")=(7, A1) already exists.``"""
_NAME = re.compile(r'"(?:[^"]|"")+"|[\w$]+')


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefusedRow:
    """A row that PostgreSQL refused."""

    place: int
    """The row's place in the batch, from 0."""
    state: str
    """The SQLSTATE."""
    message: str
    detail: str
    constraint: str
    column: str
    is_in_source: bool | None
    """For a duplicate: whether the row that it repeats is of the same load. Otherwise None."""

    @classmethod
    def of(cls, refusal: RowError, place: int) -> RefusedRow:
        """Return the row at this place, as PostgreSQL refused it."""
        return cls(
            place=place,
            state=str(refusal.state),
            message=refusal.message,
            detail=refusal.detail,
            constraint=refusal.constraint,
            column=refusal.column,
            is_in_source=None,
        )


def explain_refusal(
    error: Exception, table: Table, batch: TypedBatch, order: pa.Array | None
) -> ConstraintRefused | None:
    """Convert a driver's error about a batch to one that names the record, its line and values.

    ``order`` has the places of the rows in the order in which they were sent. Returns None if the
    error is not about a row.
    """
    places = range(len(batch.records)) if order is None else order.to_pylist()
    refusal = _refusal(error, table, places)
    if refusal is None:
        return None
    if refusal.place is None:
        refusal = refusal._replace(place=find_place(refusal, table, batch))
    return describe(refusal, table, batch)


def _refusal(error: BaseException, table: Table, places: Sequence[int]) -> RowError | None:
    """Read a driver's error with the table's own names; return None if it is not about a row."""
    said = refusal_of(error, table.name, places)
    own = own_refusal(said, table)
    # In a COPY into shards, only the constraint shows that the error is about a row.
    return None if explain(error) is None and own.state == said.state else own


def own_refusal(refusal: RowError, table: Table) -> RowError:
    """Return a refusal with the table's own names instead of those of partitions or shards."""
    if table.distribution is not None:
        refusal = table.distribution.own(refusal)
    for key in table.facts["unique_keys"]:
        if refusal.constraint in key["parts"]:
            return refusal._replace(constraint=key["name"])
    return refusal


def describe(
    refusal: RowError, table: Table, batch: TypedBatch, cure: str = ""
) -> ConstraintRefused:
    """Return an error that names the refused row of a batch; ``cure`` replaces the usual advice."""
    if refusal.place is None:
        where = f"a record of {batch.source}"
    else:
        where = locate(batch, refusal.place, columns_of(refusal, table))
    return refusal_error(
        str(refusal.state), where, refusal.message, refusal.detail, refusal.constraint, cure
    )


def locate(batch: TypedBatch, place: int, columns: Sequence[str]) -> str:
    """Return the source, record, line, columns and values of a row, for a message.

    ``columns`` are columns of the table; only those that the source feeds are named.
    """
    record = batch.records[place]
    where = name_record(*batch.batch.origin(record), batch.find_line(record))
    parts = [where]
    for name in columns:
        if name not in batch.origins:
            continue
        column, field = batch.origins[name]
        of_field = "" if field == column else f" (field {field!r})"
        parts.append(f"column {column!r}{of_field}: {shorten(value_of(batch, name, record))}")
    return ", ".join(parts)


def name_record(source: str, record: int, line: int | None) -> str:
    """Return the source, the record and its line, in the same form as in ``Reject``."""
    of_line = "" if line is None or line == record else f" (line {line:,})"
    return f"{source}, record {record:,}{of_line}"


def columns_of(refusal: RowError, table: Table) -> tuple[str, ...]:
    """Return the table's columns that a refusal is about, or none if they are unknown."""
    known = {column.name for column in table.columns}
    if refusal.column in known:
        return (refusal.column,)
    for constraint in table.constraints:
        if constraint.name == refusal.constraint and constraint.columns:
            return constraint.columns
    key = _KEY.search(refusal.detail)  # a unique index without a constraint, or an expression
    if key is None:
        return ()
    names = (unquoted(name) for name in _NAME.findall(key[1]))
    return tuple(dict.fromkeys(name for name in names if name in known))


def reject_of(batch: TypedBatch, row: RefusedRow, table: Table, known: str) -> Reject:
    """Return the reject for a refused row; ``known`` is the sentence for a key known before."""
    refusal = RowError(row.state, row.place, row.message, row.detail, row.constraint, row.column)
    fed = [name for name in columns_of(refusal, table) if name in batch.origins]
    column, field = batch.origins[fed[0]] if len(fed) == 1 else (None, None)
    parts = [row.message, row.detail]
    if row.is_in_source is not None:
        parts.append(
            "The source has this key in an earlier record too." if row.is_in_source else known
        )
    return batch.reject(
        row.place,
        " ".join(part if part.endswith(".") else f"{part}." for part in parts if part),
        _KINDS.get(row.state, "constraint"),
        column=column,
        field=field,
        value=None if column is None else value_of(batch, fed[0], batch.records[row.place]),
        constraint=row.constraint or None,
    )


def reject_missing(missing: MissingReference, batch: TypedBatch) -> Reject:
    """Return the reject for a row whose parent does not exist."""
    key = missing.constraint
    is_single = len(key.columns) == 1
    column, field = batch.origins.get(key.columns[0], (None, None)) if is_single else (None, None)
    return batch.reject(
        missing.place,
        f"{_key_of(missing)} is not present in table {key.references}.",
        "reference",
        column=column,
        field=field,
        value=missing.value if is_single else None,
        constraint=key.name,
    )


def explain_missing(missing: Sequence[MissingReference], batch: TypedBatch) -> ConstraintRefused:
    """Return an error that names the first row of a batch whose parent does not exist."""
    first = missing[0]
    key = first.constraint
    others = len({item.place for item in missing}) - 1  # a row may break two foreign keys
    more = f" {counted(others, 'more row')} of the same batch." if others else ""
    return ConstraintRefused(
        f"PostgreSQL would refuse {locate(batch, first.place, key.columns)}: "
        f"{_key_of(first)} is not present in table {key.references}, as the foreign key "
        f"{key.name!r} asks.{more} Load the referenced rows first, or fix the value."
    )


def _key_of(missing: MissingReference) -> str:
    return f"Key ({', '.join(missing.constraint.columns)})=({missing.value})"


def find_place(refusal: RowError, table: Table, batch: TypedBatch) -> int | None:
    """Return the place of the row with the key in PostgreSQL's detail, or None.

    This is needed because a check at the end of COPY reports no line. If two rows have the same
    key of a unique constraint, the second one was refused.
    """
    key = _KEY.search(refusal.detail)
    if key is None:
        return None
    names = [column for item in table.constraints if item.name == refusal.constraint
             for column in item.columns]  # fmt: skip
    # A unique index without a constraint. One with an expression does not name columns only.
    names = names or [unquoted(name) for name in key[1].split(", ")]
    if not set(names) <= set(batch.rows.schema.names):
        return None
    said = refusal.detail[key.end() :]
    cells = [batch.rows.column(name).to_pylist() for name in names]
    texts = [
        None if None in row else ", ".join(map(_as_text, row)) for row in zip(*cells, strict=True)
    ]
    found = [
        (len(text), place)
        for place, text in enumerate(texts)
        if text is not None and said.startswith(f"{text})")
    ]
    if not found:
        return None
    longest = max(length for length, _ in found)  # "1)" begins with "1", too
    places = [place for length, place in found if length == longest]
    is_repeated = refusal.state == "23505" and len(places) > 1
    return places[1] if is_repeated else places[0]


@dataclasses.dataclass
class RecentBatches:
    """The latest batches of a load, in which a row that was refused later can be found."""

    _batches: deque[TypedBatch] = dataclasses.field(default_factory=deque)
    _bytes: int = 0
    _files: int = 0

    def __iter__(self) -> Iterator[TypedBatch]:
        return iter(self._batches)

    def add(self, batch: TypedBatch) -> None:
        """Keep a batch, and drop the earliest ones if there are too many."""
        self._batches.append(batch)
        self._bytes += batch.rows.nbytes
        self._files += _files_of(batch)
        while len(self._batches) > 1 and self._are_too_many():
            first = self._batches.popleft()
            self._bytes -= first.rows.nbytes
            self._files -= _files_of(first)

    def _are_too_many(self) -> bool:
        return self._bytes > KEPT_BYTES or self._files > KEPT_FILES

    def explain(self, error: Exception, table: Table) -> ConstraintRefused | None:
        """Convert an error after the last COPY to one that names the record, if it is found."""
        refusal = _refusal(error, table, ())
        if refusal is None:
            return None
        for batch in self._batches:
            place = find_place(refusal, table, batch)
            if place is not None:
                return describe(refusal._replace(place=place), table, batch)
        return refusal_error(
            str(refusal.state), "a record", refusal.message, refusal.detail, refusal.constraint
        )

    def locate(
        self, source: str, files: FileRecords | None, record: int, columns: Sequence[str]
    ) -> str | None:
        """Return the result of ``locate`` for a record, or None if its batch is not kept.

        ``source`` and ``files`` are those of the record's batch.
        """
        for batch in self._batches:
            if batch.source != source or batch.batch.files is not files:
                continue
            place = bisect_left(batch.records, record)
            if place < len(batch.records) and batch.records[place] == record:
                return locate(batch, place, columns)
        return None


def _files_of(batch: TypedBatch) -> int:
    return 1 if batch.batch.files is None else len(batch.batch.files)


def value_of(batch: TypedBatch, column: str, record: int) -> Any:
    """Return the source's value for a column of the table in one record."""
    cells = batch.batch.columns[list(batch.origins).index(column)]
    cell = cells[bisect_left(batch.batch.records, record)]
    value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    find = batch.batch.find_original
    return value if find is None else find(batch.origins[column][1], record, value)


def _as_text(cell: Any) -> str:
    if isinstance(cell, bytes):
        is_uuid = len(cell) == UUID_BYTES
        return str(uuid.UUID(bytes=cell)) if is_uuid else cell.decode(errors="replace")
    return str(cell)
