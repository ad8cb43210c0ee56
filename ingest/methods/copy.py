"""COPY in binary format through asyncpg: every constraint checked by PostgreSQL itself."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.conversion import Converter
from ingest.exceptions import CountMismatch, RecordsRefused
from ingest.methods.base import Method
from ingest.refusals import explain
from ingest.session import CopyTarget, Session, adaptation_context, open_asyncpg_session
from ingest.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.methods.base import Row, Target
    from ingest.table import Table


class CopyMethod(Method):
    """Streams binary COPY, one statement for each batch, all in one transaction."""

    name: ClassVar[str] = "copy"
    summary: ClassVar[str] = "binary COPY through asyncpg, encoded a column at a time"
    place: ClassVar[int] = 50
    driver: ClassVar[str] = "asyncpg"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._stack = ExitStack()
        self.decisions: list[str] = []
        """What was decided on the way, a sentence each."""

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
        columns = tuple(field.attname for field in self.target.fields)
        converter = Converter(
            table=self.target.table,
            fields=self.target.fields,
            alias=self.target.alias,
            context=adaptation_context(self.target.alias, self.target.table),
        )
        with open_source(rows, SourceOptions(columns=columns)) as source:
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

    def send(self, session: Session, encoding: Encoding, batches: Iterable[TypedBatch]) -> int:
        """Send typed batches in the session's transaction and give PostgreSQL's count of rows.

        Each batch is one COPY: an error shows before the next is sent, and its line is the ordinal
        of a row. While one is sent the next is made.
        """
        table = self.target.table
        target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        rows = 0
        on_its_way: tuple[Future[int], TypedBatch] | None = None
        for batch in batches:
            if not len(batch.records):
                continue
            payload = encoding.encode(batch.rows)
            if on_its_way is not None:
                rows += _land(*on_its_way, table)
                on_its_way = None
            self.admit(batch)
            on_its_way = session.start_copy(target, payload), batch
        if on_its_way is not None:
            rows += _land(*on_its_way, table)
        return rows

    def admit(self, batch: TypedBatch) -> None:
        """Prove what PostgreSQL will not check of a batch; nothing here, where it checks all."""


def _land(future: Future[int], batch: TypedBatch, table: Table) -> int:
    try:
        rows = future.result()
    except Exception as error:
        refusal = explain(error, table, batch.records)
        if refusal is None:
            raise
        raise refusal from error
    if rows != len(batch.records):
        raise CountMismatch(
            f"PostgreSQL took {rows:,} of {len(batch.records):,} rows that were sent into "
            f"{table.qualified_name}: a trigger or a rule kept the others out. Nothing was loaded."
        )
    return rows


def _accepted(converter: Converter, batches: Any) -> Iterable[TypedBatch]:
    for batch in batches:
        typed = converter.convert(batch)
        if typed.rejects:
            raise RecordsRefused(typed.rejects)
        yield typed
