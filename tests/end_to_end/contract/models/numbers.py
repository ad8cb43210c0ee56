import django
from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Integer(Sample):
    small = models.SmallIntegerField()
    small_or_null = models.SmallIntegerField(null=True, blank=True)
    normal = models.IntegerField()
    normal_or_null = models.IntegerField(null=True, blank=True)
    big = models.BigIntegerField()
    big_or_null = models.BigIntegerField(null=True, blank=True)
    positive_small = models.PositiveSmallIntegerField()
    positive_small_or_null = models.PositiveSmallIntegerField(null=True, blank=True)
    positive = models.PositiveIntegerField()
    positive_or_null = models.PositiveIntegerField(null=True, blank=True)
    positive_big = models.PositiveBigIntegerField()
    positive_big_or_null = models.PositiveBigIntegerField(null=True, blank=True)
    chosen = models.IntegerField(choices=[(1, "one"), (2, "two")])


class Fraction(Sample):
    binary = models.FloatField()
    binary_or_null = models.FloatField(null=True, blank=True)
    price = models.DecimalField(max_digits=12, decimal_places=2)
    price_or_null = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    whole = models.DecimalField(max_digits=38, decimal_places=0)
    whole_or_null = models.DecimalField(max_digits=38, decimal_places=0, null=True, blank=True)
    tiny = models.DecimalField(max_digits=20, decimal_places=20)
    tiny_or_null = models.DecimalField(max_digits=20, decimal_places=20, null=True, blank=True)
    huge = models.DecimalField(max_digits=1000, decimal_places=500)
    huge_or_null = models.DecimalField(max_digits=1000, decimal_places=500, null=True, blank=True)


class Zero(Sample):
    binary = models.FloatField()


class Coercion(Sample):
    """Values that a model instance may hold and that its fields turn into another type."""

    whole = models.IntegerField()
    binary = models.FloatField()
    price = models.DecimalField(max_digits=12, decimal_places=2)
    day = models.DateField()
    moment = models.DateTimeField()
    is_true = models.BooleanField()
    text = models.TextField()
    identifier = models.UUIDField()


if django.VERSION >= (6, 1):

    class Unlimited(Sample):
        """A NUMERIC without digits, which older versions of Django cannot declare."""

        amount = models.DecimalField()
        amount_or_null = models.DecimalField(null=True, blank=True)
