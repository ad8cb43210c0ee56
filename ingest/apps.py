"""The Django app."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Makes `bulk_load` and the system checks known to Django."""

    name = "ingest"
    verbose_name = "Ingest"
    default_auto_field = "django.db.models.BigAutoField"
