"""The state of the methods' table before each sample: empty, or holding rows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction

from ingest.benchmark.scratch.parts import BARE_SCHEMA, read_parts
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from ingest.benchmark.scratch.tables import ScratchTables
    from ingest.benchmark.verification import Reference


class TableState:
    """Restores the initial state of the model's scratch table; never while a clock runs."""

    def __init__(self, tables: ScratchTables, reference: Reference, existing: int) -> None:
        self._tables = tables
        self._existing = existing
        self.holds_rows = existing > 0
        """Whether the table holds rows at the beginning of each sample."""
        # Tables that refer to the measured table have no rows that do, but their constraints
        # prevent TRUNCATE. They are dropped and added again at once.
        self._inward = tables.copier.inward_foreign_keys if tables.copier else []
        if existing:
            self._parts = read_parts(tables, tables.name)
            self._columns = ", ".join(
                quote_name(column.name)
                for column in tables.read_table().columns
                if not column.is_generated
            )
            self._save(reference)

    def reset(self) -> None:
        """Empty the table, or restore the existing rows, with fresh indexes.

        Deleting the new rows would leave holes in the table and half-empty index pages, and the
        next sample would measure something else.
        """
        if not self._existing:
            with transaction.atomic(using=self._tables.alias):
                self._execute(*(drop for drop, _ in self._inward))
                self._execute(f"TRUNCATE {self._tables.name} RESTART IDENTITY")
                self._execute(*(add for _, add in self._inward))
            return
        with transaction.atomic(using=self._tables.alias):
            self._take_parts_off()
            self._execute(
                f"TRUNCATE {self._tables.name} RESTART IDENTITY",
                f"INSERT INTO {self._tables.name} ({self._columns}) OVERRIDING SYSTEM VALUE "
                f"SELECT {self._columns} FROM {self._saved}",
            )
            self._put_parts_on()
        self._settle()

    def _save(self, reference: Reference) -> None:
        schema = quote_name(self._tables.scratch.schema_for(BARE_SCHEMA))
        self._saved = f"{schema}.existing"
        with transaction.atomic(using=self._tables.alias):
            self._take_parts_off()
            self._execute(f"TRUNCATE {self._tables.name} RESTART IDENTITY")
            reference.insert_existing()
            self._execute(
                f"CREATE UNLOGGED TABLE {self._saved} AS SELECT {self._columns} "
                f"FROM {self._tables.name}"
            )
            self._put_parts_on()
            reference.expect_existing()

    def _take_parts_off(self) -> None:
        self._execute(*(drop for drop, _ in self._inward))
        self._execute(*(part.drop for part in reversed(self._parts)))

    def _put_parts_on(self) -> None:
        self._execute(*(statement for part in self._parts for statement in part.add))
        self._execute(*(add for _, add in self._inward))

    def _settle(self) -> None:
        connection = connections[self._tables.alias]
        self._execute(*connection.ops.sequence_reset_sql(no_style(), [self._tables.model]))
        # Otherwise the first reader would do the work that the reload left.
        self._execute(f"VACUUM (ANALYZE) {self._tables.name}")
        # Not every role may do this. A checkpoint in the middle of only one of the samples would be
        # noise.
        with suppress(DatabaseError):
            self._execute("CHECKPOINT")

    def _execute(self, *statements: str) -> None:
        with connections[self._tables.alias].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
