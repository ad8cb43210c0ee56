from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Instant(Sample):
    """One moment, and the same in a column without a time zone, as old schemas have it."""

    moment = models.DateTimeField()
    old_moment = models.DateTimeField()

    class Meta:
        managed = False


class Moment(Sample):
    day = models.DateField()
    day_or_null = models.DateField(null=True, blank=True)
    moment = models.DateTimeField()
    moment_or_null = models.DateTimeField(null=True, blank=True)
    hour = models.TimeField()
    hour_or_null = models.TimeField(null=True, blank=True)
    length = models.DurationField()
    length_or_null = models.DurationField(null=True, blank=True)
