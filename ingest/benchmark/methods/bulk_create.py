"""QuerySet.bulk_create(): Django's own way to insert many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ingest.benchmark.methods.base import Method

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import Model

    from ingest.benchmark.methods.base import Row

BATCH_ROWS = 5_000
"""Rows of a statement: measured to be as fast as any larger number, and limits the statement's
size."""


class BulkCreateMethod(Method):
    """Makes all instances and inserts them, a batch at a time, in one transaction."""

    name: ClassVar[str] = "bulk_create"
    summary: ClassVar[str] = f"QuerySet.bulk_create(batch_size={BATCH_ROWS})"
    place: ClassVar[int] = 30
    driver: ClassVar[str] = "django"
    supports_sql_around_values: ClassVar[bool] = True

    @classmethod
    def refusals(cls, model: type[Model]) -> list[str]:
        reasons = super().refusals(model)
        if model._meta.order_with_respect_to:
            reasons.append(
                f"The method {cls.name!r} leaves the column '_order' of {model._meta.label} empty, "
                "which only save() fills: use 'save'."
            )
        return reasons

    def write_checked(self, rows: Iterable[Row]) -> int:
        model = self.target.model
        names = [field.attname for field in self.target.fields]
        instances = [model(**dict(zip(names, row, strict=True))) for row in rows]
        manager = model._base_manager.using(self.target.alias)
        return len(manager.bulk_create(instances, batch_size=BATCH_ROWS))
