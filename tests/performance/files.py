"""Many small files: whether ten times as many take ten times as long."""

from finance.models import Transaction
from ingest import load
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain

RECORDS = 10
"""Records of each file."""
FOLDERS = 10
ALL, TENTH = "files/*/*.csv", "files/0/*.csv"


def write_files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    for number in range(FOLDERS):
        (folder / f"files/{number}").mkdir(parents=True)
    with (folder / "plain.csv").open("rb") as file:
        header = next(file)
        for number in range(rows // RECORDS):
            lines = [next(file) for _ in range(RECORDS)]
            path = folder / f"files/{number % FOLDERS}/{number:07}.csv"
            path.write_bytes(header + b"".join(lines))


def load_files(pattern, **who):
    return lambda trial: load(Transaction, trial.path(pattern), **who)


FIGURE = Figure(
    about=f"Files of {RECORDS} records each.",
    rows=1_000_000,
    repeat=1,
    files=write_files,
    variants={
        "a tenth of the files": load_files(TENTH),
        "all files": load_files(ALL),
        "a tenth, 2 workers": load_files(TENTH, resumable=True, workers=2),
        "all, 2 workers": load_files(ALL, resumable=True, workers=2),
    },
    ratios=[
        Ratio(of="all files", to="a tenth of the files", goal=11),
        Ratio(of="all, 2 workers", to="a tenth, 2 workers", goal=11),
    ],
    note="One process loads in one transaction, two workers in chunks of many files.",
)
