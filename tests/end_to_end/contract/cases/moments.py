import datetime as dt
from zoneinfo import ZoneInfo

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import moments

PARIS = ZoneInfo("Europe/Paris")
DAYS = [
    dt.date(2026, 2, 3),
    dt.date(2000, 1, 1),
    dt.date(1999, 12, 31),
    dt.date(2024, 2, 29),
    dt.date.min,
    dt.date.max,
]
MOMENTS = [
    dt.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC),
    dt.datetime(2026, 2, 3, 4, 5, 6, 999_999, tzinfo=dt.timezone(dt.timedelta(hours=5.75))),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(2000, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=12))),
    dt.datetime(2025, 10, 26, 2, 30, tzinfo=PARIS),
    dt.datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=PARIS),
    dt.datetime(1900, 1, 1, tzinfo=PARIS),
    dt.datetime.min.replace(tzinfo=dt.UTC),
    dt.datetime.max.replace(tzinfo=dt.UTC),
]
LENGTHS = [
    dt.timedelta(1, 2, 3),
    dt.timedelta(0),
    dt.timedelta(microseconds=-1),
    dt.timedelta(days=-1, hours=3),
    dt.timedelta(days=31, hours=25),
    dt.timedelta(days=999_999_999, microseconds=999_999),
    dt.timedelta.min,
    dt.timedelta.max,
]

CASES = [
    Case(
        model=moments.Moment,
        values={
            "day": DAYS,
            "moment": MOMENTS,
            "hour": [dt.time(4, 5, 6, 7), dt.time.min, dt.time.max, dt.time(23, 59)],
            "length": LENGTHS,
        },
    ),
]
