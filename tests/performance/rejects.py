"""A file with one bad record in a hundred, against the same file without."""

from tests.performance.harness import Figure, Ratio
from tests.performance.rows import BAD_KINDS, LAYOUT, write_bad, write_layout, write_repeated

REJECT = {"layout": LAYOUT, "on_error": "reject"}


def write_files(folder, rows):
    write_layout(folder / "clean.csv", rows)
    write_bad(folder / "bad.csv", rows)
    write_repeated(folder / "repeated.csv", rows)


FIGURE = Figure(
    about="One bad record in a hundred.",
    rows=1_000_000,
    files=write_files,
    variants={
        "clean": lambda trial: trial.load("clean.csv", layout=LAYOUT),
        "clean, reject": lambda trial: trial.load("clean.csv", **REJECT),
        "bad": lambda trial: trial.load("bad.csv", **REJECT),
        "repeated": lambda trial: trial.load("repeated.csv", **REJECT),
        "clean, reject, copy": lambda trial: trial.load("clean.csv", **REJECT, method="copy"),
        "bad, copy": lambda trial: trial.load("bad.csv", **REJECT, method="copy"),
    },
    ratios=[
        Ratio(of="bad", to="clean", goal=1.5),
        Ratio(of="bad", to="clean, reject", goal=1.5),
        Ratio(of="repeated", to="clean", goal=2),
        Ratio(of="repeated", to="clean, reject", goal=2),
        Ratio(of="clean, reject", to="clean"),
        Ratio(of="bad, copy", to="clean, reject, copy", goal=1.5),
    ],
    note=f"Bad records: {', '.join(BAD_KINDS)}. 'repeated' has unique violations only.",
)
