"""The candidates of a benchmark: the methods, and two baselines to compare them with."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from django.db import connections
from psycopg import sql

from ingest.benchmark.methods.base import OF_POSTGRES
from ingest.benchmark.scratch.parts import create_bare, read_parts
from ingest.exceptions import RecordsRefused
from ingest.postgres.catalog import find_table, quote_name, read_table
from ingest.postgres.session import CopyTarget, DjangoSession, open_asyncpg_session
from ingest.sources import SourceOptions, open_source
from ingest.writing.indexes import MAINTENANCE_MEMORY_KB, MORE_MEMORY
from ingest.writing.preconditions import why_not_leave_out_triggers
from ingest.writing.row_order import find_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.benchmark.methods.base import Costs, Method
    from ingest.benchmark.prepare import Material
    from ingest.benchmark.psql import Psql
    from ingest.conversion import Converter, TypedBatch
    from ingest.postgres.encoding import CopyEncoding
    from ingest.writing.row_order import RowOrder

    Write = Callable[[], float | None]
    """Writes the rows. Returns the seconds it took if a separate program measured them."""


class Candidate(ABC):
    """Writes the first rows of the material into a table, as often as needed."""

    name: str
    is_yardstick = True
    """Whether it is only there for comparison."""
    row_cap: int | None = None
    """The most rows worth waiting for; None: no cap."""
    decisions: tuple[str, ...] = ()
    """The decisions of the last run, a sentence each."""
    costs: Costs | None = None
    """Where the last run spent its time, if the candidate knows."""

    def __init__(self, material: Material) -> None:
        self.material = material

    def refusals(self) -> list[str]:
        """Return sentences that say why it cannot take part; an empty list if it can."""
        return []

    @abstractmethod
    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        """Prepare everything that is not timed, and yield the function that writes the rows."""

    def problem(self, count: int) -> str | None:
        """Return what is wrong with the rows it has written, or None if nothing is."""
        return self.material.reference.problem(count)


class MethodCandidate(Candidate):
    """One of ingest's methods."""

    is_yardstick = False

    def __init__(self, material: Material, method: type[Method]) -> None:
        super().__init__(material)
        self.name = method.name
        self.method = method
        self.row_cap = method.benchmark_row_cap

    def refusals(self) -> list[str]:
        return self.method.refusals(self.material.tables.model)

    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        with self.opened(self.material.target.alias, count) as write:
            yield write

    @contextmanager
    def opened(self, alias: str, count: int) -> Iterator[Write]:
        """Open the method on a database alias that leads to the tables."""
        file = self.material.files.get(count)
        with self.method(dataclasses.replace(self.material.target, alias=alias)) as method:
            if file is None:
                rows = self.material.rows[:count]

                def write() -> None:
                    method.write(rows)
            else:
                path = str(file)

                def write() -> None:
                    method.write_file(path)

            yield write
            self.decisions = tuple(dict.fromkeys(method.decisions))
            self.costs = method.costs


class PsqlBaseline(Candidate):
    r"""psql's ``\copy`` of the CSV file into the same table, as timed by psql."""

    name = "psql"

    def __init__(self, material: Material, psql: Psql) -> None:
        super().__init__(material)
        self._psql = psql

    def refusals(self) -> list[str]:
        has_fields = bool(self.material.target.fields)
        return [] if has_fields else ["psql cannot copy a file that has no column."]

    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        file = self.material.files[count]
        target = self.material.target
        columns = ", ".join(
            quote_name(target.table.column(str(field.column)).name) for field in target.fields
        )
        command = (
            f"\\copy {self.material.tables.name} ({columns}) from '{file.name}' "
            "with (format csv, header true, encoding 'UTF8')"
        )
        with self._orm_defaults():
            yield lambda: self._psql.seconds([command], Path(file.parent))

    @contextmanager
    def _orm_defaults(self) -> Iterator[None]:
        # The file has no columns for what the ORM fills, so PostgreSQL fills them with a constant.
        alias, name = self.material.tables.alias, self.material.tables.name
        alter = f"ALTER TABLE {name} ALTER COLUMN"
        session = DjangoSession(alias)
        connection = connections[alias].connection
        back = []
        for column, value in self.material.reference.constants():
            if value is None:
                continue
            found = session.fetch(_DEFAULT, name, column)
            was = f"SET DEFAULT {found[0][0]}" if found else "DROP DEFAULT"
            back.append(f"{alter} {column} {was}")
            literal = sql.Literal(value).as_string(connection)
            session.execute(f"{alter} {column} SET DEFAULT {literal}")
        try:
            yield
        finally:
            for statement in back:
                session.execute(statement)


