"""Which fields are converted a whole column at a time, and where Arrow's zones can be trusted."""

import datetime as dt
import re
from itertools import pairwise
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from django.core.validators import EmailValidator, MaxLengthValidator
from django.test import override_settings
from django.utils.dateparse import parse_datetime
from django.utils.functional import empty
from django.utils.regex_helper import _lazy_re_compile
from hypothesis import given
from hypothesis import strategies as st

from ingest.conversion.kernels import find_kernel
from ingest.conversion.kernels.datetimes import DateTimeKernel
from ingest.conversion.kernels.regexes import ASCII, translate
from ingest.conversion.kernels.text_checks import find_check, source_of, without_null_characters
from tests.conversion.families import FAMILIES

BY_NAME = {family.name: family for family in FAMILIES}
UTC = pa.timestamp("us", tz="UTC")


def field_of(family, variant):
    place = list(BY_NAME[family].fields).index(variant)
    return BY_NAME[family].models[place]._meta.get_field("value")


@pytest.mark.parametrize(
    ("family", "variant", "stored_as"),
    [
        ("integer", "required", pa.int32()),
        ("integer", "choices", pa.int32()),
        ("integer", "grouped choices", pa.int32()),
        ("integer", "limits", pa.int32()),
        ("sized integer", "positive big", pa.int64()),
        ("foreign key", "null", pa.int64()),
        ("foreign key", "by code", pa.string()),
        ("foreign key", "universal", pa.binary(16)),
        ("decimal", "limits", pa.decimal128(5, 2)),
        ("float", "limits", pa.float64()),
        ("boolean", "null", pa.bool_()),
        ("char", "choices or blank", pa.string()),
        ("char", "called choices", pa.string()),
        ("char", "pattern", pa.string()),
        ("char", "no null", pa.string()),
        ("pattern", "number", pa.string()),
        ("pattern", "no digit", pa.string()),
        ("pattern", "any case", pa.string()),
        ("slug, email, url, path", "slug", pa.string()),
        ("slug, email, url, path", "unicode slug", pa.string()),
        ("slug, email, url, path", "email or blank", pa.string()),
        ("slug, email, url, path", "url or null", pa.string()),
        ("text", "length", pa.string()),
        ("uuid", "null blank", pa.binary(16)),
        ("date", "limits", pa.date32()),
        ("moment", "required", UTC),
    ],
)
def test_a_common_field_has_a_kernel(family, variant, stored_as):
    assert find_kernel(field_of(family, variant), stored_as) is not None


@pytest.mark.parametrize(
    ("family", "variant", "stored_as"),
    [
        ("integer", "custom validator", pa.int32()),
        ("integer", "called limit", pa.int32()),
        ("integer", "limit of another type", pa.int32()),
        ("integer", "choices of text", pa.int32()),
        ("integer", "required", pa.string()),
        ("char", "custom validator", pa.string()),
        ("char", "called length", pa.string()),
        ("char", "required", pa.int32()),
        ("pattern", "a line of many", pa.string()),
        ("pattern", "looks ahead", pa.string()),
        ("decimal", "longer", pa.decimal128(38, 9)),
        ("date", "limit of another type", pa.date32()),
        ("moment", "limit", UTC),
        ("moment", "required", pa.timestamp("us")),
        ("custom", "required", pa.string()),
        ("custom", "picky", pa.string()),
        ("custom number", "required", pa.int32()),
    ],
)
def test_any_other_field_is_asked_itself(family, variant, stored_as):
    assert find_kernel(field_of(family, variant), stored_as) is None


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]
)
def test_local_times_are_those_of_python(zone):
    """Every half hour around every change of the zone's offset, and beyond the known years."""
    first = dt.datetime(1969, 12, 1)  # noqa: DTZ001 - it is given the zone
    found = [first + dt.timedelta(days=days) for days in range(0, 36_000, 5)]
    naive = [
        moment + dt.timedelta(minutes=30 * step)
        for moment, later in pairwise(found)
        if local(moment, zone).utcoffset() != local(later, zone).utcoffset()
        for step in range(5 * 48)
    ]
    naive = [moment for moment in [*found, *naive] if exists(moment, zone)]
    kernel = DateTimeKernel(field_of("moment", "required"), [])
    with override_settings(TIME_ZONE=zone):
        values, mask = kernel.adopt(pa.array(naive, pa.timestamp("us")))
    taken = [(got, moment) for got, moment in zip(values.to_pylist(), naive, strict=True) if got]
    assert len(taken) == mask.true_count > 4_000
    assert [moment for got, moment in taken if got != local(moment, zone).astimezone(dt.UTC)] == []


def local(naive, zone):
    return naive.replace(tzinfo=ZoneInfo(zone))


