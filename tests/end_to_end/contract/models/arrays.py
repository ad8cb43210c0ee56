from django.contrib.postgres.fields import ArrayField, DateRangeField
from django.db import models

from tests.end_to_end.contract.fields import MoneyField
from tests.end_to_end.contract.models.base import Sample


class Array(Sample):
    integers = ArrayField(models.IntegerField(), blank=True)
    integers_or_null = ArrayField(models.IntegerField(null=True, blank=True), null=True, blank=True)
    bigs = ArrayField(models.BigIntegerField(), blank=True)
    floats = ArrayField(models.FloatField(), blank=True)
    flags = ArrayField(models.BooleanField(null=True, blank=True), blank=True)
    texts = ArrayField(models.TextField(blank=True, null=True), blank=True)
    labels = ArrayField(models.CharField(max_length=5, blank=True), size=3, blank=True)
    prices = ArrayField(models.DecimalField(max_digits=12, decimal_places=2), blank=True)
    days = ArrayField(models.DateField(null=True, blank=True), blank=True)
    moments = ArrayField(models.DateTimeField(), blank=True)
    lengths = ArrayField(models.DurationField(), blank=True)
    numbers = ArrayField(models.UUIDField(), blank=True)
    contents = ArrayField(models.BinaryField(blank=True), blank=True)
    addresses = ArrayField(models.GenericIPAddressField(), blank=True)
    documents = ArrayField(models.JSONField(blank=True), blank=True)
    spans = ArrayField(DateRangeField(), blank=True)
    amounts = ArrayField(MoneyField(max_length=40), blank=True)
    board = ArrayField(ArrayField(models.IntegerField(null=True, blank=True), size=2), blank=True)
    cube = ArrayField(ArrayField(ArrayField(models.TextField(blank=True))), blank=True)
