"""``Model.objects.bulk_load(rows)``: a queryset and a manager with ``load`` as a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

if TYPE_CHECKING:
    from ingest.results import LoadResult

_Model = TypeVar("_Model", bound=models.Model)


class BulkLoadQuerySet(models.QuerySet[_Model]):
    """A queryset that loads rows into its model's table."""

    def bulk_load(self, source: Any, **options: Any) -> LoadResult:
        """Do what ``ingest.load(Model, source, **options)`` does.

        The database is that of ``using()``, else the one the router gives for writing. As with
        ``bulk_create``, filters and the object of a related manager give the rows no values.
        """
        # Arrow and asyncpg can wait until they are used: models are imported at each start.
        from ingest.loading.api import load

        return load(self.model, source, using=self._writing_alias(), **options)

    async def abulk_load(self, source: Any, **options: Any) -> LoadResult:
        """Do what ``bulk_load`` does, without blocking the event loop."""
        from ingest.loading.api import aload

        return await aload(self.model, source, using=self._writing_alias(), **options)

    def _writing_alias(self) -> str:
        self._for_write = True
        return self.db


BulkLoadManager = models.Manager.from_queryset(BulkLoadQuerySet)
"""A manager whose querysets, and itself, have ``bulk_load``."""
