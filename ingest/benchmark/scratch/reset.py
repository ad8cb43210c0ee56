"""What the methods' table is like before each sample: empty, or holding rows already."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.core.management.color import no_style
from django.db import DatabaseError, connections, transaction

from ingest.benchmark.scratch.parts import BARE_SCHEMA, read_parts
from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from ingest.benchmark.scratch.tables import Stage
    from ingest.benchmark.verification import Reference


class TableReset:
    """Brings the model's scratch table back to its beginning; never while a clock runs."""

    def __init__(self, stage: Stage, reference: Reference, existing: int) -> None:
        self._stage = stage
        self._existing = existing
        self.holds_rows = existing > 0
        """Whether each sample begins with rows in the table."""
        # Tables that refer to the measured one have no row that does; their constraints stand in
        # the way of TRUNCATE nevertheless, and come back at once.
        self._inward = stage.copier.inward_foreign_keys if stage.copier else []
        if existing:
            self._parts = read_parts(stage, stage.name)
            self._columns = ", ".join(
                quote_name(column.name)
                for column in stage.read_table().columns
                if not column.is_generated
            )
            self._save(reference)

    def reset(self) -> None:
        """Empty the table, or bring the existing rows back as they were, with fresh indexes.

        To delete the new rows again would leave holes in the table and half-empty index pages, and
        the next sample would be another measurement.
        """
        if not self._existing:
            with transaction.atomic(using=self._stage.alias):
                self._execute(*(drop for drop, _ in self._inward))
                self._execute(f"TRUNCATE {self._stage.name} RESTART IDENTITY")
                self._execute(*(add for _, add in self._inward))
            return
        with transaction.atomic(using=self._stage.alias):
            self._take_parts_off()
            self._execute(
                f"TRUNCATE {self._stage.name} RESTART IDENTITY",
                f"INSERT INTO {self._stage.name} ({self._columns}) OVERRIDING SYSTEM VALUE "
                f"SELECT {self._columns} FROM {self._saved}",
            )
            self._put_parts_on()
        self._settle()

    def _save(self, reference: Reference) -> None:
        schema = quote_name(self._stage.scratch.schema_for(BARE_SCHEMA))
        self._saved = f"{schema}.existing"
        with transaction.atomic(using=self._stage.alias):
            self._take_parts_off()
            self._execute(f"TRUNCATE {self._stage.name} RESTART IDENTITY")
            reference.insert_existing()
            self._execute(
                f"CREATE UNLOGGED TABLE {self._saved} AS SELECT {self._columns} "
                f"FROM {self._stage.name}"
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
        connection = connections[self._stage.alias]
        self._execute(*connection.ops.sequence_reset_sql(no_style(), [self._stage.model]))
        # Else the first reader pays for what the reload left to be done.
        self._execute(f"VACUUM (ANALYZE) {self._stage.name}")
        # Not every role may. A checkpoint in the middle of one sample and not of another is noise.
        with suppress(DatabaseError):
            self._execute("CHECKPOINT")

    def _execute(self, *statements: str) -> None:
        with connections[self._stage.alias].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
