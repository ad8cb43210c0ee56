"""Stage some columns of a batch in a temporary table, so that the server can query its rows."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING

import pyarrow as pa

from ingest.postgres.catalog import Column, quote_name
from ingest.postgres.encoding import ColumnEncoding
from ingest.postgres.errors import may_be_of_row, refusal_of
from ingest.postgres.session import Copying, CopyTarget, Statement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.errors import RowError
    from ingest.postgres.session import Script, Session


def temporary_name(what: str) -> str:
    """Return a name for a temporary table that no table of the user has.

    A temporary table hides any other table of its name, for triggers and defaults, too.
    """
    return f"ingest_{what}_{secrets.token_hex(8)}"


def own_prefix(table: Table) -> str:
    """Return a prefix with which no column name of the table begins, for additional names."""
    names = [column.name for column in table.columns]
    prefixes = (f"ingest{number or ''}_" for number in range(len(names) + 1))
    return next(item for item in prefixes if not any(name.startswith(item) for name in names))


class StagingTable:
    """Holds the rows of one batch after the other; dropped at the end of the transaction."""

    def __init__(
        self,
        session: Session,
        table: Table,
        encoding: CopyEncoding,
        what: str,
        kept: Collection[str],
        types: Mapping[str, StagedType] | None = None,
    ) -> None:
        """Create it with the columns of the table that are in ``kept`` and are sent.

        Its name contains ``what``. The columns have the table's types, unless ``types`` has other
        ones.
        """
        columns = tuple(item for item in encoding.columns if item.column.name in kept)
        self.place = f"{own_prefix(table)}place"
        """The column with the row's place in its batch, from 0."""
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
        if columns and types is not None:
            declared = ", ".join(f"{quote_name(name)} {types[name].type}" for name in self._names)
            session.execute(
                f"CREATE TEMPORARY TABLE {name} ({declared}, {self.place} bigint) ON COMMIT DROP"
            )
        elif columns:
            names = ", ".join(map(quote_name, self._names))
            session.execute(
                f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {names}, "
                f"0::bigint AS {self.place} FROM {table.qualified_name} WITH NO DATA"
            )

    @property
    def emptying(self) -> Statement:
        """The step that removes all rows.

        Run it outside savepoints: then a table created in the same transaction is emptied in place.
        """
        return Statement(f"TRUNCATE {self.name}")

    def filling(self, rows: pa.RecordBatch, places: pa.Array) -> Copying:
        """Return the step that inserts these rows with these places."""
        columns = [rows.column(name) for name in self._names]
        given = pa.RecordBatch.from_arrays([*columns, places], names=list(self._encoding.names))
        return Copying(self._target, self._encoding.encode(given))

    def fill(
        self, rows: pa.RecordBatch, places: pa.Array, first: str = ""
    ) -> Script[list[RowError]]:
        """Replace the content with these rows; return those that even this table refuses.

        The COPY into this table refuses a value only if its type does. ``first``: statements that
        are sent in the same message as the first step.
        """
        first = f"{first}{self.emptying.sql}; "
        refused: list[RowError] = []
        most = max(rows.num_rows // (rows.nbytes // PIECE_BYTES + 1), 1)
        start, size = 0, most
        if not rows.num_rows:
            yield Statement(first)
        while start < rows.num_rows:
            part, at = rows.slice(start, size), places.slice(start, size)
            refusal = yield from self._copy(part, at, first)
            first = ""
            if refusal is None:
                start += part.num_rows
                size = min(size * 2, most)
                continue
            most = PIECE_ROWS
            # PostgreSQL reports its number in the COPY, or it is found by halving.
            known = None if refusal.place is None else at.to_pylist().index(refusal.place)
            if part.num_rows == 1:
                refused.append(refusal._replace(place=at[0].as_py()))
                start, size = start + 1, 16
            else:
                size = known or (1 if known == 0 else part.num_rows // 2)
        return refused

    def _copy(self, rows: pa.RecordBatch, places: pa.Array, first: str) -> Script[RowError | None]:
        yield Statement(f"{first}SAVEPOINT ingest_stage")
        try:
            yield self.filling(rows, places)
        except Exception as error:
            if not may_be_of_row(error):
                raise
            refusal = refusal_of(error, self._target.table, places.to_pylist())
            error.__traceback__ = None  # as in bad_rows
            yield Statement("ROLLBACK TO SAVEPOINT ingest_stage")
            yield Statement("RELEASE SAVEPOINT ingest_stage")
            return refusal
        yield Statement("RELEASE SAVEPOINT ingest_stage")
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedType:
    """How a column's values are staged, so that its type can refuse them one row at a time."""

    type: str
    """The SQL type of the staging table's column."""
    read: str
    """The SQL expression that converts it to the table's type."""
    declared: str
    """The type, or the domain, of the table's column."""

    @property
    def is_read(self) -> bool:
        """Whether the conversion may be refused."""
        return self.type != self.declared


def staged_types(session: Session, table: Table, encoding: CopyEncoding) -> dict[str, StagedType]:
    """Choose how the columns of an encoding are staged."""
    found = {
        name: (base, declared)
        for name, base, declared in session.fetch(
            _TYPES,
            table.oid,
            [item.column.name for item in encoding.columns],
            [str(item.column.type_oid) for item in encoding.columns],
        )
    }
    return {
        item.column.name: _staged(item, *found[item.column.name], is_text=encoding.format == "text")
        for item in encoding.columns
    }


def _staged(item: ColumnEncoding, base: str, declared: str, *, is_text: bool) -> StagedType:
    name, text = quote_name(item.column.name), "pg_catalog.text"
    if is_text or item.column.type_kind == "e" or item.column.type_name in {"json", "xml"}:
        # The value is sent as text, which the type parses.
        return StagedType(type=text, read=f"{name}::{base}", declared=declared)
    if item.column.type_name == "jsonb":
        # One byte, the format's version, comes before the text: jsonb_recv in PostgreSQL's source.
        read = f"pg_catalog.convert_from(pg_catalog.substr({name}, 2), 'UTF8')::{base}"
        return StagedType(type="pg_catalog.bytea", read=read, declared=declared)
    return StagedType(type=base, read=name, declared=declared)


PIECE_BYTES = 4 << 20
"""Bytes of rows, as they are in memory, that are staged by one COPY: while it is sent, the process
has several copies of them."""
PIECE_ROWS = 4_096
"""Rows staged at a time once a COPY was refused."""
_TYPES = """
SELECT a.attname::pg_catalog.text, pg_catalog.format('%I.%I', bn.nspname, b.typname),
       pg_catalog.format('%I.%I', dn.nspname, d.typname)
FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[]))
     AS given(name, base)
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) given.name
JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) given.base::pg_catalog.oid
JOIN pg_catalog.pg_namespace bn ON bn.oid OPERATOR(pg_catalog.=) b.typnamespace
JOIN pg_catalog.pg_type d ON d.oid OPERATOR(pg_catalog.=) a.atttypid
JOIN pg_catalog.pg_namespace dn ON dn.oid OPERATOR(pg_catalog.=) d.typnamespace
"""
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
