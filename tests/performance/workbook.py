"""The same rows from a workbook and from CSV: at most four times the time, under 400 MB."""

from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain, write_workbook


def write_files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_workbook(folder / "rows.xlsx", rows)


FIGURE = Figure(
    about="The same rows from a workbook and from CSV.",
    rows=100_000,
    files=write_files,
    variants={
        "delimited": lambda trial: trial.load("plain.csv"),
        "workbook": lambda trial: trial.load("rows.xlsx"),
    },
    ratios=[Ratio(of="workbook", to="delimited", goal=4)],
    limits={"memory": 400},
)
