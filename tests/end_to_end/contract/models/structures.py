from django.contrib.postgres.fields import ArrayField, DateRangeField, HStoreField
from django.contrib.postgres.search import SearchVectorField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Flag(Sample):
    is_set = models.BooleanField()
    is_set_or_null = models.BooleanField(null=True, blank=True)


class Identifier(Sample):
    number = models.UUIDField()
    number_or_null = models.UUIDField(null=True, blank=True)


class Blob(Sample):
    content = models.BinaryField(blank=True)
    content_or_null = models.BinaryField(blank=True, null=True)
    short = models.BinaryField(max_length=3)


class Document(Sample):
    content = models.JSONField(blank=True)
    content_or_null = models.JSONField(blank=True, null=True)
    encoded = models.JSONField(encoder=DjangoJSONEncoder)


class Vector(Sample):
    words = SearchVectorField(blank=True)
    words_or_null = SearchVectorField(blank=True, null=True)


class Literal(Sample):
    """A type that psycopg has no binary form for makes COPY take the text format for all."""

    words = SearchVectorField(blank=True)
    whole = models.BigIntegerField()
    binary = models.FloatField()
    price = models.DecimalField(max_digits=12, decimal_places=2)
    huge = models.DecimalField(max_digits=100, decimal_places=50)
    is_set = models.BooleanField()
    text = models.TextField(blank=True)
    text_or_null = models.TextField(blank=True, null=True)  # noqa: DJ001
    day = models.DateField()
    moment = models.DateTimeField()
    hour = models.TimeField()
    length = models.DurationField()
    number = models.UUIDField()
    content = models.BinaryField(blank=True)
    document = models.JSONField(blank=True)
    address = models.GenericIPAddressField()
    texts = ArrayField(models.TextField(blank=True, null=True), blank=True)
    contents = ArrayField(models.BinaryField(blank=True), blank=True)
    days = DateRangeField()


class Dictionary(Sample):
    """Its table is made by `prepare`, where the server has the extension."""

    entries = HStoreField(blank=True)
    entries_or_null = HStoreField(blank=True, null=True)
    shelves = ArrayField(HStoreField(blank=True), blank=True, null=True)

    class Meta:
        managed = False
