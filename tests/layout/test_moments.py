import pyarrow as pa
import pytest

from ingest.layout.datetimes import DateTimeReader


def read(text, *formats, kind="date", **options):
    moments, readable = DateTimeReader(kind, formats, **options).read(pa.array([text]))
    return moments[0].as_py() if readable[0].as_py() else None


@pytest.mark.parametrize(
    ("text", "formats", "want"),
    [
        ("", ["%d.%m.%Y"], ""),
        ("31.12.2024", ["%d.%m.%Y"], "2024-12-31"),
        ("1.2.2024", ["%d.%m.%Y"], "2024-02-01"),
        ("31.12.24", ["%d.%m.%y"], "2024-12-31"),
        ("930101", ["%y%m%d"], "1993-01-01"),
        ("23-Jan-15", ["%d-%b-%y"], "2015-01-23"),
        ("2024/03/01", ["%d.%m.%Y", "%Y/%m/%d"], "2024-03-01"),
        ("2024-12-31", ["%d.%m.%Y"], None),
        ("30.2.24", ["%d.%m.%y"], None),
        ("12/31/2024 23:59", ["%m/%d/%Y %H:%M"], "2024-12-31"),
    ],
)
def test_a_date_is_read_by_the_first_format_that_fits(text, formats, want):
    assert read(text, *formats) == want


@pytest.mark.parametrize(
    ("text", "kind", "formats", "want"),
    [
        # Spreadsheets drop leading zeros: 1012024 is the 1st of January, or the 10th.
        ("1012024", "date", ["%d%m%Y"], None),
        ("01012024", "date", ["%d%m%Y"], "2024-01-01"),
        ("90101", "date", ["%y%m%d"], None),
        ("2024111", "date", ["%Y%m%d"], None),
        ("13000", "time", ["%H%M%S"], None),
        ("013000", "time", ["%H%M%S"], "01:30:00"),
        ("05.01.2026 930", "datetime", ["%d.%m.%Y %H%M"], None),
        ("5.1.2026 0930", "datetime", ["%d.%m.%Y %H%M"], "2026-01-05 09:30:00"),
        ("1JAN24", "date", ["%d%b%y"], "2024-01-01"),
        ("20240105 013000123", "datetime", ["%Y%m%d %H%M%S%f"], "2024-01-05 01:30:00.123000"),
        ("20240105 13000123", "datetime", ["%Y%m%d %H%M%S%f"], None),
        ("100% 1012024", "date", ["100%% %d%m%Y"], None),
        ("100%  01012024", "date", ["100%% %d%m%Y"], "2024-01-01"),
    ],
)
def test_adjacent_numbers_need_all_their_digits(text, kind, formats, want):
    assert read(text, *formats, kind=kind) == want


@pytest.mark.parametrize("year", [2004, 2008, 2012])
def test_a_leap_day_is_read_by_the_first_format_that_fits(year):
    assert read(f"{year}0229", "%Y%m%d", "%d%m%Y") == f"{year}-02-29"


@pytest.mark.parametrize(
    ("kind", "item", "why"),
    [
        ("datetime", "%d/%m/%Y %H:%M %p", "has %p for AM and PM, but the hour of a 24-hour clock"),
        ("time", "%I:%M", "has %I, the hour of a 12-hour clock, but no %p"),
        ("date", "%-d.%-m.%Y", "'-' is a bad directive"),
        ("date", "%d.%d.%Y", "has a code twice"),
        ("date", "%d.%m.%", "stray %"),
        ("date", "%H:%M", "has no date"),
        ("time", "%d.%m.%Y", "has no hour"),
        ("date", "DD.MM.YYYY", "has no date"),
    ],
)
def test_formats_that_cannot_be_used_are_refused_before_any_text(kind, item, why):
    with pytest.raises(ValueError, match=why):
        DateTimeReader(kind, [item], year=2024)


def test_the_pivot_parts_the_centuries():
    assert read("01.01.50", "%d.%m.%y", pivot=50) == "1950-01-01"
    assert read("01.01.49", "%d.%m.%y", pivot=50) == "2049-01-01"


def test_a_date_without_a_year():
    assert read("4月30日", "%m月%d日", year=2024) == "2024-04-30"
    assert read("29.2.", "%d.%m.", year=2024) == "2024-02-29"
    with pytest.raises(ValueError, match="has no year: give one with 'year'"):
        DateTimeReader("date", ["%d.%m."])


def test_times_of_a_zone():
    got = read("01.07.2024 12:00", "%d.%m.%Y %H:%M", kind="datetime", timezone="Europe/Prague")
    assert got == "2024-07-01 12:00:00+02:00"


def test_times_without_a_zone():
    got = read("01.07.2024 12:00", "%d.%m.%Y %H:%M", kind="datetime")
    assert got == "2024-07-01 12:00:00"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2024-060", "2024-02-29 00:00:00+01:00"),
        ("2024060T1030", "2024-02-29 10:30:00+01:00"),
        ("2023-366", None),
        ("2024-000", None),
        ("2024-W09-4T10:30Z", "2024-02-29 10:30:00+00:00"),
        ("2024-02-29T24:00", "2024-03-01 00:00:00+01:00"),
        ("2024-12-31T24:00:00,0Z", "2025-01-01 00:00:00+00:00"),
        ("2024-02-29 2400 +02:00", "2024-03-01 00:00:00+02:00"),
        ("2024-02-29T24:01", None),
        ("9999-12-31T24:00", None),
        ("2024-02-29t10:30z", "2024-02-29 10:30:00+00:00"),
        ("2024-02-29T10.5", "2024-02-29 10:30:00+01:00"),
        ("2024-02-29T10:30,25+02", "2024-02-29 10:30:15+02:00"),
        ("2024-02-29T1030.5", "2024-02-29 10:30:30+01:00"),
        ("2024-02-29T10:30:15,5", "2024-02-29 10:30:15.500000+01:00"),
        ("2024-02-29T23:59:60", None),
    ],
)
def test_all_forms_of_iso_8601(text, want):
    assert read(text, kind="datetime", timezone="Europe/Berlin") == want
