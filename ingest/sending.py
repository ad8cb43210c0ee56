"""Typed batches go to PostgreSQL, one COPY each, and what it refuses of them comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.exceptions import CountMismatch
from ingest.isolation import Isolation
from ingest.refusals import explain
from ingest.rejects import Kind, Reject
from ingest.session import Copying, CopyTarget, Statement
from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.isolation import RefusedRow
    from ingest.session import Script, Session
    from ingest.table import Table

    Refuse = Callable[[Sequence[Reject]], None]
    """Takes the rejects of one batch, by record."""
    Sent = tuple[int, Sequence[RefusedRow]]
    """How many rows went in, and those that did not."""

_KINDS: dict[str, Kind] = {"23503": "reference", "23505": "duplicate"}
"""What an SQLSTATE means; any other is some constraint's or trigger's."""


class Flight:
    """Sends one batch at a time, and takes in what PostgreSQL says of it."""

    def __init__(
        self, session: Session, table: Table, encoding: Encoding, refuse: Refuse | None
    ) -> None:
        self.rows = 0
        self._session = session
        self._table = table
        self._refuse = refuse
        self._target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        self._on_its_way: tuple[Future[Sent], TypedBatch] | None = None
        self._isolation = None
        session.landing = self.land
        if refuse is not None:
            # A deferred constraint would speak when it is too late to say which row it was.
            for constraint in table.constraints:
                if constraint.is_deferrable:
                    name = f"{quote_name(table.schema)}.{quote_name(constraint.name)}"
                    session.execute(f"SET CONSTRAINTS {name} IMMEDIATE")
            self._isolation = Isolation(session, table, encoding)

    def start(self, batch: TypedBatch, payload: bytes) -> None:
        """Send a batch; the one before must have landed."""
        if not len(batch.records):
            if self._refuse is not None:
                self._refuse(batch.rejects)
            return
        self._on_its_way = self._session.start(self._send(batch, payload)), batch

    def land(self) -> None:
        """Wait for the batch that is on its way."""
        if self._on_its_way is None:
            return
        future, batch = self._on_its_way
        self._on_its_way = None
        try:
            rows, refused = future.result()
        except Exception as error:
            refusal = explain(error, self._table, batch.records)
            if refusal is None:
                raise
            raise refusal from error
        if rows + len(refused) != len(batch.records):
            raise CountMismatch(
                f"PostgreSQL took {rows:,} of {len(batch.records):,} rows that were sent into "
                f"{self._table.qualified_name}: a trigger or a rule kept the others out. "
                "Nothing was loaded."
            )
        self.rows += rows
        if self._refuse is not None:
            rejects = [*batch.rejects, *(_reject(batch, row) for row in refused)]
            rejects.sort(key=lambda reject: reject.record)
            self._refuse(rejects)

    def _send(self, batch: TypedBatch, payload: bytes) -> Script[Sent]:
        copying = Copying(self._target, payload)
        if self._isolation is None:
            return (yield copying), ()
        yield Statement("SAVEPOINT ingest_batch")
        try:
            rows = yield copying
            sent: Sent = rows, ()
        except Exception as error:
            if explain(error) is None:
                raise
            # The frames it passed hold the batch, in a circle that is found late.
            error.__traceback__ = None
            yield Statement("ROLLBACK TO SAVEPOINT ingest_batch")
            sent = yield from self._isolation.isolate(batch.rows, payload)
        yield Statement("RELEASE SAVEPOINT ingest_batch")
        return sent


def _reject(batch: TypedBatch, row: RefusedRow) -> Reject:
    column, field = batch.origins.get(row.column, (None, None))
    parts = [row.message, row.detail]
    if row.is_in_source is not None:
        parts.append(
            "The source has this key in an earlier record too."
            if row.is_in_source
            else "The table had this key before the load."
        )
    return Reject(
        source=batch.source,
        record=batch.records[row.place],
        line=batch.find_line(batch.records[row.place]),
        column=column,
        field=field,
        value=None,
        reason=" ".join(part if part.endswith(".") else f"{part}." for part in parts if part),
        kind=_KINDS.get(row.state, "constraint"),
        constraint=row.constraint or None,
    )
