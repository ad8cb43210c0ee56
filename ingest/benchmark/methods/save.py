"""Model.save() for each row, as in a first script."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import transaction

from ingest.benchmark.methods.base import Method

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.benchmark.methods.base import Row


class SaveMethod(Method):
    """Saves one instance after the other, in one transaction; signals are sent."""

    name: ClassVar[str] = "save"
    summary: ClassVar[str] = "Model.save(), one row at a time"
    place: ClassVar[int] = 10
    driver: ClassVar[str] = "django"
    supports_multi_table_inheritance: ClassVar[bool] = True
    supports_sql_around_values: ClassVar[bool] = True
    benchmark_row_cap: ClassVar[int | None] = 1_000

    def write_checked(self, rows: Iterable[Row]) -> int:
        model, alias = self.target.model, self.target.alias
        names = [field.attname for field in self.target.fields]
        saved = 0
        with transaction.atomic(using=alias):
            for row in rows:
                instance = model(**dict(zip(names, row, strict=True)))
                instance.save(using=alias, force_insert=True)
                saved += 1
        return saved
