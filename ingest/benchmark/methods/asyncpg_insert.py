"""The base of the methods that send INSERT through asyncpg: the statement and its parameters."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg.adapt import PyFormat, Transformer

from ingest.benchmark.methods.base import Method
from ingest.benchmark.methods.prepared_rows import Preparer
from ingest.exceptions import RecordsRefused
from ingest.postgres.catalog import quote_name
from ingest.postgres.encoding import literal_adapters
from ingest.postgres.errors import explain
from ingest.postgres.session import adaptation_context, open_asyncpg_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    import asyncpg

    from ingest.benchmark.methods.base import Row, Target
    from ingest.postgres.catalog import Column

_NATIVE = frozenset(
    {
        *("bool", "bytea", "date", "float4", "float8", "int2", "int4", "int8"),
        *("numeric", "time", "timestamp", "timestamptz", "uuid"),
    }
)
"""Types whose values asyncpg accepts as Django prepares them."""
_EPOCHS: dict[str, Any] = {
    "date": dt.date(2000, 1, 1),
    "timestamp": dt.datetime(2000, 1, 1),  # noqa: DTZ001 - the type has no time zone
    "timestamptz": dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
}
"""The dates from which PostgreSQL counts days and microseconds."""
_TEXT = frozenset({"text", "varchar", "bpchar"})


class InsertingMethod(Method):
    """Sends INSERT statements with parameters, in one transaction."""

    driver: ClassVar[str] = "asyncpg"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._session = self._stack.enter_context(open_asyncpg_session(self.target.alias))
        self._session.run(_keep_extreme_moments)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @abstractmethod
    async def insert(
        self, connection: asyncpg.Connection, sql: str, parameters: Iterable[Row]
    ) -> int:
        """Insert the rows and return their number; runs in the connection's event loop."""

    def write_checked(self, rows: Iterable[Row]) -> int:
        preparer = Preparer(self.target.fields, self.target.table, self.target.alias)
        columns = [self.target.table.column(name) for name in preparer.columns]
        sql, adapters = self._statement(columns)
        parameters = _parameters(preparer, adapters, rows)
        session = self._session
        try:
            with session.transaction():
                return int(session.run(lambda connection: self.insert(connection, sql, parameters)))
        except RecordsRefused:
            raise
        except Exception as error:
            refusal = explain(error)
            if refusal is None:
                raise
            raise refusal from error

    def _statement(self, columns: list[Column]) -> tuple[str, list[Callable[[Any], Any] | None]]:
        table = self.target.table
        if not columns:
            return f"INSERT INTO {table.qualified_name} DEFAULT VALUES", []
        context = adaptation_context(self.target.alias, table)
        transformer = Transformer(literal_adapters(context))
        places: list[str] = []
        adapters: list[Callable[[Any], Any] | None] = []
        for number, column in enumerate(columns, 1):
            if column.type_name in _NATIVE:
                places.append(f"${number}")
                adapters.append(None)
            elif column.type_name in _TEXT:
                places.append(f"${number}")
                adapters.append(str)
            else:
                # PostgreSQL parses the text as it would parse a literal of the type.
                places.append(f"${number}::pg_catalog.text::{column.sql_type}")
                adapters.append(_text_dumper(transformer))
        names = ", ".join(quote_name(column.name) for column in columns)
        sql = f"INSERT INTO {table.qualified_name} ({names}) VALUES ({', '.join(places)})"
        return sql, adapters


async def _keep_extreme_moments(connection: asyncpg.Connection) -> None:
    """Send the first and last dates and times unchanged; asyncpg would send infinity."""
    for name, epoch in _EPOCHS.items():
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=partial(_count_since, epoch),
            decoder=list,
            format="tuple",
        )


def _count_since(epoch: Any, moment: Any) -> tuple[int]:
    unit = dt.timedelta(microseconds=1) if isinstance(epoch, dt.datetime) else dt.timedelta(days=1)
    return ((moment - epoch) // unit,)


def _text_dumper(transformer: Any) -> Callable[[Any], str]:
    def dump(value: Any) -> str:
        return bytes(transformer.get_dumper(value, PyFormat.TEXT).dump(value)).decode()

    return dump


def _parameters(
    preparer: Preparer, adapters: list[Callable[[Any], Any] | None], rows: Iterable[Row]
) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        yield tuple(
            [
                value if adapt is None or value is None else adapt(value)
                for value, adapt in zip(preparer.prepare(row, number), adapters, strict=True)
            ]
        )
