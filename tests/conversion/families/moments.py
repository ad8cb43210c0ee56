# ruff: noqa: DTZ001, DTZ901 - times without a time zone are what is tried here
import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
from django.core import validators
from django.db import models
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = [
    *("2025-01-05", "2025-1-5", "20250105", "2025-W01-7", "2025W017", "2025-005", "05.01.2025"),
    *("2024-02-29", "2025-02-29", "1900-02-29", "2000-02-29", "2025-04-31", "2025-13-01"),
    *("2025-00-01", "2025-01-00", "0000-01-01", "0001-01-01", "0999-12-31", "1000-01-01"),
    *("9999-12-31", "10000-01-01", "-0001-01-01", "+2025-01-01", " 2025-01-05", "2025-01-05 "),
    *(
        "2025-01-05\n",
        "\uff12\uff10\uff12\uff15-01-05",
        "2025/01/05",
        "2025-01",
        "today",
        "infinity",
        "2038-01-20",
    ),
    *("1970-01-01", "1969-12-31", "2025-03-30", "2025-10-26", "1893-04-01", "1582-10-10"),
]
HOURS = [
    *("10:00", "10:00:00", "10:00:00.5", "10:00:00.123456", "10:00:00.1234567", "10:00:00,5"),
    *("23:59:59.999999", "24:00", "24:00:00", "23:60", "23:59:60", "00:00", "0:00", "1:2:3"),
    *("10", "1000", "100000", "T10:00", "10:00Z", "10:00+02:00", "10:00:00-05", "10:00 +02:00"),
    *("10:00:00+23:59", "10:00:00+24:00", "10:00+15:00", "10:00:00z", " 10:00", "10:00 ", "10h"),
    *("02:30", "02:30:00", "03:30", "00:53:28", "00:03", "10:00:00+01:00:30", "10:00:00+0200"),
    *(
        "10:00:00.",
        "10:00:00.5Z",
        "\uff110:00",
        "-10:00",
        "12:00 am",
        "10:00:00+14:00",
        "10:00\u221202:00",
    ),
]
MOMENTS = [
    *(f"{day} {hour}" for day in DAYS[:12] for hour in HOURS[:3]),
    *(f"{day}T{hour}" for day in ("2025-01-05", "2025-10-26", "2025-03-30") for hour in HOURS),
    *(f"{day} {hour}" for day in DAYS for hour in ("02:30:00", "23:59:59-05:00", "00:00:00Z")),
    *("2025-01-05t10:00:00", "2025-01-05  10:00:00", "2025-01-05_10:00:00", "1736071200"),
    *("2038-07-01 12:00:00", "2100-07-01 12:00:00", "2037-10-25 02:30:00", "1945-05-24 02:30:00"),
    *("2025-01-05 10:00:00 UTC", "Sun, 05 Jan 2025 10:00:00 GMT", "1916-04-30 23:30:00"),
]
LENGTHS = [
    *("1", "1.5", "-1", "1 day", "1 days, 2:03:04", "-1 day", "2 00:00:00", "10:00", "1:02:03.5"),
    *("P1D", "PT1H", "P1DT2H3M4.5S", "-P1D", "P1Y", "P1W", "P1M", "PT0S", "P", "3 mons", "\uff11"),
    *("999999999 23:59:59.999999", "1000000000", "999999999 24:00:00", "-999999999", "0.0000001"),
    *("1 day -0:00:01", "-1 days +23:59:59", "15:30.1234567", " 1", "1e3", "nan", "1:60:00"),
]
days = [
    *(dt.date(2025, 1, 5), dt.date.min, dt.date.max, dt.date(2024, 2, 29), dt.date(1969, 12, 31)),
    *(dt.date(2025, 3, 30), dt.date(2025, 10, 26), dt.date(2038, 1, 20)),
]
naive = [
    *(dt.datetime.min, dt.datetime.max, dt.datetime(2025, 1, 5, 10), dt.datetime(2024, 2, 29, 1)),
    *(dt.datetime(2025, 3, 30, 2, 30), dt.datetime(2025, 10, 26, 2, 30, fold=1)),
    *(dt.datetime(2025, 10, 26, 2, 30, 0, 1), dt.datetime(2038, 7, 1), dt.datetime(1893, 4, 1)),
    *(dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(1850, 1, 1)),
]
zones = [
    *(
        dt.UTC,
        BERLIN,
        ZoneInfo("America/New_York"),
        dt.timezone(dt.timedelta(hours=23, minutes=59)),
    ),
    *(dt.timezone(-dt.timedelta(hours=5)), dt.timezone(dt.timedelta(seconds=3208))),
]
aware = [moment.replace(tzinfo=zone) for moment in naive for zone in zones]
hours = [
    *(dt.time(), dt.time.max, dt.time(10, 0, 0, 500000), dt.time(2, 30, tzinfo=dt.UTC)),
    *(dt.time(2, 30, fold=1), dt.time(1, tzinfo=BERLIN), dt.time(23, tzinfo=zones[4])),
]
lengths = [
    *(dt.timedelta(), dt.timedelta.min, dt.timedelta.max, dt.timedelta(microseconds=-1)),
    *(dt.timedelta(days=1, seconds=-1), dt.timedelta(days=400, hours=30), Decimal("1.5")),
]
VALUES = [*days, *naive, *aware, *hours, *lengths, 0, 1736071200, 1.5, (2025, 1, 5)]
STAMPS = [
    pa.timestamp(unit, tz=zone)
    for unit in ("s", "ms", "us", "ns")
    for zone in (None, "UTC", "Europe/Berlin", "+05:30")
]
TYPES = [
    *(*STAMPS, pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us")),
    *(pa.time64("ns"), pa.duration("s"), pa.duration("ms"), pa.duration("us"), pa.duration("ns")),
    *(pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.timestamp("us", tz="UTC"))),
]
offset = st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
some_zone = st.sampled_from([None, *zones]) | offset
some_moment = st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone),
    st.datetimes() | st.sampled_from(naive),
    some_zone,
)
some_text = st.one_of(
    some_moment.map(str),
    some_moment.map(dt.datetime.isoformat),
    st.builds(
        "{}{}{}".format, st.sampled_from(DAYS), st.sampled_from(" T"), st.sampled_from(HOURS)
    ),
    st.dates().map(str),
    st.times().map(str),
    st.timedeltas().map(str),
    st.from_regex(r"[0-9]{4}-[01]?[0-9]-[0-3]?[0-9]([ T][0-2][0-9]:[0-5][0-9](:[0-6][0-9])?)?Z?"),
)
some_value = st.one_of(some_moment, st.dates(), st.times(timezones=st.sampled_from([dt.UTC, None])))


