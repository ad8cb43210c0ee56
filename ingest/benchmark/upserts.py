"""Benchmark of a second file, some of whose rows are in the table already, by their key.

``--existing N --overlap SHARE`` gives that share of the rows the primary keys of rows in the table,
and measures methods that update these and insert the others.
"""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ingest.benchmark.candidates import Candidate, MethodCandidate, PsqlBaseline
from ingest.benchmark.methods.base import Method
from ingest.benchmark.methods.bulk_create import BATCH_ROWS
from ingest.benchmark.methods.copying import CopyMethod
from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.options import ConflictOptions, Given
from ingest.writing.conflicts.tables import SeenKeys
from ingest.writing.conflicts.writer import ConflictWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ingest.benchmark.candidates import Write
    from ingest.benchmark.methods.base import Row
    from ingest.benchmark.prepare import Material
    from ingest.benchmark.psql import Psql
    from ingest.postgres.catalog import Table
    from ingest.writing.copy import CopyWriter
    from ingest.writing.primary_keys import Purpose
    from ingest.writing.timings import Stages


class _Upsert(CopyMethod, registers=False):
    """The writer of a load with ``on_conflict="upsert"``, without the ledger."""

    name: ClassVar[str] = "upsert"
    purpose: ClassVar[Purpose] = "returned"  # as in a load, which records the keys

    def make_writer(
        self, table: Table | None = None, *, stages: Stages | None = None
    ) -> CopyWriter:
        model = self.target.model
        return ConflictWriter(
            table or self.target.table,
            model,
            options=ConflictOptions(mode="upsert", key=(model._meta.pk.name,)),
            given=Given(fields=self.target.fields, lacking={}),
            seen=SeenKeys(),
            stages=stages,
        )


class _OrmUpsert(Method):
    """A way to upsert instances of the model."""

    driver: ClassVar[str] = "django"

    def write_checked(self, rows: Iterable[Row]) -> int:
        model = self.target.model
        names = [field.attname for field in self.target.fields]
        instances = [model(**dict(zip(names, row, strict=True))) for row in rows]
        key, *others = (field.name for field in self.target.fields)
        self.upsert(model._base_manager.using(self.target.alias), instances, key, others)
        return len(instances)

    def upsert(self, rows: Any, instances: list[Any], key: str, others: list[str]) -> None:
        """Upsert the instances in one transaction."""
        raise NotImplementedError


class _BulkCreate(_OrmUpsert, registers=False):
    name: ClassVar[str] = "bulk_create"

    def upsert(self, rows: Any, instances: list[Any], key: str, others: list[str]) -> None:
        rows.bulk_create(
            instances,
            batch_size=BATCH_ROWS,
            update_conflicts=True,
            unique_fields=[key],
            update_fields=others,
        )


class _Pgbulk(_OrmUpsert, registers=False):
    name: ClassVar[str] = "pgbulk"

    def upsert(self, rows: Any, instances: list[Any], key: str, others: list[str]) -> None:
        import pgbulk
        from django.db.transaction import atomic

        with atomic(using=self.target.alias):
            for start in range(0, len(instances), BATCH_ROWS):
                part = instances[start : start + BATCH_ROWS]
                pgbulk.upsert(rows.all(), part, [key], others)


class PsqlUpsert(PsqlBaseline):
    r"""The usual way by hand: ``\copy`` into a temporary table, and INSERT … ON CONFLICT."""

    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        file = self.material.files[count]
        target, name = self.material.target, self.material.tables.name
        key, *others = (
            quote_name(target.table.column(str(field.column)).name) for field in target.fields
        )
        columns = ", ".join([key, *others])
        changes = ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
        action = f"DO UPDATE SET {changes}" if others else "DO NOTHING"
        copy = f"\\copy ingest_new ({columns}) from '{file.name}'"
        upsert = f"INSERT INTO {name} ({columns}) SELECT {columns} FROM ingest_new"
        commands = (
            f"CREATE TEMPORARY TABLE ingest_new AS SELECT {columns} FROM {name} WITH NO DATA",
            f"{copy} with (format csv, header true, encoding 'UTF8')",
            f"{upsert} ON CONFLICT ({key}) {action}",
        )
        with self._orm_defaults():
            yield lambda: self._psql.seconds(commands, Path(file.parent))


def candidates(material: Material, psql: Psql | None) -> list[Candidate]:
    """Return the candidates if rows have keys of rows in the table."""
    found: list[Candidate] = [
        MethodCandidate(material, _BulkCreate),
        MethodCandidate(material, _Upsert),
    ]
    if importlib.util.find_spec("pgbulk") is not None:
        found.insert(1, MethodCandidate(material, _Pgbulk))
    if psql is not None:
        found.append(PsqlUpsert(material, psql))
    return found
