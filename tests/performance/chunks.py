"""What a chunk costs beside its rows: as many chunks as records, against one chunk."""

from finance.models import Transaction
from ingest import load
from tests.performance import dask
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain

MILLISECONDS = 15
"""What a chunk is to take at most."""
CHUNKS = 1_000


def in_chunks(rows, trial, **who):
    """Load in chunks of so many rows; None: in one."""
    path = trial.path("plain.csv")
    return load(Transaction, path, resumable=True, chunk_rows=rows or trial.rows, **who)


FIGURE = Figure(
    about="One chunk, and a chunk for every record.",
    rows=CHUNKS,
    files=lambda folder, rows: write_plain(folder / "plain.csv", rows),
    variants={
        "1 chunk": lambda trial: in_chunks(None, trial),
        "1 worker": lambda trial: in_chunks(1, trial),
        "2 workers": lambda trial: in_chunks(1, trial, workers=2),
        "2 workers, any order": lambda trial: in_chunks(1, trial, workers=2, order="any"),
        "Dask": lambda trial: in_chunks(1, trial, scheduler=dask.scheduler()),
    },
    prepare={"Dask": dask.start},
    ratios=[Ratio(of="1 worker", to="1 chunk")],
    limits={"seconds": CHUNKS * MILLISECONDS / 1000},
    note="Of 1,000 chunks the seconds are the milliseconds of a chunk, with the start of the "
    "load and its workers.",
)
