"""Typed batches go to PostgreSQL, one COPY each; what became of each comes back as a result."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from ingest.exceptions import CountMismatch
from ingest.isolation import Isolation
from ingest.refusals import explain, refusal_error
from ingest.rejects import Kind, Reject
from ingest.session import Copying, CopyTarget

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Future

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.isolation import RefusedRow
    from ingest.keys import Keys
    from ingest.session import Script, Session
    from ingest.table import Table

    Sent = tuple[int, Sequence[RefusedRow]]
    """How many rows went in, and those that did not."""

KNOWN_BEFORE_LOAD = "The table had this key before the load."
KNOWN_BEFORE_CHUNK = "The table has this key from before the load, or from an earlier chunk."
"""What is said of a key that was in the table before the open transaction."""
_KINDS: dict[str, Kind] = {"23503": "reference", "23505": "duplicate"}
"""What an SQLSTATE means; any other is some constraint's or trigger's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of one batch."""

    batch: TypedBatch
    """The batch as it was sent: without the records that were refused before."""
    rows: int
    """How many of its rows are in the table."""
    refused: Collection[int] = ()
    """The places of its rows that PostgreSQL refused."""
    rejects: Sequence[Reject] = ()
    """Every reason of every refused record, by record: those of before it was sent, too."""
    keys: list[str] = dataclasses.field(default_factory=list)
    """The keys of its rows that are in no short ranges, as text; see ``Keys.note``."""


class CopyStream:
    """Sends one batch at a time by COPY, while the caller makes the next one."""

    def __init__(
        self,
        session: Session,
        table: Table,
        keys: Keys,
        encoding: Encoding,
        *,
        skips_refused: bool,
        is_first_chunk: bool,
    ) -> None:
        """``skips_refused``: a refused row is no error, but part of its batch's result."""
        self._session = session
        self._table = table
        self._keys = keys
        self._encoding = encoding
        self._skips_refused = skips_refused
        self._known = KNOWN_BEFORE_LOAD if is_first_chunk else KNOWN_BEFORE_CHUNK
        self._target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        self._pending: tuple[Future[Sent], TypedBatch] | None = None
        self._isolation = None
        self.inserters: str | None = None
        """The table that the savepoints of the load are marked in; see ``Isolation``."""
        if skips_refused or table.row_security:
            self._isolation = Isolation(session, table, encoding, ends_at_first=not skips_refused)
            self.inserters = self._isolation.inserters

    def encode(self, batch: TypedBatch, order: pa.Array | None) -> bytes | None:
        """Encode a batch, in this order of its places; None: it will hardly be sent as a whole."""
        if self._isolation is not None and self._isolation.expects_refused:
            return None
        return self._encoding.encode(batch.rows if order is None else batch.rows.take(order))

    def start(
        self,
        batch: TypedBatch,
        payload: bytes | None,
        order: pa.Array | None,
        *,
        leaves_out_triggers: bool,
    ) -> None:
        """Send a batch that was encoded in this order; the one before must have been waited for.

        ``leaves_out_triggers``: what the table's triggers would check is proved already.
        """
        if self._isolation is None:
            script = _send(Copying(self._target, cast("bytes", payload), leaves_out_triggers))
        else:
            script = self._isolation.send(
                batch.rows, payload, order, leaves_out_triggers=leaves_out_triggers
            )
        explained = _explained(script, self._table, batch, order)
        self._pending = self._session.start(explained), batch

    def wait(self) -> BatchResult | None:
        """Wait for the batch that is on its way, if one is, and return what became of it."""
        if self._pending is None:
            return None
        future, batch = self._pending
        self._pending = None
        rows, refused = future.result()
        if refused and not self._skips_refused:
            row = refused[0]
            raise refusal_error(
                row.state, batch.records[row.place], row.message, row.detail, row.constraint
            )
        if rows + len(refused) != len(batch.records):
            raise CountMismatch(
                f"PostgreSQL took {rows:,} of {len(batch.records):,} rows that were sent into "
                f"{self._table.qualified_name}: a trigger or a rule kept the others out."
            )
        pa.default_memory_pool().release_unused()  # each thread would keep what it has freed
        places = {row.place for row in refused}
        rejects = [*batch.rejects, *(_reject(batch, row, self._known) for row in refused)]
        rejects.sort(key=lambda reject: reject.record)
        keys = self._keys.note(batch, places)
        return BatchResult(batch=batch, rows=rows, refused=places, rejects=rejects, keys=keys)


def _send(copying: Copying) -> Script[Sent]:
    """Send a batch whose first refused row is the end of the load."""
    rows: int = yield copying
    return rows, ()


def _explained(
    script: Script[Sent], table: Table, batch: TypedBatch, order: pa.Array | None
) -> Script[Sent]:
    """Send a batch, and let an error name the record that PostgreSQL refused."""
    try:
        return (yield from script)
    except Exception as error:
        refusal = explain(error, table, _records_in(batch, order))
        if refusal is None:
            raise
        raise refusal from error


def _records_in(batch: TypedBatch, order: pa.Array | None) -> Sequence[int]:
    if order is None:
        return batch.records
    return [batch.records[place] for place in order.to_pylist()]


def _reject(batch: TypedBatch, row: RefusedRow, known: str) -> Reject:
    column, field = batch.origins.get(row.column, (None, None))
    parts = [row.message, row.detail]
    if row.is_in_source is not None:
        parts.append(
            "The source has this key in an earlier record too." if row.is_in_source else known
        )
    return Reject(
        source=batch.source,
        record=batch.records[row.place],
        line=batch.find_line(batch.records[row.place]),
        column=column,
        field=field,
        value=None if column is None else _value(batch, row.column, batch.records[row.place]),
        reason=" ".join(part if part.endswith(".") else f"{part}." for part in parts if part),
        kind=_KINDS.get(row.state, "constraint"),
        constraint=row.constraint or None,
    )


def _value(batch: TypedBatch, column: str, record: int) -> Any:
    """Give what the source has in the column that feeds a column of the table."""
    cells = batch.batch.columns[list(batch.origins).index(column)]
    cell = cells[bisect_left(batch.batch.records, record)]
    value = cell.as_py() if isinstance(cell, pa.Scalar) else cell
    return value.decode(errors="replace") if isinstance(value, bytes) else value