def exists(naive, zone):
    there_and_back = local(naive, zone).astimezone(dt.UTC).astimezone(ZoneInfo(zone))
    return there_and_back.replace(tzinfo=None) == naive


def test_a_time_that_does_not_exist_leaves_the_column_to_the_field():
    kernel = DateTimeKernel(field_of("moment", "required"), [])
    with override_settings(TIME_ZONE="Europe/Berlin"):
        gap = pa.array(["2025-03-30T02:30:00"]).cast(pa.timestamp("us"))
        assert kernel.adopt(gap) is None


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(?=a)b",
            "(?<!a)b",
            r"(a)\1",
            "(?P<x>a)(?P=x)",
            "(a)?(?(1)b|c)",
            "a++",
            "(?>a)",
            "(?m)a$",
        ),
        *("a$b", "(a$)*", r"\Ba", "(a*)*", "a{1001}", "(?:a{1000}){1000}", "(?m:^a)"),
    ],
)
def test_a_pattern_that_re2_may_read_otherwise_is_left_to_python(pattern):
    assert translate(re.compile(pattern)) is None


one_character = st.sampled_from(
    [*"aZk09_. \n-", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[a-f]", "[^a-f]", r"[\W_]", r"\x1c"]
)
some_pattern = st.recursive(
    st.one_of(one_character, one_character, st.sampled_from(["^", "$", r"\A", r"\Z", r"\b", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.builds("({}){}".format, inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "*?"])),
    ),
    max_leaves=6,
)


@given(
    some_pattern,
    st.sampled_from([re.NOFLAG, re.ASCII, re.IGNORECASE, re.DOTALL, re.IGNORECASE | re.ASCII]),
    st.lists(
        st.text("aAbkKzZ09_ .-\n\t\x0b\x1c\x1f\x7f", max_size=5) | st.text(ASCII, max_size=3),
        min_size=1,
        max_size=20,
    ),
)
def test_a_pattern_finds_in_ascii_what_python_finds(pattern, flags, texts):
    regex = re.compile(pattern, flags)
    translated = translate(regex)
    if translated is not None:
        got = pc.match_substring_regex(pa.array([*texts, ""]), translated).to_pylist()
        assert got == [regex.search(text) is not None for text in [*texts, ""]]


OFFSETS = ("", "Z", "+00", "-05", "+0530", "-03:30", "+14:00", "-00:30", "+14:59")
LAST_DAYS = ("2024-02-29", "2023-12-31", "2024-06-30", "2023-01-29")


@pytest.mark.parametrize("odd", [(), ("2023-02-29 00:00:00+00",), ("2023-06-31 00:00:00",)])
def test_texts_of_moments_are_read_as_django_reads_them(odd):
    texts = [
        f"{day}{time}{offset}"
        for day in (*LAST_DAYS, "2023-01-28")
        for time in (" 00:00:00", "T23:59:59.1", " 12:34:56.123456")
        for offset in OFFSETS
    ]
    kernel = DateTimeKernel(field_of("moment", "required"), [])
    with override_settings(TIME_ZONE="UTC"):
        values, mask = kernel.parse(pa.array([*texts, *odd]))
    taken = [True] * len(texts) if mask is None else mask.to_pylist()
    # A day that no month has leaves the days that not every month has to the field, too.
    assert sum(taken) >= (len(texts) // len((*LAST_DAYS, "")) if odd else len(texts))
    for text, value, is_taken in zip(texts, values.to_pylist(), taken, strict=False):
        if is_taken:
            want = parse_datetime(text)
            assert value == (want if want.tzinfo else want.replace(tzinfo=dt.UTC)), text
    assert not any(taken[len(texts) :])


def test_the_regexes_of_django_are_not_compiled_for_a_kernel():
    # Compiled anew, as in a fresh process: others have used Django's own by now.
    lazy = _lazy_re_compile(EmailValidator.domain_regex.pattern, re.IGNORECASE)
    want = (EmailValidator.domain_regex.pattern, re.IGNORECASE)
    assert source_of(lazy) == source_of(_lazy_re_compile(lazy)) == want
    assert vars(lazy)["_wrapped"] is empty
    assert source_of(re.compile("a", re.DOTALL)).pattern == "a"


def test_a_null_character_is_found_in_its_own_text_only():
    texts = pa.array(["a\0", "b", None, "", "c\0d", "e"])
    assert without_null_characters(texts).to_pylist() == [False, True, None, True, False, True]
    assert without_null_characters(texts[1:4]) is None
    assert without_null_characters(texts[2:5]).to_pylist() == [None, True, False]
    assert without_null_characters(texts[:0]) is None


def test_a_longest_text_is_counted_in_characters():
    check = find_check(MaxLengthValidator(3))
    assert check(pa.array(["abc", None, ""])) is None
    assert check(pa.array(["äöü", "äöüß", None])).to_pylist() == [True, False, None]
