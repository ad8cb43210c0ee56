import math
from decimal import Decimal

import django

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import numbers

SMALL, NORMAL, BIG = 2**15, 2**31, 2**63

CASES = [
    Case(
        model=numbers.Integer,
        values={
            "small": [1, 0, -1, SMALL - 1, -SMALL, True],
            "normal": [1, 0, -1, NORMAL - 1, -NORMAL],
            "big": [1, 0, -1, BIG - 1, -BIG],
            "positive_small": [1, 0, SMALL - 1],
            "positive": [1, 0, NORMAL - 1],
            "positive_big": [1, 0, BIG - 1],
            "chosen": [1, 2],
        },
    ),
    Case(
        model=numbers.Fraction,
        values={
            "binary": [
                *[1.5, 0.0, 0.1, 1 / 3, 5e-324, -1.7976931348623157e308, 3],
                *[math.inf, -math.inf, math.nan],
            ],
            "price": [
                *map(Decimal, ["1.5", "1.50", "0", "-0.00", "-0.01", "0E-2", "1E+3", "12345678"]),
                *map(Decimal, ["9999999999.99", "-9999999999.99"]),
            ],
            "whole": [Decimal(1), Decimal("-0"), Decimal("9" * 38), Decimal("-1E37")],
            "tiny": [
                Decimal("1E-20"),
                Decimal("0." + "9" * 20),
                Decimal("-1E-4"),
                Decimal("0E-20"),
            ],
            "huge": [
                *map(Decimal, ["1", "10000", "0.0001", "100000000.00001", "-1E+499", "1E-500"]),
                Decimal("9" * 500 + "." + "9" * 500),
            ],
        },
    ),
    Case(
        model=numbers.Coercion,
        values={
            "whole": ["5", 5.0, Decimal(5)],
            "binary": ["1e3", 7, Decimal("0.1")],
            "price": ["12.34", 12, 12.5],
            "day": ["2026-02-03"],
            "moment": ["2026-02-03T04:05:06.000007+05:30", "2026-02-03 04:05Z"],
            "is_true": ["True", "f", 1, 0],
            "text": [5, 1.5, True, Decimal("1.50")],
            "identifier": ["0123456789abcdef0123456789abcdef", 7],
        },
        altered=frozenset(
            {"whole", "binary", "price", "day", "moment", "is_true", "text", "identifier"}
        ),
    ),
]

if django.VERSION >= (6, 1):
    CASES.append(
        Case(
            model=numbers.Unlimited,
            values={
                "amount": [
                    *map(Decimal, ["1", "1.50", "-0.000", "123456789.123456789", "0.00010000"]),
                    *map(Decimal, ["9" * 5000 + ".1", "-1E+131071", "1E-16383"]),
                ]
            },
        )
    )
