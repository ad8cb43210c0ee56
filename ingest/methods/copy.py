"""COPY in binary format through asyncpg: every constraint checked by PostgreSQL itself."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ingest.exceptions import RecordsRefused
from ingest.methods.base import Method
from ingest.refusals import explain
from ingest.sending import Flight
from ingest.session import open_asyncpg_session
from ingest.sources import SourceOptions, open_source
from ingest.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    import pyarrow as pa

    from ingest.conversion import Converter, TypedBatch
    from ingest.encoding import Encoding
    from ingest.methods.base import Row, Target
    from ingest.sending import Follower, Refuse
    from ingest.session import Session
    from ingest.sources import Batch, Source


class Admitted(NamedTuple):
    """What may be sent of a batch."""

    batch: TypedBatch
    leaves_out_triggers: bool = False
    """Is all that the table's triggers would check of it proved?"""


class CopyMethod(Method):
    """Streams binary COPY, one statement for each batch, all in one transaction."""

    name: ClassVar[str] = "copy"
    summary: ClassVar[str] = "binary COPY through asyncpg, encoded a column at a time"
    place: ClassVar[int] = 50
    driver: ClassVar[str] = "asyncpg"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.stages = Stages()
        """Where the time of each stage is counted."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._session = self._stack.enter_context(open_asyncpg_session(self.target.alias))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write_checked(self, rows: Iterable[Row]) -> int:
        converter = self.target.converter()  # what it refuses is told before the first row
        columns = tuple(field.attname for field in self.target.fields)
        with open_source(rows, SourceOptions(columns=columns)) as source:
            return self._write(source, converter)

    def write_file(self, path: str) -> int:
        with open_source(path) as source:
            return self._write(source, self.target.converter())

    def _write(self, source: Source, converter: Converter) -> int:
        try:
            with self._session.transaction():
                return self.send(
                    self._session, converter.encoding, _accepted(converter, source.batches())
                )
        except Exception as error:
            # A deferred constraint speaks at the COMMIT.
            refusal = explain(error)
            if refusal is None:
                raise
            raise refusal from error

    def send(
        self,
        session: Session,
        encoding: Encoding,
        batches: Iterable[TypedBatch],
        refuse: Refuse | None = None,
        follower: Follower | None = None,
    ) -> int:
        """Send typed batches in the session's transaction and give PostgreSQL's count of rows.

        Each batch is one COPY: an error shows before the next is sent, and its line is the ordinal
        of a row. While one is sent the next is made. A refused row is an error, unless ``refuse``
        is there to take it: it is called for each batch, in order. ``follower`` is told of each.
        """
        flight = Flight(session, self.target.table, encoding, refuse, follower)
        if self.target.table.row_security:
            self.decisions.append(
                "Rows: inserted from a temporary table, because COPY is not possible under row "
                "security."
            )
        stage = self.stages.stage
        for batch in batches:
            with stage("encode"):
                order = self.order_of(batch)
                payload = flight.encode(batch, order)
            with stage("send"):
                flight.land()
            with stage("look up references"):
                admitted, leaves_out_triggers = self.admit(batch, refuse)
            if admitted is not batch:
                with stage("encode"):
                    order = self.order_of(admitted)
                    payload = flight.encode(admitted, order)
            with stage("send"):
                flight.start(admitted, payload, order, leaves_out_triggers=leaves_out_triggers)
            del payload
        with stage("send"):
            flight.land()
        return flight.rows

    def order_of(self, batch: TypedBatch) -> pa.Array | None:  # noqa: ARG002
        """Give the places of the batch's rows in the order they are sent; None: as they are."""
        return None

    def admit(self, batch: TypedBatch, refuse: Refuse | None) -> Admitted:  # noqa: ARG002
        """Prove what PostgreSQL will not check of a batch, and give what it may have of it.

        Nothing here, where PostgreSQL checks all.
        """
        return Admitted(batch)


def _accepted(converter: Converter, batches: Iterable[Batch]) -> Iterable[TypedBatch]:
    for batch in batches:
        typed = converter.convert(batch)
        if typed.rejects:
            raise RecordsRefused(typed.rejects)
        yield typed
