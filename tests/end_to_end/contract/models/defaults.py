import datetime as dt
from decimal import Decimal
from itertools import count
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower, Now

from tests.end_to_end.contract.models.base import Sample

tickets = count(1)


def next_ticket():
    return next(tickets)


class Preset(Sample):
    """Every way in which a column that nobody gives can come to a value."""

    name = models.CharField(max_length=20)
    constant = models.IntegerField(default=7)
    false_constant = models.BooleanField(default=False)
    amount = models.DecimalField(max_digits=5, decimal_places=2, default=Decimal("1.5"))
    ticket = models.IntegerField(default=next_ticket)
    token = models.UUIDField(default=uuid4)
    items = ArrayField(models.IntegerField(), default=list)
    document = models.JSONField(default=dict)
    empty_text = models.CharField(max_length=5, blank=True)
    empty_file = models.FileField(upload_to="files", blank=True)
    nothing = models.IntegerField(null=True, blank=True)
    no_text = models.TextField(blank=True, null=True)  # noqa: DJ001
    added_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    added_on = models.DateField(auto_now_add=True)
    changed_time = models.TimeField(auto_now=True)
    from_database = models.IntegerField(db_default=42)
    text_from_database = models.CharField(max_length=20, db_default="it's \\ %s")
    moment_from_database = models.DateTimeField(db_default=Now())
    both = models.IntegerField(default=1, db_default=2)
    zero_length = models.DurationField(default=dt.timedelta)
    lower_name = models.GeneratedField(
        expression=Lower("name"), output_field=models.CharField(max_length=20), db_persist=True
    )
