import io

import pytest
from django.core.management.base import BaseCommand

from ingest import LoadResult, Reject
from ingest.management.summary import report, table
from ingest.models import Load


def result(**changes):
    facts = {
        "model": "finance.Transaction",
        "table": '"public"."finance_transaction"',
        "source": "rows.csv",
        "inserted": 1234,
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


MORE = "Load with --reject-file FILE to have the refused records in a file."
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
    assert err == [
        "29 \N{MULTIPLICATION SIGN} why",
        "    The first of them: rows.csv, record 1: why",
        MORE,
    ]


def refusal(record, value, reason, column="country"):
    return Reject(
        source="rows.csv",
        record=record,
        column=column,
        field=column,
        value=value,
        reason=reason,
        kind="value",
    )


def test_what_is_refused_often_is_counted():
    rejects = [refusal(number, "Germany", "Value 'Germany' is no choice.") for number in (1, 2, 4)]
    rejects += [
        refusal(number, f"X{number}", f"Value 'X{number}' is no choice.") for number in (5, 6)
    ]
    rejects.append(refusal(3, "x", "Not a number.", column="amount"))
    _, err = reported(1, rejects=rejects)
    times = "\N{MULTIPLICATION SIGN}"
    first = "    The first of them: rows.csv, record"
    assert err == [
        f"3 {times} country: Value 'Germany' is no choice.",
        f"{first} 1, column 'country': 'Germany': Value 'Germany' is no choice.",
        f"2 {times} country: Value … is no choice.",
        f"{first} 5, column 'country': 'X5': Value 'X5' is no choice.",
        "rows.csv, record 3, column 'amount': 'x': Not a number.",
        MORE,
    ]


def test_how_many_more_there_are():
    rejects = [refusal(number, "v", f"Reason {number}.") for number in range(1, 31)]
    _, err = reported(1, rejects=[*rejects, *rejects])
    assert len(err) == 2 * 20 + 2
    assert err[-2] == "… and 20 more rejects, for 10 more reasons."


@pytest.mark.parametrize(
    ("facts", "want"),
    [
        ({"reject_log": "/r/log.jsonl"}, ["All reasons are in /r/log.jsonl, as JSON Lines.", MORE]),
        (
            {"reject_file": "/my files/r.csv"},
            [
                (
                    "The refused records are in /my files/r.csv. Correct them there, and load that "
                    "file: bulk_load finance.Transaction '/my files/r.csv', with the same options "
                    "for reading."
                )
            ],
        ),
        (
            {"is_dry_run": True},
            [
                (
                    "Nothing was loaded. To load all other records and write these to a file, "
                    "replace --dry-run by --reject-file FILE."
                )
            ],
        ),
        (
            {"load": Load(pk=12)},
            [
                (
                    "The admin's page of load 12 lists the refused records (the first 10,000). "
                    "To have all of them in a file, type bulk_load --undo 12, and load again with "
                    "--reject-file FILE."
                )
            ],
        ),
        (
            {"load": Load(pk=12), "decisions": ("Rows: this load cannot be undone, because",)},
            [
                (
                    "The admin's page of load 12 lists the refused records (the first 10,000). "
                    "To have all of them in a file, delete its rows by hand, and load again with "
                    "--reject-file FILE."
                )
            ],
        ),
    ],
)
def test_what_to_type_next(facts, want):
    _, err = reported(1, **facts)
    assert err[2:] == want


def test_a_load_prints_its_number():
    out, _ = reported(0, load=Load(pk=12))
    assert out == ["This is load 12. To delete its rows again: bulk_load --undo 12", *LAST]
    out, _ = reported(0, load=Load(pk=12), inserted=0)
    assert out[0] == "This is load 12, which changed nothing in the table."
    out, _ = reported(0, load=Load(pk=12), decisions=("Rows: this load cannot be undone, because",))
    assert out[0] == "This is load 12. It cannot be undone: -v 2 says why."


def test_a_load_in_another_ledger_than_the_usual_one():
    load = Load(pk=12)
    load._state.db = "other"  # where the same number is another load
    out, _ = reported(0, load=load)
    assert out[0] == (
        "This is load 12. To delete its rows again: bulk_load --undo 12 --database other"
    )


def test_whether_a_load_that_changed_rows_can_be_undone():
    kept = Load(pk=12, options={"how": {"keep_old": True}})
    out, _ = reported(0, load=kept, updated=1)
    assert out[0] == (
        "This is load 12. To delete the rows that it inserted and restore the others: bulk_load "
        "--undo 12"
    )
    out, _ = reported(0, load=Load(pk=12, options={"how": {}}), updated=1)
    assert out[0] == (
        "This is load 12. It cannot be undone, because it changed rows without --keep-old."
    )


def test_what_became_of_rows_that_the_table_had():
    counts = {"inserted": 100, "updated": 50, "unchanged": 40, "deleted": 3}
    out, _ = reported(0, rejected=0, skipped=0, rejects=[], read=190, **counts)
    into = 'into "public"."finance_transaction" in 2.00 s (75 rows/s)'
    assert out == [
        f"Loaded 150 rows {into}: 100 inserted, 50 updated, 40 unchanged, 3 deleted.",
    ]
    out, _ = reported(1, read=196, **counts)
    assert out[:5] == [
        "rows                   150",
        "  inserted             100",
        "  updated               50",
        "  unchanged             40",
        "  deleted                3",
    ]
    assert out[-2] == (
        "Read 196 records = 100 inserted + 50 updated + 40 unchanged + 4 rejected + 2 skipped."
    )
    out, _ = reported(0, rejected=0, skipped=0, rejects=[], read=1, inserted=0, ignored=1)
    assert out[-1].endswith(
        'Loaded 0 rows into "public"."finance_transaction" in 2.00 s (0 rows/s): 1 ignored.'
    )
    told = result(**counts)
    assert str(told) == (
        'Loaded 150 rows of rows.csv into "public"."finance_transaction", 100 inserted, '
        "50 updated, 40 unchanged, 3 deleted, 4 rejected"
    )
    assert (told.as_dict()["rows"], told.as_dict()["updated"]) == (150, 50)


def test_without_stages_there_is_no_table():
    out, _ = reported(1, stages={}, rejected=0, skipped=0, is_dry_run=True)
    assert out == [
        'Would have loaded 1,234 rows into "public"."finance_transaction" in 2.00 s (617 rows/s).'
    ]
