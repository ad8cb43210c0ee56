from decimal import Decimal

import pytest

from tests.writing.conflicts.tables import ask, upsert

RECORDS = [
    {"number": "a1", "amount": "1.0", "note": "one"},
    {"number": "a2", "amount": "2", "note": "two"},
    {"number": "a3", "amount": "3", "note": "three"},
]


def rows():
    return ask("SELECT number, amount, note FROM item ORDER BY number")


A1, A2, A3 = ("a1", Decimal(1), "one"), ("a2", Decimal(2), "two"), ("a3", Decimal(3), "three")


@pytest.mark.parametrize(
    ("mode", "options", "want", "left"),
    [
        ("upsert", {}, {"inserted": 1, "updated": 1, "unchanged": 1}, [A1, A2, A3]),
        ("ignore", {}, {"inserted": 1, "ignored": 2}, [A1, ("a2", Decimal(2), None), A3]),
        (
            "update",
            {"on_error": "reject"},
            {"updated": 1, "unchanged": 1, "rejected": 1},
            [A1, A2],
        ),
    ],
)
def test_each_mode_settles_records_whose_key_exists(item, mode, options, want, left):
    got = upsert(item, RECORDS, on_conflict=mode, **options)
    assert got == want
    assert rows() == left
