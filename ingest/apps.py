"""The Django app."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_delete


class IngestConfig(AppConfig):
    """Makes `bulk_load` and the system checks known to Django."""

    name = "ingest"
    verbose_name = "Ingest"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the deletion of a deleted upload's file."""
        # These read the models, which are not loaded yet when this module is imported.
        from ingest import checks
        from ingest.uploads.models import Upload
        from ingest.uploads.storing import delete_orphan

        post_delete.connect(delete_orphan, Upload, dispatch_uid="ingest.uploads")

        register(checks.check_settings, "ingest")
        register(checks.check_uploads, "ingest")
        register(checks.check_engines, "ingest")
        # Without our tag: by it, Django would run the check when no database is named.
        register(checks.check_databases, Tags.database)
        register(checks.check_rights, Tags.database, deploy=True)
