"""Ten times the rows, against ten times the seconds."""

from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain


def write_files(folder, rows):
    write_plain(folder / "all.csv", rows)
    write_plain(folder / "tenth.csv", rows // 10)


FIGURE = Figure(
    about="All records, and a tenth of them.",
    rows=10_000_000,
    files=write_files,
    variants={
        "tenth": lambda trial: trial.load("tenth.csv"),
        "all": lambda trial: trial.load("all.csv"),
    },
    ratios=[Ratio(of="all", to="tenth", goal=11)],
)
