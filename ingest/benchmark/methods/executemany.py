"""asyncpg's executemany: one prepared INSERT, its parameters sent in a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ingest.benchmark.methods.asyncpg_insert import InsertingMethod

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from ingest.benchmark.methods.base import Row


class ExecutemanyMethod(InsertingMethod):
    """Prepares the statement once and sends the parameters of many rows without waiting."""

    name: ClassVar[str] = "executemany"
    summary: ClassVar[str] = "asyncpg, one prepared INSERT for all rows"
    place: ClassVar[int] = 40

    async def insert(
        self, connection: asyncpg.Connection, sql: str, parameters: Iterable[Row]
    ) -> int:
        sent = 0

        def counted() -> Iterable[Row]:
            nonlocal sent
            for row in parameters:
                sent += 1
                yield row

        await connection.executemany(sql, counted())
        return sent
