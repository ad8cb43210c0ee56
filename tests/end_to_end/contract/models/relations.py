from django.db import models

from tests.end_to_end.contract.models.base import Sample


class Owner(Sample):
    code = models.CharField(max_length=10, unique=True)


class Link(Sample):
    owner = models.ForeignKey(Owner, models.CASCADE, related_name="+")
    owner_or_null = models.ForeignKey(
        Owner, models.CASCADE, null=True, blank=True, related_name="+"
    )
    by_code = models.ForeignKey(
        Owner, models.CASCADE, to_field="code", related_name="+", db_column="owner code"
    )
    only = models.OneToOneField(Owner, models.CASCADE, related_name="+")
    loose = models.ForeignKey(
        Owner, models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="+"
    )


class Branch(Sample):
    """A tree: rows refer to rows of the same table, also to later ones."""

    number = models.IntegerField(primary_key=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)


class Station(Sample):
    """Its `_order` is filled by `save()` from the rows that are already there."""

    owner = models.ForeignKey(Owner, models.CASCADE)
    name = models.CharField(max_length=20)

    class Meta:
        order_with_respect_to = "owner"
