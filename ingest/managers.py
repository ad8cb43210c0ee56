"""``Model.objects.bulk_load(rows)``: ``ingest.load`` as a method of a queryset and a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

if TYPE_CHECKING:
    from ingest.results import LoadResult

_Model = TypeVar("_Model", bound=models.Model)


class BulkLoadQuerySet(models.QuerySet[_Model]):
    """A queryset that loads rows into its model's table."""

    def bulk_load(self, source: Any, **options: Any) -> LoadResult:
        """Load the rows of a source, as ``ingest.load(Model, source, **options)`` does.

        The database is the one of ``using()``, otherwise the router's for writing. As with
        ``bulk_create``, filters and the instance of a related manager set no values of the rows.
        """
        # Models are imported at each start: Arrow and asyncpg can wait until they are used.
        from ingest.loading.api import load

        return load(self.model, source, using=self._writing_alias(), **options)

    async def abulk_load(self, source: Any, **options: Any) -> LoadResult:
        """Load the rows of a source without blocking the event loop; see ``bulk_load``."""
        from ingest.loading.api import aload

        return await aload(self.model, source, using=self._writing_alias(), **options)

    def _writing_alias(self) -> str:
        self._for_write = True
        return self.db


BulkLoadManager = models.Manager.from_queryset(BulkLoadQuerySet)
"""A manager with ``bulk_load``, which its querysets have too."""
