"""What it costs to keep the old values of rows that an upsert changes, and what the undo takes."""

from django.db import connection

from finance.models import Transaction
from ingest import load
from ingest.ledger.undo import undo
from ingest.models import Load
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import write_plain

OPTIONS = {"on_conflict": "upsert", "key": ["account", "reference"]}


def files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_plain(folder / "half.csv", rows // 2)


def fill(trial):
    """Put in half of the rows, each with another amount than the file has."""
    load(Transaction, trial.path("half.csv"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE finance_transaction SET amount = amount + 1")
        cursor.execute("VACUUM FULL ANALYZE finance_transaction")


def change(trial):
    fill(trial)
    trial.load("plain.csv", keep_old=True, **OPTIONS)


def take_back(_):
    """Undo the load; give the rows that were restored or deleted."""
    done = undo(Load.objects.latest("pk").pk)
    return done.deleted + done.restored


FIGURE = Figure(
    about="An upsert, half of whose records change a row and half of which are new.",
    rows=200_000,
    repeat=5,
    files=files,
    variants={
        "upsert": lambda trial: trial.load("plain.csv", **OPTIONS),
        "old values kept": lambda trial: trial.load("plain.csv", keep_old=True, **OPTIONS),
        "undo": take_back,
    },
    prepare={"upsert": fill, "old values kept": fill, "undo": change},
    ratios=[
        Ratio(of="old values kept", to="upsert", goal=1.3),
        Ratio(of="undo", to="upsert"),
    ],
)
