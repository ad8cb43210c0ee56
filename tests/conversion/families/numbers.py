from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import django
import pyarrow as pa
from django.core import validators
from django.db import models
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional

BORDERS = [
    end + step
    for bits in (15, 16, 31, 32, 63, 64)
    for end in (-(2**bits), 0, 2**bits)
    for step in (-1, 0, 1)
]
TEXTS = [
    *map(str, BORDERS),
    *(
        "+5",
        " 5",
        "5 ",
        "\t5",
        "5\n",
        "5\u00a0",
        "\uff11\uff12",
        "\uff11\uff12.\uff15",
        "1_000",
        "_1",
        "1__0",
    ),
    *("0x10", "0X1F", "-0x10", "0b1", "0o7", "1e3", "1E+3", "1e-2", "1e400", "1e-400", "e1"),
    *("-0", "-0.0", "-0.00", "+0", "007", "-007", "0.5", ".5", "5.", "-.5", "--5", "- 5", "5-"),
    *("NaN", "nan", "-nan", "sNaN", "Infinity", "-Infinity", "inf", "1,5", "1.230", "1.23"),
    *("1.2345", "12.34", "123.45", "1234.5", "999.99", "1000", "1000.00", "99", "100", "0.99"),
    *("0.1", "0.01", "0.001", "0.123456789012345678901234567890", "9" * 38, "9" * 39, "1" * 18),
    *("1" * 19, "0" * 40 + "5", "1.0", "1.00", "2", "3", "-3", "10", "11", "½", "²", "٣"),
    *("1.7976931348623157e308", "4.9e-324", "2.2250738585072011e-308", "9007199254740993"),
]
VALUES = [
    *BORDERS,
    *(0.0, -0.0, 1.5, 2.0, 1e22, 1e400, -1e400, float("nan"), 0.1, 1e-320, 123.45, 999.995),
    *(True, False, 10**30, -(10**400), 1j, Fraction(1, 2), IntEnum("Level", "LOW").LOW),
    *(Decimal(text) for text in ("1", "-0.00", "1.230", "1.23", "999.99", "1000", "1E+3", "1E+2")),
    *(Decimal(text) for text in ("NaN", "sNaN", "Infinity", "1E-7", "0", "0E+3", "0E-9", "0.01")),
    *(Decimal("9" * 38), Decimal("9" * 39), Decimal("1." + "0" * 40)),
]
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
FRACTIONS = [
    *(pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal128(5, 2), pa.decimal128(38, 9), pa.decimal128(2, 2), pa.decimal256(60, 3)),
    *(pa.decimal128(38, 0), pa.decimal128(5, 0)),
]
EVERY_NUMBER = [*INTEGERS, *FRACTIONS]
number_text = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.floats().map(repr),
    st.from_regex(r"[-+ ]?[0-9_]{1,5}(\.[0-9]{0,4})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
)
number = st.one_of(st.integers(-(2**65), 2**65), st.floats(), st.decimals())


def numbers(name, fields, arrow_types):
    Family(
        name=name,
        fields=fields,
        texts=TEXTS,
        values=VALUES,
        text=number_text,
        value=number,
        arrow_types=arrow_types,
    )


def even(value):
    if value % 2:
        raise validators.ValidationError("%(value)s is not even.", params={"value": value})


class Kind(models.IntegerChoices):
    ONE = 1
    TEN = 10


numbers(
    "integer",
    {
        **optional(models.IntegerField),
        "choices": models.IntegerField(choices=Kind.choices),
        "grouped choices": models.IntegerField(
            choices=[("low", [(1, "one"), (2, "two")]), (None, "none")], null=True, blank=True
        ),
        "choices of text": models.IntegerField(choices=[("1", "one"), (2, "two")]),
        "limits": models.IntegerField(
            validators=[validators.MinValueValidator(-3), validators.MaxValueValidator(10)]
        ),
        "limit of another type": models.IntegerField(
            validators=[validators.MaxValueValidator(10.5)]
        ),
        "called limit": models.IntegerField(validators=[validators.MaxValueValidator(lambda: 10)]),
        "step": models.IntegerField(validators=[validators.StepValueValidator(5)]),
        "custom validator": models.IntegerField(validators=[even]),
    },
    EVERY_NUMBER,
)
numbers(
    "sized integer",
    {
        "small": models.SmallIntegerField(),
        "big": models.BigIntegerField(),
        "positive small": models.PositiveSmallIntegerField(),
        "positive": models.PositiveIntegerField(),
        "positive big": models.PositiveBigIntegerField(null=True, blank=True),
    },
    INTEGERS,
)
numbers(
    "automatic key",
    {
        "small": models.SmallAutoField(primary_key=True),
        "normal": models.AutoField(primary_key=True),
        "big": models.BigAutoField(primary_key=True),
    },
    INTEGERS,
)
decimals = {
    **optional(models.DecimalField, max_digits=5, decimal_places=2),
    "only places": models.DecimalField(max_digits=2, decimal_places=2),
    "no places": models.DecimalField(max_digits=4, decimal_places=0),
    "longest": models.DecimalField(max_digits=38, decimal_places=9),
    "longer": models.DecimalField(max_digits=50, decimal_places=20, null=True),
    "limits": models.DecimalField(
        max_digits=5,
        decimal_places=2,
        validators=[
            validators.MinValueValidator(Decimal("0.01")),
            validators.MaxValueValidator(100),
        ],
    ),
    "limit of more places": models.DecimalField(
        max_digits=5, decimal_places=2, validators=[validators.MaxValueValidator(Decimal("1.2345"))]
    ),
    "choices": models.DecimalField(
        max_digits=5, decimal_places=2, choices=[(Decimal("1.23"), "a"), (2, "b")]
    ),
}
if django.VERSION >= (6, 1):
    decimals["unlimited"] = models.DecimalField(null=True, blank=True)
numbers("decimal", decimals, EVERY_NUMBER)
numbers(
    "float",
    {
        **optional(models.FloatField),
        "limits": models.FloatField(
            validators=[validators.MinValueValidator(-0.0), validators.MaxValueValidator(0.1)]
        ),
        "whole limits": models.FloatField(
            validators=[
                validators.MinValueValidator(-3),
                validators.MaxValueValidator(9007199254740993),
            ]
        ),
        "choices": models.FloatField(choices=[(0.5, "half"), (1, "one")]),
    },
    EVERY_NUMBER,
)
Family(
    name="boolean",
    fields={
        **optional(models.BooleanField),
        "choices": models.BooleanField(choices=[(True, "yes")]),
    },
    texts=[
        *("t", "f", "True", "False", "1", "0", "true", "false", "TRUE", "yes", "no", "on", "T"),
        *("1.0", "0.0", " True", "True ", "None", "NULL", "unknown", "y", "n", "\uff12"),
    ],
    values=[True, False, 1, 0, 1.0, 0.0, 2, -1, Decimal(1), Decimal("0.00"), float("nan"), "t"],
    arrow_types=[pa.bool_(), pa.int8(), pa.float64(), pa.string()],
)
