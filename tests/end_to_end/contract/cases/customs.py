import datetime as dt
from decimal import Decimal

from django.db.backends.postgresql.psycopg_any import NumericRange
from psycopg.types.multirange import Multirange

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.texts import TEXTS
from tests.end_to_end.contract.fields import Money
from tests.end_to_end.contract.models import customs

MOODS = ["sad", "ok", "very happy", 'it\'s "fine", \\ really']

CASES = [
    Case(
        model=customs.Custom,
        values={
            "money": [Money(Decimal("12.50"), "EUR"), Money(Decimal(-1), "$")],
            "colour": ["#ff0000", "#000000"],
            "secret": TEXTS,
        },
    ),
    Case(
        model=customs.Typed,
        values={
            "mood": MOODS,
            "moods": [MOODS, []],
            "percent": [Decimal("0.00"), Decimal("99.99"), Decimal("100.00")],
        },
        altered=frozenset({"moods"}),
    ),
    Case(
        model=customs.Exotic,
        values={
            "single": [1.5, 0.1],
            "json": ['{"b": 1,  "a": "\\u00fc"}', "[]"],
            "mac": ["08:00:2b:01:02:03"],
            "network": ["192.0.2.0/24", "2001:db8::/32"],
            "point": ["(1,2.5)"],
            "bits": ["0101"],
            "padded": ["ab", "ab   ", "größe"],
            "naive_moment": [dt.datetime(2026, 2, 3, 4, 5, 6, 7)],  # noqa: DTZ001 - the column has no zone
            "months": ["1 year 2 mons 3 days 04:05:06", "-1 mons"],
            "spans": [Multirange([NumericRange(1, 3), NumericRange(5, 7)]), Multirange()],
            "rounded_moment": [dt.datetime(2026, 2, 3, 4, 5, 6, 600_000, tzinfo=dt.UTC)],
        },
        altered=frozenset(field.name for field in customs.Exotic._meta.fields),
    ),
    Case(
        model=customs.Initial,
        values={"initial": ["?"], "name": ["anna", "ömer"]},
        altered=frozenset({"initial"}),
    ),
    Case(model=customs.Shout, values={"word": ["hello"]}, altered=frozenset({"word"})),
]
