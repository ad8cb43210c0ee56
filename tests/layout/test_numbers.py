import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.layout.numbers import NumberReader, turn


def read(text, decimal=",", thousands=(".",), currency=("€", "EUR")):
    numbers, readable = NumberReader(decimal, thousands, currency).read(pa.array([text]))
    return numbers[0].as_py() if readable[0].as_py() else None


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", ""),
        ("1.234,56", "1234.56"),
        ("1.234,56-", "-1234.56"),
        ("- 1.234,56", "-1234.56"),
        ("\u22125", "-5"),
        ("(85,00)", "-85.00"),
        ("€ 3,50", "3.50"),
        ("3,50 EUR", "3.50"),
        ("-€3,50", "-3.50"),
        ("€-3,50", "-3.50"),
        ("12,50 CR", "12.50"),
        ("12,50DR", "-12.50"),
        ("+7", "+7"),
        (",5", ".5"),
        ("1.234.567", "1234567"),
        ("12.50", None),
        ("1.23,4", None),
        ("0.123", None),
        ("0.123,4", None),
        ("012.345", "012345"),
        ("1,234.56", None),
        ("(-5)", None),
        ("-5-", None),
        ("€€5", None),
        ("five", None),
        ("\u0661", None),
    ],
)
def test_numbers_with_a_decimal_comma(text, want):
    assert read(text) == want


@pytest.mark.parametrize(
    ("text", "currency", "want"),
    [
        ("C$5.00", ("C$",), "5.00"),
        ("-C$ 5.00", ("C$", "$"), "-5.00"),
        ("Cr$ 5.00", ("Cr$",), "5.00"),
        ("5.00 DKK", ("DKK",), "5.00"),
        ("R 5.00 DR", ("R",), "-5.00"),
        ("5.00 CR", ("R",), "5.00"),
        ("D 5.00", ("$",), "-5.00"),
    ],
)
def test_a_currency_is_no_side(text, currency, want):
    assert read(text, ".", (), currency) == want


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f"])
def test_any_blank_parts_thousands(blank):
    assert read(f"-12{blank}345,6", thousands=(" ",)) == "-12345.6"


@pytest.mark.parametrize("mark", ["'", "\u2019"])
def test_any_apostrophe_parts_thousands(mark):
    assert read(f"1{mark}234.50", decimal=".", thousands=("'",)) == "1234.50"


def test_a_yen_sign_that_is_a_backslash():
    assert read("\\7,000", ".", (",",), ("\\",)) == "7000"


@given(st.lists(st.decimals(-(10**9), 10**9, places=2).map(lambda number: number + 0)))
def test_what_is_written_is_read(numbers):
    written = pa.array(
        [f"{number:,.2f}".translate(str.maketrans(",.", ".,")) for number in numbers], pa.string()
    )
    got, readable = NumberReader(",", (".",), ()).read(written)
    assert got.to_pylist() == [f"{number:.2f}" for number in numbers]
    assert all(readable.to_pylist())


def test_signs_are_turned():
    got = turn(pa.array(["5", "-5", "+5", "", "0.10"])).to_pylist()
    assert got == ["-5", "5", "-5", "", "-0.10"]
