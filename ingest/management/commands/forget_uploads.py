"""``manage.py forget_uploads``: delete files that were uploaded and not loaded."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, router

from ingest.exceptions import IngestError
from ingest.management.access import check_connection
from ingest.plurals import counted
from ingest.postgres.errors import brief
from ingest.uploads.models import Upload
from ingest.uploads.storing import forget_old_uploads


class Command(BaseCommand):
    """Deletes old uploads; run it once a day."""

    help = "Delete the files that were uploaded in the admin INGEST['UPLOAD_DAYS'] ago."

    def handle(self, *_: Any, **__: Any) -> None:
        """Delete the files, and report their number."""
        try:
            check_connection(router.db_for_write(Upload) or DEFAULT_DB_ALIAS)
            deleted = forget_old_uploads()
        except IngestError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(
                f"The uploads cannot be read: {brief(error)}. `python manage.py migrate` creates "
                "the tables."
            ) from error
        self.stdout.write(f"Deleted {counted(deleted, 'uploaded file')}.")
