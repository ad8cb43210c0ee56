from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Place(Sample):
    name = models.CharField(max_length=20)


class Restaurant(Place):
    """Multi-table inheritance: its fields lie in two tables."""

    stars = models.IntegerField()


class PlaceProxy(Place):
    class Meta:
        proxy = True


class Dated(Sample):
    day = models.DateField(null=True, blank=True)

    class Meta:
        abstract = True


class Visit(Dated):
    """Columns from an abstract base come first."""

    name = models.CharField(max_length=20)


class Unmanaged(Sample):
    """PostgreSQL has a dropped column, one more column, and another order than the model."""

    name = models.TextField(null=True, blank=True)  # noqa: DJ001
    position = models.IntegerField(primary_key=True)

    class Meta:
        managed = False


class Partitioned(Sample):
    year = models.IntegerField(primary_key=True)
    name = models.TextField()

    class Meta:
        managed = False
