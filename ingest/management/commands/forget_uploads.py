"""``manage.py forget_uploads``: delete files that were uploaded and not loaded."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ingest.exceptions import IngestError
from ingest.uploads.storing import forget_old_uploads


class Command(BaseCommand):
    """Deletes old uploads; run it once a day."""

    help = "Delete the files that were uploaded in the admin INGEST['UPLOAD_DAYS'] ago."

    def handle(self, *_: Any, **__: Any) -> None:
        """Delete the files, and report their number."""
        try:
            deleted = forget_old_uploads()
        except IngestError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Deleted {deleted} uploaded file{'' if deleted == 1 else 's'}.")
