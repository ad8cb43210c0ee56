import io

import pytest
from django.core.management.base import BaseCommand

from ingest import LoadResult, Reject
from ingest.management.summary import report, table


def result(**changes):
    facts = {
        "model": "finance.Transaction",
        "table": '"public"."finance_transaction"',
        "source": "rows.csv",
        "rows": 1234,
        "read": 1240,
        "rejected": 4,
        "skipped": 2,
        "rejects": [
            Reject(
                source="rows.csv",
                record=number,
                column=None,
                field=None,
                value=None,
                reason="why",
                kind="parse",
            )
            for number in range(1, 30)
        ],
        "is_dry_run": False,
        "seconds": 2.0,
        "stages": {"encode": 0.25, "look up references": 1.5},
        "method": "direct",
        "driver": "asyncpg",
        "decisions": ("Because.",),
    }
    return LoadResult(**{**facts, **changes})


def reported(verbosity, **changes):
    out, err = io.StringIO(), io.StringIO()
    report(BaseCommand(stdout=out, stderr=err), result(**changes), verbosity=verbosity)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def test_the_table():
    assert list(table(result())) == [
        "rows                  1,234",
        "rejected                  4",
        "skipped                   2",
        "rows/s                  617",
        "seconds                2.00",
        "  encode               0.25",
        "  look up references   1.50",
    ]


LAST = [
    "Read 1,240 records = 1,234 loaded + 4 rejected + 2 skipped.",
    'Loaded 1,234 rows into "public"."finance_transaction" in 2.00 s (617 rows/s).',
]


@pytest.mark.parametrize(
    ("verbosity", "want"),
    [
        (0, LAST),
        (1, [*table(result()), *LAST]),
        (2, ["Because.", *table(result()), *LAST]),
    ],
)
def test_what_is_said(verbosity, want):
    out, err = reported(verbosity)
    assert out == want
    assert len(err) == 20
    assert err[0] == "rows.csv, record 1: why"


def test_without_stages_there_is_no_table():
    out, _ = reported(1, stages={}, rejected=0, skipped=0, is_dry_run=True)
    assert out == [
        'Would have loaded 1,234 rows into "public"."finance_transaction" in 2.00 s (617 rows/s).'
    ]
