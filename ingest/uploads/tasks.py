"""The task that performs loads, for Django 6's tasks or their backport."""

from __future__ import annotations

from ingest.uploads.running import run_load

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task  # type: ignore[assignment,no-redef,unused-ignore]


@task
def perform_load(number: int) -> None:
    """Perform a load by its number."""
    run_load(number)
