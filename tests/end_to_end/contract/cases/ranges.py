import datetime as dt
from decimal import Decimal

from django.db.backends.postgresql.psycopg_any import (
    DateRange,
    DateTimeTZRange,
    NumericRange,
)

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.numbers import BIG, NORMAL
from tests.end_to_end.contract.models import ranges

JANUARY, MAY = dt.date(2026, 1, 1), dt.date(2026, 5, 1)
MORNING = dt.datetime(2026, 1, 1, 8, tzinfo=dt.UTC)
EVENING = dt.datetime(2026, 1, 1, 18, 30, 1, 5, tzinfo=dt.timezone(dt.timedelta(hours=2)))
SHAPES = ("[)", "[]", "(]", "()")


def ranges_of(kind, lower, upper):
    """Every shape of a range: bounds in and out, open ends, empty, a pair instead of a range."""
    return [
        *(kind(lower, upper, bounds) for bounds in SHAPES),
        kind(lower, None),
        kind(None, upper),
        kind(None, upper, "(]"),
        kind(None, None, "()"),
        kind(lower, lower, "[]"),
        kind(lower, lower, "[)"),
        kind(empty=True),
        (lower, upper),
        [lower, None],
    ]


CASES = [
    Case(
        model=ranges.Span,
        values={
            "integers": [
                *ranges_of(NumericRange, 1, 5),
                NumericRange(-NORMAL, NORMAL - 1),
            ],
            "bigs": [*ranges_of(NumericRange, 1, 5), NumericRange(-BIG, BIG - 1)],
            "decimals": [
                *ranges_of(NumericRange, Decimal("1.50"), Decimal("5E+1")),
                NumericRange(Decimal("-0.79"), Decimal("0.00")),  # a zero with places
            ],
            "days": [*ranges_of(DateRange, JANUARY, MAY), DateRange(dt.date.min, dt.date.max)],
            "moments": ranges_of(DateTimeTZRange, MORNING, EVENING),
            # Not from a pair: of one, clean() and save() make different bounds here.
            "open_moments": ranges_of(DateTimeTZRange, MORNING, EVENING)[:-2],
        },
        # PostgreSQL has one way to write a range of whole steps: [1,5] is stored as [1,6).
        altered=frozenset(field.name for field in ranges.Span._meta.fields),
    ),
]
