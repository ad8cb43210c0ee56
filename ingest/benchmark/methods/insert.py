"""asyncpg's execute for each row: one round trip per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ingest.benchmark.methods.asyncpg_insert import InsertingMethod

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from ingest.benchmark.methods.base import Row


class InsertMethod(InsertingMethod):
    """Sends one INSERT, waits for the answer, and sends the next."""

    name: ClassVar[str] = "insert"
    summary: ClassVar[str] = "asyncpg, one INSERT and one round trip a row"
    place: ClassVar[int] = 20
    benchmark_row_cap: ClassVar[int | None] = 10_000

    async def insert(
        self, connection: asyncpg.Connection, sql: str, parameters: Iterable[Row]
    ) -> int:
        inserted = 0
        for row in parameters:
            status = await connection.execute(sql, *row)
            inserted += int(status.rpartition(" ")[2])
        return inserted
