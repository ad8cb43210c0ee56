"""Formats of dates and times: each field uses those of its kind, and none has no effect."""

from __future__ import annotations

import datetime as dt
import io

import pytest

from ingest import ConfigurationError, LayoutError, RecordsRefused, load
from ingest.layout import FieldLayout, Layout, Reading
from tests.end_to_end.contract.models.moments import Moment
from tests.end_to_end.contract.models.numbers import Coercion

pytestmark = pytest.mark.django_db

CONSTANTS = {
    "whole": FieldLayout(constant=1),
    "binary": FieldLayout(constant=1),
    "price": FieldLayout(constant=1),
    "day": FieldLayout(constant="2024-01-31"),
    "moment": FieldLayout(constant="2024-01-31 00:00Z"),
    "is_true": FieldLayout(constant="1"),
    "text": FieldLayout(constant="x"),
    "identifier": FieldLayout(constant="00000000-0000-0000-0000-000000000000"),
}


def csv(*lines):
    return io.BytesIO("".join(f"{line}\n" for line in lines).encode())


def test_each_field_uses_the_formats_of_its_kind():
    formats = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%H:%M")
    load(
        Moment,
        csv("day,moment,hour,length", "05.01.2026,05.01.2026 10:30,10:30,1"),
        layout=Layout(others="match", read=Reading(formats=formats)),
    )
    got = Moment.objects.get()
    assert (got.day, got.hour) == (dt.date(2026, 1, 5), dt.time(10, 30))
    assert got.moment.replace(tzinfo=None) == dt.datetime(2026, 1, 5, 10, 30)  # noqa: DTZ001


def test_a_cell_of_another_kind_is_refused():
    formats = ("%d.%m.%Y", "%H:%M")
    file = csv("day,moment,hour,length", "10:30,05.01.2026,05.01.2026,1")
    with pytest.raises(RecordsRefused) as refused:
        load(Moment, file, layout=Layout(others="match", read=Reading(formats=formats, year=2024)))
    message = str(refused.value)
    assert "column 'day': '10:30': “10:30” cannot be read as '%d.%m.%Y': " in message
    assert "column 'hour': '05.01.2026': “05.01.2026” cannot be read as '%H:%M': " in message


def test_a_dropped_zero_is_named():
    with pytest.raises(RecordsRefused, match=r"another way, lacks a leading zero, or there is no"):
        load(
            Coercion,
            csv("day", "1012024"),
            layout=Layout(
                fields={**CONSTANTS, "day": FieldLayout(column="day", formats=("%d%m%Y",))}
            ),
        )


def test_formats_of_no_field_are_an_error():
    layout = Layout(
        fields={**CONSTANTS, "day": FieldLayout(column="day")},
        read=Reading(formats=("%H:%M",)),
        asked={"formats": "--date-format"},
    )
    with pytest.raises(ConfigurationError, match="feeds no field that is a date or a time as it"):
        load(Coercion, csv("day", "2024-01-31"), layout=layout)


@pytest.mark.parametrize(
    ("name", "said", "why"),
    [
        ("day", {"formats": ("%-d.%-m.%Y",)}, "'-' is a bad directive"),
        ("day", {"formats": ("%H:%M",)}, "has no date"),
        ("day", {"formats": ("%d.%m.%Y",), "pivot": 30}, "pivot has no effect: day has no format"),
        ("day", {"pivot": 30}, "pivot has no effect: day has no format with %y"),
        ("day", {"formats": ("%d.%m.%Y",), "year": 2024}, "year has no effect: day has no format"),
        ("price", {"grouping": "indian"}, "grouping has no effect: price has no thousands"),
        ("price", {"whole": True}, "whole has no effect: price is not a whole number"),
        ("binary", {"places": "round"}, "places has no effect: binary is not a number with a"),
    ],
)
def test_keys_without_effect(name, said, why):
    layout = Layout(fields={**CONSTANTS, name: FieldLayout(column="cell", **said)})
    with pytest.raises(LayoutError, match=why):
        load(Coercion, csv("cell", "1"), layout=layout)


def test_keys_of_read_are_for_fields_of_a_fitting_kind():
    read = Reading(formats=("%d.%m.%y",), pivot=30, year=2024, grouping="indian", whole=True)
    names = ("whole", "price", "day")
    layout = Layout(fields={**CONSTANTS, **{name: FieldLayout(column=name) for name in names}})
    load(
        Coercion,
        csv("whole,price,day", "5.0,7.5,31.01.31"),
        layout=Layout(fields=layout.fields, read=read),
    )
    got = Coercion.objects.get()
    assert (got.whole, str(got.price), got.day) == (5, "7.50", dt.date(1931, 1, 31))
