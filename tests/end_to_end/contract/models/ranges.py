from django.contrib.postgres import fields

from tests.end_to_end.contract.models.base import Sample


class Span(Sample):
    integers = fields.IntegerRangeField()
    integers_or_null = fields.IntegerRangeField(null=True, blank=True)
    bigs = fields.BigIntegerRangeField()
    bigs_or_null = fields.BigIntegerRangeField(null=True, blank=True)
    decimals = fields.DecimalRangeField()
    decimals_or_null = fields.DecimalRangeField(null=True, blank=True)
    days = fields.DateRangeField()
    days_or_null = fields.DateRangeField(null=True, blank=True)
    moments = fields.DateTimeRangeField()
    moments_or_null = fields.DateTimeRangeField(null=True, blank=True)
    open_moments = fields.DateTimeRangeField(default_bounds="()")