_DEFAULT = """
SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.adrelid
  AND a.attnum OPERATOR(pg_catalog.=) d.adnum
WHERE d.adrelid OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.regclass
  AND pg_catalog.concat('"', pg_catalog.replace(a.attname::pg_catalog.text, '"', '""'), '"')
      OPERATOR(pg_catalog.=) $2::pg_catalog.text
"""


class FloorBaseline(Candidate):
    """The minimum that PostgreSQL needs: rows into a bare table, then indexes and constraints once.

    For a table that holds rows: the minimum to maintain its indexes, for rows in the order of an
    index.
    """

    name = "floor"

    def __init__(self, material: Material) -> None:
        super().__init__(material)
        self._bare = ""
        self._encoded: dict[int, Encoded] = {}

    def refusals(self) -> list[str]:
        triggers = self.material.target.table.triggers
        if triggers:
            return [
                f"The trigger {triggers[0].name!r} must see every row: there is no floor below it."
            ]
        if self.material.table_state.holds_rows:
            reason = why_not_leave_out_triggers(DjangoSession(self.material.tables.alias))
            if reason is not None:
                return [f"Beside rows that are there no reference is to be checked, but {reason}"]
        return []

    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        tables = self.material.tables
        if count not in self._encoded:
            self._encoded = {count: Encoded(self.material, typed_batches(self.material, count))}
        encoded = self._encoded[count]
        if self.material.table_state.holds_rows:
            with self._open_on_rows(encoded) as write:
                yield write
            return
        payloads = encoded.payloads
        self._bare = create_bare(tables)
        parts = read_parts(tables, self._bare)
        target = encoded.target(tables.alias, self._bare)
        with open_asyncpg_session(tables.alias) as session:

            def write() -> None:
                with session.transaction():
                    for payload in payloads:
                        session.start_copy(target, payload).result()
                    session.fetch(MORE_MEMORY, MAINTENANCE_MEMORY_KB)  # as ``direct`` does
                    for part in parts:
                        for statement in part.add:
                            session.execute(statement)

            yield write

    @contextmanager
    def _open_on_rows(self, encoded: Encoded) -> Iterator[Write]:
        """Copy into the table itself: its indexes are maintained, and nothing else is done."""
        tables = self.material.tables
        target = encoded.target(tables.alias, tables.name)
        with open_asyncpg_session(tables.alias) as session:
            payload = encoded.in_order(find_order(tables.read_table(), target.columns))

            def write() -> None:
                with session.transaction():
                    session.execute("SET LOCAL session_replication_role = replica")
                    session.start_copy(target, payload).result()

            yield write

    def problem(self, count: int) -> str | None:
        return self.material.reference.problem(count, self._bare or None)


class Encoded:
    """Typed batches as COPY data, encoded before any clock runs."""

    def __init__(self, material: Material, batches: Sequence[TypedBatch]) -> None:
        self.encoding: CopyEncoding = material.target.converter().encoding
        self._rows = [batch.rows for batch in batches]

    @cached_property
    def payloads(self) -> list[bytes]:
        """One COPY for each batch."""
        return list(map(self.encoding.encode, self._rows))

    def in_order(self, order: RowOrder | None) -> bytes:
        """Return all rows as one COPY, sorted: their keys are generated in that order, too."""
        [rows] = pa.Table.from_batches(self._rows).combine_chunks().to_batches()
        return self.encoding.encode(rows if order is None else rows.take(order.sort(rows)))

    def target(self, alias: str, name: str) -> CopyTarget:
        """Return the target of a COPY of these bytes: the table ``name``, quoted."""
        session = DjangoSession(alias)
        oid = find_table(session, name)
        assert oid is not None  # noqa: S101 - it was created a moment ago
        table = read_table(session, oid)
        return CopyTarget(
            schema=table.schema,
            table=table.name,
            columns=self.encoding.names,
            format=self.encoding.format,
        )


def converter_of(material: Material, count: int) -> Converter:
    """Return the converter for this many rows of the material."""
    return material.target.converter(has_postgres_text=count in material.files)


def typed_batches(
    material: Material, count: int, converter: Converter | None = None
) -> list[TypedBatch]:
    """Read and convert the first rows of the material."""
    file = material.files.get(count)
    converter = converter or converter_of(material, count)
    columns = tuple(field.attname for field in material.target.fields)
    given = (
        open_source(material.rows[:count], SourceOptions(columns=columns))
        if file is None
        else open_source(str(file), OF_POSTGRES)
    )
    batches = []
    with given as source:
        for batch in map(converter.convert, source.batches()):
            if batch.rejects:
                raise RecordsRefused(batch.rejects)
            batches.append(batch)
    return batches
