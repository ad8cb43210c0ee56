from django.contrib.postgres.fields import ArrayField
from django.db import models

from tests.end_to_end.contract.fields import (
    ColourField,
    InitialField,
    MoneyField,
    SecretField,
    ShoutField,
    TypedField,
)
from tests.end_to_end.contract.models.base import Sample


class Custom(Sample):
    money = MoneyField(max_length=40)
    money_or_null = MoneyField(max_length=40, null=True, blank=True)
    colour = ColourField()
    colour_or_null = ColourField(null=True, blank=True)
    secret = SecretField(blank=True)
    secret_or_null = SecretField(blank=True, null=True)


class Typed(Sample):
    """Columns of types that PostgreSQL was taught."""

    mood = TypedField("contract_mood")
    mood_or_null = TypedField("contract_mood", null=True, blank=True)
    moods = ArrayField(TypedField("contract_mood"), blank=True)
    percent = TypedField("contract_percent")
    percent_or_null = TypedField("contract_percent", null=True, blank=True)


class Exotic(Sample):
    """Columns of types that Django has no field for."""

    single = TypedField("real")
    json = TypedField("json")
    mac = TypedField("macaddr")
    network = TypedField("cidr")
    point = TypedField("point")
    bits = TypedField("bit(4)")
    padded = TypedField("char(5)")
    naive_moment = TypedField("timestamp")
    months = TypedField("interval")
    spans = TypedField("int4multirange")
    rounded_moment = TypedField("timestamp(0) with time zone")


class Initial(Sample):
    name = models.CharField(max_length=20)
    initial = InitialField(max_length=1)


class Shout(Sample):
    word = ShoutField()
