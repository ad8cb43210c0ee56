"""Typed batches go to PostgreSQL, one COPY each, and what it refuses of them comes back."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from ingest.exceptions import CountMismatch
from ingest.isolation import Isolation
from ingest.refusals import explain, refusal_error
from ingest.rejects import Kind, Reject
from ingest.session import Copying, CopyTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from concurrent.futures import Future

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.isolation import RefusedRow
    from ingest.session import Script, Session
    from ingest.table import Table

    Refuse = Callable[[Sequence[Reject], TypedBatch], None]
    """Takes the rejects of one batch, by record, and the batch that had them."""
    Sent = tuple[int, Sequence[RefusedRow]]
    """How many rows went in, and those that did not."""

_KINDS: dict[str, Kind] = {"23503": "reference", "23505": "duplicate"}
"""What an SQLSTATE means; any other is some constraint's or trigger's."""


class Follower:
    """Is told of each batch; this one does not care."""

    known: str = "The table had this key before the load."
    """What is said of a key that was in the table before the open transaction."""

    inserters: str | None = None
    """The table that the savepoints of the load are marked in; see ``Isolation``."""

    def waiting(self, seconds: float) -> None:
        """Hear, in another thread, that the locked table has waited so long for the source."""

    def idle(self, batch: TypedBatch) -> None:
        """Use the connection, which is free until this batch is sent."""

    def landed(self, batch: TypedBatch, refused: Collection[int]) -> None:
        """Hear that a batch is in, but for the rows at the places that PostgreSQL refused."""


class Flight:
    """Sends one batch at a time, and takes in what PostgreSQL says of it."""

    def __init__(
        self,
        session: Session,
        table: Table,
        encoding: Encoding,
        refuse: Refuse | None,
        follower: Follower | None = None,
    ) -> None:
        self.rows = 0
        self._follower = follower or Follower()
        self._session = session
        self._table = table
        self._encoding = encoding
        self._refuse = refuse
        self._target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        self._on_its_way: tuple[Future[Sent], TypedBatch, pa.Array | None] | None = None
        self._isolation = None
        session.landing = self.land
        if refuse is not None or table.row_security:
            self._isolation = Isolation(session, table, encoding, ends_at_first=refuse is None)
            self._follower.inserters = self._isolation.inserters

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
        """Send a batch that was encoded in this order; the one before must have landed.

        ``leaves_out_triggers``: what the table's triggers would check is proved already.
        """
        if not len(batch.records):
            if self._refuse is not None:
                self._refuse(batch.rejects, batch)
            return
        self._follower.idle(batch)
        if self._isolation is None:
            script = _send(Copying(self._target, cast("bytes", payload), leaves_out_triggers))
        else:
            script = self._isolation.send(
                batch.rows, payload, order, leaves_out_triggers=leaves_out_triggers
            )
        self._on_its_way = self._session.start(script), batch, order

    def land(self) -> None:
        """Wait for the batch that is on its way."""
        if self._on_its_way is None:
            return
        future, batch, order = self._on_its_way
        self._on_its_way = None
        try:
            rows, refused = future.result()
        except Exception as error:
            refusal = explain(error, self._table, _records_in(batch, order))
            if refusal is None:
                raise
            raise refusal from error
        if refused and self._refuse is None:
            row = refused[0]
            raise refusal_error(
                row.state, batch.records[row.place], row.message, row.detail, row.constraint
            )
        if rows + len(refused) != len(batch.records):
            raise CountMismatch(
                f"PostgreSQL took {rows:,} of {len(batch.records):,} rows that were sent into "
                f"{self._table.qualified_name}: a trigger or a rule kept the others out. "
                "Nothing was loaded."
            )
        self.rows += rows
        pa.default_memory_pool().release_unused()  # each thread would keep what it has freed
        self._follower.landed(batch, {row.place for row in refused})
        if self._refuse is not None:
            rejects = [
                *batch.rejects,
                *(_reject(batch, row, self._follower.known) for row in refused),
            ]
            rejects.sort(key=lambda reject: reject.record)
            self._refuse(rejects, batch)


def _send(copying: Copying) -> Script[Sent]:
    """Send a batch whose first refused row is the end of the load."""
    rows: int = yield copying
    return rows, ()


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
