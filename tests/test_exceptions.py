"""What an error says about the rows in the table."""

import pickle

import pytest

from ingest import (
    ConnectionFailed,
    CountMismatch,
    LayoutError,
    LoadCancelled,
    Outcome,
    RecordsRefused,
    Reject,
)
from ingest.exceptions import SEE_ALL

REJECT = Reject(
    source="rows.csv",
    record=2,
    column="amount",
    field="amount",
    value="x",
    reason="Enter a number.",
    kind="value",
)
REFUSED = "rows.csv, record 2, column 'amount': 'x': Enter a number."


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (LayoutError("No column fits."), "No column fits."),
        (CountMismatch("2 is not 3."), "2 is not 3. Nothing was loaded."),
        (LoadCancelled(), "The load was cancelled, as somebody asked. Nothing was loaded."),
        (RecordsRefused([REJECT]), f"{REFUSED}\nNothing was loaded.\n{SEE_ALL}"),
    ],
)
def test_an_error_says_that_nothing_was_loaded(error, want):
    assert (str(error), error.outcome) == (want, Outcome.NOTHING)


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (LayoutError("No column fits."), "No column fits. 4 rows are in."),
        (CountMismatch("2 is not 3."), "2 is not 3. 4 rows are in."),
        (RecordsRefused([REJECT]), f"{REFUSED}\n4 rows are in.\n{SEE_ALL}"),
        # Words in a value must not be taken for an outcome.
        (
            ConnectionFailed("'Nothing was loaded.' is refused."),
            "'Nothing was loaded.' is refused. 4 rows are in.",
        ),
    ],
)
def test_the_message_is_made_from_the_outcome_also_in_another_process(error, want):
    error.with_outcome(Outcome.CHUNKS, "4 rows are in.")
    for got in (error, pickle.loads(pickle.dumps(error))):
        assert (str(got), got.outcome) == (want, Outcome.CHUNKS)
