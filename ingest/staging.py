"""A temporary table that has some columns of a batch, so that the server can look at its rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa

from ingest.encoding import ColumnEncoding
from ingest.session import Copying, CopyTarget, Statement
from ingest.table import Column, quote_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingest.encoding import Encoding
    from ingest.session import Script, Session
    from ingest.table import Table

PLACE = "ingest place"
"""The column that has the row's place in its batch, from 0."""


class StagingTable:
    """Has rows of one batch after the other; it is gone at the end of the transaction."""

    def __init__(
        self, session: Session, table: Table, encoding: Encoding, name: str, kept: Collection[str]
    ) -> None:
        """Make it, with those of the table's columns that are ``kept`` and sent."""
        columns = tuple(item for item in encoding.columns if item.column.name in kept)
        place = ColumnEncoding(column=_PLACE, arrow_type=pa.int64())
        self.name = f"pg_temp.{name}"
        self._names = [item.column.name for item in columns]
        self._encoding = dataclasses.replace(encoding, columns=(*columns, place))
        self._target = CopyTarget(
            schema="pg_temp", table=name, columns=self._encoding.names, format=encoding.format
        )
        if columns:
            names = ", ".join(map(quote_name, self._names))
            session.execute(
                f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS "
                f'SELECT {names}, 0::int8 AS "{PLACE}" FROM {table.qualified_name} WITH NO DATA'
            )

    def fill(self, rows: pa.RecordBatch, places: pa.Array) -> Script[None]:
        """Put in these rows, which have these places, and no others.

        Outside savepoints: a table of the same transaction is then emptied in its own file.
        """
        columns = [rows.column(name) for name in self._names]
        given = pa.RecordBatch.from_arrays([*columns, places], names=list(self._encoding.names))
        yield Statement(f"TRUNCATE {self.name}")
        yield Copying(self._target, self._encoding.encode(given))


_PLACE = Column(
    name=PLACE,
    type_oid=20,
    type_name="int8",
    type_kind="b",
    type_modifier=-1,
    sql_type="bigint",
    is_required=True,
    has_default=False,
    identity="",
    is_generated=False,
)
