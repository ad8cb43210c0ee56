"""Counts in texts."""

import pytest

from ingest.plurals import counted


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ((0, "row"), "0 rows"),
        ((1, "row"), "1 row"),
        ((1_000, "row"), "1,000 rows"),
        ((1, "record was", "records were"), "1 record was"),
        ((2, "record was", "records were"), "2 records were"),
    ],
)
def test_counted(arguments, want):
    assert counted(*arguments) == want
