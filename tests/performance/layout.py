"""A file through a layout, against the plain load of the same rows."""

from tests.performance.harness import Figure, Ratio
from tests.performance.rows import LAYOUT, write_layout, write_plain


def write_files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_layout(folder / "layout.csv", rows)


FIGURE = Figure(
    about="Decimal comma, %d.%m.%Y and account numbers through a layout.",
    rows=1_000_000,
    repeat=5,
    files=write_files,
    variants={
        "plain": lambda trial: trial.load("plain.csv"),
        "layout": lambda trial: trial.load("layout.csv", layout=LAYOUT),
        "plain, copy": lambda trial: trial.load("plain.csv", method="copy"),
        "layout, copy": lambda trial: trial.load("layout.csv", layout=LAYOUT, method="copy"),
    },
    ratios=[
        Ratio(of="layout", to="plain", goal=1.3),
        Ratio(of="layout, copy", to="plain, copy", goal=1.3),
    ],
)
