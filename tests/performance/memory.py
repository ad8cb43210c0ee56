"""The peak of a process that loads ten times the records."""

from tests.performance.harness import Figure, Ratio
from tests.performance.rows import LAYOUT, records, write_bad, write_plain

REJECT = {"layout": LAYOUT, "on_error": "reject"}


def write_files(folder, rows):
    for name, count in (("all", rows), ("tenth", rows // 10)):
        write_plain(folder / f"{name}.csv", count)
        write_bad(folder / f"{name}-bad.csv", count)


FIGURE = Figure(
    about="All records, and a tenth of them.",
    rows=10_000_000,
    repeat=1,
    files=write_files,
    variants={
        "tenth": lambda trial: trial.load("tenth.csv"),
        "all": lambda trial: trial.load("all.csv"),
        "tenth, bad": lambda trial: trial.load("tenth-bad.csv", **REJECT),
        "all, bad": lambda trial: trial.load("all-bad.csv", **REJECT),
        "tenth, dicts": lambda trial: trial.load(records(trial.rows // 10)),
        "all, dicts": lambda trial: trial.load(records(trial.rows)),
    },
    ratios=[
        Ratio(of=f"all{kind}", to=f"tenth{kind}", goal=1.1, measure="memory")
        for kind in ("", ", bad", ", dicts")
    ],
    limits={"memory": 300},
)
