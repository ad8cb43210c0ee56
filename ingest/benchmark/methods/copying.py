"""The writers of a load as methods of the benchmark: ``copy`` and ``direct``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from ingest.benchmark.methods.base import OF_POSTGRES, Costs, Method
from ingest.conversion.slow_fields import add_up
from ingest.exceptions import RecordsRefused
from ingest.postgres.catalog import read_table
from ingest.postgres.errors import explain
from ingest.postgres.session import open_asyncpg_session
from ingest.sources import SourceOptions, open_source
from ingest.writing.copy import CopyWriter
from ingest.writing.direct import DirectWriter
from ingest.writing.primary_keys import PrimaryKeys
from ingest.writing.timings import Stages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from ingest.benchmark.methods.base import Row, Target
    from ingest.conversion import Converter, TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.sources import Batch, Source
    from ingest.writing.direct import Indexes, References
    from ingest.writing.primary_keys import Purpose


class CopyMethod(Method):
    """Converts, encodes and sends like a load, in one transaction, but without the ledger."""

    name: ClassVar[str] = "copy"
    summary: ClassVar[str] = "binary COPY through asyncpg, encoded a column at a time"
    place: ClassVar[int] = 50
    driver: ClassVar[str] = "asyncpg"
    purpose: ClassVar[Purpose] = "none"
    """What the keys of the rows are needed for."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._stack = ExitStack()

    def make_writer(
        self, table: Table | None = None, *, stages: Stages | None = None
    ) -> CopyWriter:
        """Return the writer for the table as its transaction has read it."""
        return CopyWriter(table or self.target.table, self.target.model, stages=stages)

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
        converter = self.target.converter()  # reports what it refuses before the first row
        columns = tuple(field.attname for field in self.target.fields)
        with open_source(rows, SourceOptions(columns=columns)) as source:
            return self._write(source, converter)

    def write_file(self, path: str) -> int:
        with open_source(path, OF_POSTGRES) as source:
            return self._write(source, self.target.converter(has_postgres_text=True))

    def _write(self, source: Source, converter: Converter) -> int:
        stages = Stages()
        batches = _accepted(converter, stages.watch("read", source.batches()), stages)
        writer = None
        started = time.perf_counter()
        try:
            with stages.stage("commit"), self._session.transaction():
                table = read_table(self._session, self.target.table.oid)
                writer = self.make_writer(table, stages=stages)
                keys = PrimaryKeys(
                    self._session,
                    table,
                    self.target.model,
                    converter.encoding,
                    purpose=self.purpose,
                )
                results = writer.write(self._session, keys, batches)
                return sum(result.counts.loaded for result in results)
        except Exception as error:
            # A deferred constraint is checked at the COMMIT.
            refusal = explain(error)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            if writer is not None:
                self.decisions.extend(writer.decisions)
                slow = add_up(converter.slow_fields)
                self.decisions.extend(field.told() for field in slow)
                self.costs = Costs(
                    seconds=time.perf_counter() - started,
                    stages=stages.seconds,
                    fields=converter.seconds,
                    slow_fields=slow,
                )


class DirectMethod(CopyMethod):
    """Does the same with the writer that checks references as a set and builds indexes once."""

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "COPY with references checked as a set and indexes built once"
    place: ClassVar[int] = 60

    def __init__(
        self, target: Target, *, references: References = "auto", indexes: Indexes = "auto"
    ) -> None:
        super().__init__(target)
        self.references = references
        self.indexes = indexes

    def make_writer(
        self, table: Table | None = None, *, stages: Stages | None = None
    ) -> CopyWriter:
        return DirectWriter(
            table or self.target.table,
            self.target.model,
            stages=stages,
            references=self.references,
            indexes=self.indexes,
        )


def _accepted(
    converter: Converter, batches: Iterable[Batch], stages: Stages
) -> Iterable[TypedBatch]:
    for batch in batches:
        with stages.stage("convert"):
            typed = converter.convert(batch)
        if typed.rejects:
            raise RecordsRefused(typed.rejects)
        yield typed