def moments(name, fields, texts, **settings):
    Family(
        name=name,
        fields=fields,
        texts=texts,
        values=VALUES,
        text=some_text,
        value=some_value | st.timedeltas(),
        arrow_types=TYPES,
        settings=settings,
    )


def date_fields():
    return {
        **optional(models.DateField),
        "limits": models.DateField(
            validators=[
                validators.MinValueValidator(dt.date(2000, 2, 29)),
                validators.MaxValueValidator(dt.date(2025, 1, 5)),
            ]
        ),
        "limit of another type": models.DateField(
            validators=[validators.MinValueValidator(dt.datetime(2025, 1, 5))]
        ),
        "automatic": models.DateField(auto_now=True),
        "choices": models.DateField(choices=[(dt.date(2025, 1, 5), "a"), ("2024-02-29", "b")]),
    }


def moment_fields():
    return {
        **optional(models.DateTimeField),
        "limit": models.DateTimeField(
            validators=[validators.MinValueValidator(dt.datetime(2025, 1, 5, 9, tzinfo=dt.UTC))]
        ),
        "naive limit": models.DateTimeField(
            validators=[validators.MaxValueValidator(dt.datetime(2025, 1, 5, 10))]
        ),
        "added": models.DateTimeField(auto_now_add=True),
        "changed": models.DateTimeField(auto_now=True, null=True),
    }


def hour_fields():
    return {**optional(models.TimeField), "added": models.TimeField(auto_now_add=True)}


moments("date", date_fields(), [*DAYS, *MOMENTS])
moments("date in Berlin", date_fields(), [*DAYS, *MOMENTS], TIME_ZONE="Europe/Berlin")
moments("moment", moment_fields(), [*MOMENTS, *DAYS, *HOURS])
moments("moment in Berlin", moment_fields(), MOMENTS, TIME_ZONE="Europe/Berlin")
moments("moment on Lord Howe", moment_fields(), MOMENTS, TIME_ZONE="Australia/Lord_Howe")
moments("moment without zones", moment_fields(), MOMENTS, USE_TZ=False, TIME_ZONE="Europe/Berlin")
moments("time", hour_fields(), [*HOURS, *MOMENTS[:40]])
moments("time without zones", hour_fields(), HOURS, USE_TZ=False, TIME_ZONE="America/New_York")
moments("duration", optional(models.DurationField), [*LENGTHS, *HOURS])
