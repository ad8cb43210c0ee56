"""A temporary table that has some columns of a batch, so that the server can look at its rows."""

from __future__ import annotations

import dataclasses
import secrets
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


def temporary_name(what: str) -> str:
    """Return a name for a temporary table that no table of the user's has.

    A temporary table comes before any other table of its name, for triggers and defaults, too.
    """
    return f"ingest_{what}_{secrets.token_hex(8)}"


def own_prefix(table: Table) -> str:
    """Return a prefix with which no column of the table begins, for names beside its columns'."""
    names = [column.name for column in table.columns]
    prefixes = (f"ingest{number or ''}_" for number in range(len(names) + 1))
    return next(item for item in prefixes if not any(name.startswith(item) for name in names))


class StagingTable:
    """Has rows of one batch after the other; it is gone at the end of the transaction."""

    def __init__(
        self, session: Session, table: Table, encoding: Encoding, what: str, kept: Collection[str]
    ) -> None:
        """Make it, with those of the table's columns that are ``kept`` and sent.

        Its name says ``what`` it is for.
        """
        columns = tuple(item for item in encoding.columns if item.column.name in kept)
        self.place = f"{own_prefix(table)}place"
        """The column that has the row's place in its batch, from 0."""
        place = ColumnEncoding(
            column=dataclasses.replace(_PLACE, name=self.place), arrow_type=pa.int64()
        )
        name = temporary_name(what)
        self.name = f"pg_temp.{name}"
        self._names = [item.column.name for item in columns]
        self._encoding = dataclasses.replace(encoding, columns=(*columns, place))
        self._target = CopyTarget(
            schema="pg_temp", table=name, columns=self._encoding.names, format=encoding.format
        )
        if columns:
            names = ", ".join(map(quote_name, self._names))
            session.execute(
                f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {names}, "
                f"0::bigint AS {self.place} FROM {table.qualified_name} WITH NO DATA"
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
    name="place",
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
