"""Verifies that the table holds exactly the given rows, by count and by content.

The given rows are written once into a reference table by code that no method uses: psycopg's COPY
in text format. The server then computes a sum over both tables. A sum of two 64-bit hashes of each
row's text does not depend on the order, and counts every duplicate.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db import connections, models, transaction

from ingest.benchmark.data import FILLED_KINDS
from ingest.benchmark.expected_values import placeholder, prepared_rows
from ingest.ledger.rows import DjangoConnection
from ingest.plurals import counted
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ingest.benchmark.methods.base import Row
    from ingest.benchmark.scratch.tables import ScratchTables

    Field = models.Field[Any, Any]

Sum = tuple[Any, ...]

_PLAIN_PLACEHOLDER = re.compile(r"%s(::.*)?", re.DOTALL)


class Reference:
    """The given rows in their own table, and the expected sums of the methods' table."""

    def __init__(self, tables: ScratchTables, fields: Sequence[Field]) -> None:
        self._tables = tables
        self._fields = tuple(fields)
        self.name = f"{quote_name(tables.scratch.schema_for('pg_catalog'))}.reference"
        """The reference table, quoted and with its schema."""
        self._table = tables.read_table()
        self._columns = [self._column(field) for field in fields]
        self._wanted: dict[int, Sum] = {}
        self._is_changed_by_triggers = False
        self._existing_after: int | None = None
        self._existing: Sum = (0, 0, 0)
        self._replaces = False
        self._beside: dict[int, Sum] = {}
        columns = ", ".join(["0::bigint AS ingest_ordinal", *self._columns])
        self._execute(
            f"CREATE UNLOGGED TABLE {self.name} AS SELECT {columns} FROM {tables.name} WITH NO DATA"
        )

    def _column(self, field: Field) -> str:
        return quote_name(self._table.column(str(field.column)).name)

    def fill(self, rows: Sequence[Row]) -> None:
        """Write all rows, numbered from 1."""
        connection = connections[self._tables.alias]
        columns = ", ".join(["ingest_ordinal", *self._columns])
        with (
            connection.connection.cursor() as cursor,
            cursor.copy(f"COPY {self.name} ({columns}) FROM STDIN") as copy,
        ):
            for prepared in prepared_rows(self._tables, self._fields, rows):
                copy.write_row(prepared)
        for place, (field, column) in enumerate(zip(self._fields, self._columns, strict=True)):
            sql = placeholder(self._tables, field, rows[0][place]) if rows else "%s"
            if not _PLAIN_PLACEHOLDER.fullmatch(sql):
                self._execute(f"UPDATE {self.name} SET {column} = {sql.replace('%s', column)}")

    def write_file(self, path: Path, count: int) -> None:
        """Write the first rows as CSV, whose first line names the fields."""
        connection = connections[self._tables.alias]
        named = ", ".join(
            f"{column} AS {quote_name(field.attname)}"
            for field, column in zip(self._fields, self._columns, strict=True)
        )
        query = (
            f"COPY (SELECT {named} FROM {self.name} "
            f"WHERE ingest_ordinal OPERATOR(pg_catalog.<=) {count:d} "
            "ORDER BY ingest_ordinal) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"
        )
        with (
            path.open("wb") as file,
            connection.connection.cursor() as cursor,
            cursor.copy(query) as copy,
        ):
            for part in copy:
                file.write(part)

    def insert_into_table(self, count: int) -> None:
        """Insert the first rows into the model's table, by SQL."""
        self._insert(f"ingest_ordinal OPERATOR(pg_catalog.<=) {count:d}")

    def keep_for_existing(self, after: int, *, replaced: bool = False) -> None:
        """Use the rows after that ordinal as those that the table holds already.

        ``replaced``: given rows replace those with the same key, which is the first field.
        """
        self._existing_after = after
        self._replaces = replaced

    def insert_existing(self) -> None:
        """Insert the existing rows into the model's table."""
        self._insert(f"ingest_ordinal OPERATOR(pg_catalog.>) {self._existing_after:d}")

    def expect_existing(self) -> None:
        """Expect the current rows of the model's table besides the given rows."""
        self._existing = self._sum(self._tables.name, "")

    def constants(self) -> list[tuple[str, Any]]:
        """Return the quoted column and the prepared value of each field that the ORM fills."""
        instance = self._tables.model()
        connection = connections[self._tables.alias]
        return [
            (
                self._column(field),
                field.get_db_prep_save(field.pre_save(instance, add=True), connection),
            )
            for field in self._filled_by_orm()
        ]

    def _insert(self, condition: str) -> None:
        names, values = [], []
        for name, value in self.constants():
            names.append(name)
            values.append(value)
        columns = ", ".join([*self._columns, *names])
        if not columns:
            self._execute(
                f"INSERT INTO {self._tables.name} SELECT FROM {self.name} WHERE {condition}"
            )
            return
        # Bound parameters: psycopg would write a time as '…'::timestamptz.
        source = ", ".join([*self._columns, *(f"${place}" for place in range(1, len(values) + 1))])
        DjangoConnection(self._tables.alias).fetch(
            f"INSERT INTO {self._tables.name} ({columns}) SELECT {source} FROM {self.name} "
            f"WHERE {condition} ORDER BY ingest_ordinal",
            *values,
        )

    def expect_triggers(self) -> None:
        """Expect the rows as PostgreSQL's own triggers change them."""
        self._is_changed_by_triggers = True

    def problem(self, count: int, name: str | None = None) -> str | None:
        """Return what is wrong with the rows in the model's table, or None if nothing is.

        ``name`` is another table to verify, a bare copy that holds no other rows.
        """
        got, want = self._sum(name or self._tables.name, ""), self._want(count)
        if name is None:
            existing = self._existing_beside(count) if self._replaces else self._existing
            want = tuple(map(sum, zip(want, existing, strict=True)))
        if got[0] != want[0]:
            return f"stored {counted(got[0], 'row')} instead of {want[0]:,}"
        if got != want:
            return f"stored other values than given, for one: {self._example(count, name)}"
        for field in self._filled_by_orm():
            bad = self._badly_filled(field, name or self._tables.name)
            if bad:
                return f"left {field.column!r} as {bad} where the ORM would fill it"
        return None

    def _want(self, count: int) -> Sum:
        if count not in self._wanted:
            if self._is_changed_by_triggers:
                self._empty()
                self.insert_into_table(count)
                self._wanted[count] = self._sum(self._tables.name, "")
            else:
                where = f"WHERE ingest_ordinal OPERATOR(pg_catalog.<=) {count:d}"
                self._wanted[count] = self._sum(self.name, where)
        return self._wanted[count]

    def _empty(self) -> None:
        """Empty the model's table; the foreign keys of other tables to it prevent TRUNCATE."""
        copier = self._tables.copier
        inward = copier.inward_foreign_keys if copier else []
        with transaction.atomic(using=self._tables.alias):
            for drop, _ in inward:
                self._execute(drop)
            self._execute(f"TRUNCATE {self._tables.name}")
            for _, add in inward:
                self._execute(add)

    def prepare(self, count: int) -> None:
        """Compute the sum for this many rows before the table is used."""
        self._want(count)

    def _existing_beside(self, count: int) -> Sum:
        """Return the sum of the existing rows whose keys the first rows do not have."""
        if count not in self._beside:
            key = self._columns[0]
            equal = self._table.column(str(self._fields[0].column)).equal
            self._beside[count] = self._sum(
                f"{self.name} e",
                f"WHERE ingest_ordinal OPERATOR(pg_catalog.>) {self._existing_after:d} "
                f"AND NOT EXISTS (SELECT FROM {self.name} g WHERE g.{key} {equal} e.{key} "
                f"AND g.ingest_ordinal OPERATOR(pg_catalog.<=) {count:d})",
            )
        return self._beside[count]

    def _sum(self, name: str, where: str) -> Sum:
        row = f"ROW({', '.join(self._columns)})::pg_catalog.text"
        hashes = ", ".join(
            f"coalesce(pg_catalog.sum(pg_catalog.hashtextextended({row}, {seed})::numeric), 0)"
            for seed in (0, 1)
        )
        [result] = self._execute(f"SELECT pg_catalog.count(*), {hashes} FROM {name} {where}")
        return tuple(result)

    def _example(self, count: int, name: str | None) -> str:
        row = f"ROW({', '.join(self._columns)})::pg_catalog.text"
        existing = ""
        if name is None and self._existing_after is not None:
            existing = f"OR ingest_ordinal OPERATOR(pg_catalog.>) {self._existing_after:d}"
        found = self._execute(
            f"SELECT {row} FROM {name or self._tables.name} EXCEPT ALL SELECT {row} "
            f"FROM {self.name} WHERE ingest_ordinal OPERATOR(pg_catalog.<=) {count:d} "
            f"{existing} LIMIT 1"
        )
        return str(found[0][0]) if found else "a row twice"

    def _badly_filled(self, field: Field, table: str) -> str | None:
        column = self._column(field).replace("%", "%%")
        name = table.replace("%", "%%")
        connection = connections[self._tables.alias]
        with connection.cursor() as cursor:
            if field.has_default() and not callable(field.default):
                value = field.get_db_prep_save(field.get_default(), connection)
                equal = self._table.column(str(field.column)).equal
                differs = (
                    f"({column} {equal} %s) IS NOT TRUE"
                    if value is not None
                    else f"{column} IS NOT NULL"
                )
                given = [] if value is None else [value]
                cursor.execute(
                    f"SELECT {column}::pg_catalog.text FROM {name} WHERE {differs} LIMIT 1", given
                )
            else:
                instance = self._tables.model()
                if field.pre_save(instance, add=True) is None:
                    return None
                cursor.execute(f"SELECT 'NULL' FROM {name} WHERE {column} IS NULL LIMIT 1", [])
            found = cursor.fetchone()
        return None if found is None else str(found[0])

    def _filled_by_orm(self) -> list[Field]:
        return [
            field
            for field in self._tables.model._meta.concrete_fields
            if field not in self._fields
            and not field.generated
            and field.db_default is models.NOT_PROVIDED
            and not isinstance(field, FILLED_KINDS)
        ]

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        with connections[self._tables.alias].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
