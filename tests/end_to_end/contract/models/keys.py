from uuid import uuid4

from django.db import models

from tests.end_to_end.contract.models.base import Sample


class NormalKey(Sample):
    id = models.AutoField(primary_key=True)
    name = models.CharField(max_length=20, blank=True)


class SmallKey(Sample):
    id = models.SmallAutoField(primary_key=True)
    name = models.CharField(max_length=20, blank=True)


class BigKey(Sample):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=20, blank=True)


class UniversalKey(Sample):
    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=20, blank=True)


class NaturalKey(Sample):
    code = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=20, blank=True)


class CompositeKey(Sample):
    pk = models.CompositePrimaryKey("tenant", "number")
    tenant = models.IntegerField()
    number = models.UUIDField()
    name = models.CharField(max_length=20, blank=True)


class KeyOnly(Sample):
    """A table of a single column, which PostgreSQL fills."""
