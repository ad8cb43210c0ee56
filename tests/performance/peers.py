"""Others on the same file and the same table, and what they make of a bad one.

django-import-export and django-postgres-copy are not in requirements.txt: install them with pip
beforehand. pgloader is a program of its own. What is not there is said to be absent.
"""

import csv
import dataclasses
import datetime as dt
import importlib.util
import shutil
import subprocess
from decimal import Decimal
from functools import partial
from pathlib import Path

from django.db import connection, transaction

from finance.models import Transaction
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import BAD_KINDS, COLUMNS, write_plain, write_plain_bad

NOW = "2026-01-01T00:00:00Z"
"""What `auto_now_add` is to be for those that cannot know it."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a peer did."""

    rows: int
    said: str
    rejected: int = 0


def write_files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_plain_bad(folder / "bad.csv", rows)


def bulk_create(trial, name):
    """Do it as a script would that checks nothing."""

    def made():
        for user, account, amount, description, day, reference in rows:
            yield Transaction(
                user_id=int(user),
                account_id=int(account),
                amount=Decimal(amount),
                description=description,
                tx_date=dt.date.fromisoformat(day),
                reference=reference,
            )

    with Path(trial.path(name)).open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        try:
            with transaction.atomic():
                Transaction.objects.bulk_create(made(), batch_size=5_000)
        except Exception as error:  # noqa: BLE001 - whatever it says is the outcome
            return Outcome(0, f"{type(error).__name__}: {error}".partition("\n")[0])
    return Outcome(Transaction.objects.count(), "")


def import_export(trial, name):
    if importlib.util.find_spec("import_export") is None:
        return Outcome(0, "absent: pip install django-import-export")
    import tablib
    from import_export import resources

    class Resource(resources.ModelResource):
        class Meta:
            model = Transaction
            fields = COLUMNS
            import_id_fields = ("reference",)
            force_init_instance = True  # without a SELECT for each row
            skip_diff = use_bulk = True

    with Path(trial.path(name)).open(encoding="utf-8", errors="replace") as file:
        data = tablib.Dataset().load(file, format="csv")
    result = Resource().import_data(data, use_transactions=True)
    errors = [*result.base_errors, *(error for _, row in result.row_errors() for error in row)]
    said = f"{len(result.invalid_rows):,} rows invalid, {len(errors):,} errors"
    if errors:
        said += f"; the first: {errors[0].error!r}"
    return Outcome(Transaction.objects.count(), said, len(result.invalid_rows))


def postgres_copy(trial, name):
    if importlib.util.find_spec("postgres_copy") is None:
        return Outcome(0, "absent: pip install django-postgres-copy")
    from postgres_copy import CopyManager

    manager = CopyManager()
    manager.model = Transaction
    try:
        mapping = {column: column for column in COLUMNS}
        manager.from_csv(trial.path(name), mapping, static_mapping={"created_at": NOW})
    except Exception as error:  # noqa: BLE001 - whatever it says is the outcome
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
    else:
        said = ""
    return Outcome(Transaction.objects.count(), f"{said} {_lost_constraints()}".strip())


def pgloader(trial, name, options=""):
    program = shutil.which("pgloader")
    if program is None:
        return Outcome(0, "absent: it is no program here")
    parameters = connection.get_connection_params()
    fields = ", ".join(
        f"{column}_id" if column in ("user", "account") else column for column in COLUMNS
    )
    command = Path(trial.path(f"{name}.load"))
    command.write_text(
        f"LOAD CSV FROM '{trial.path(name)}' ({fields}) "
        f"INTO postgresql://{parameters['user']}@unix:{parameters['host']}:{parameters['port']}"
        f"/{parameters['dbname']}?public.finance_transaction ({fields}) "
        f"WITH skip header = 1, fields terminated by ',', batch rows = 25000{options} "
        "BEFORE LOAD DO $$ ALTER TABLE finance_transaction ALTER created_at SET DEFAULT now() $$ "
        "AFTER LOAD DO $$ ALTER TABLE finance_transaction ALTER created_at DROP DEFAULT $$;"
    )
    done = subprocess.run([program, command], check=False, capture_output=True, text=True)
    said = done.stdout.strip().splitlines()
    return Outcome(Transaction.objects.count(), said[-1] if said else f"exit {done.returncode}")


def _lost_constraints():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'finance_transaction'::regclass "
            "AND contype = 'f'"
        )
        [foreign_keys] = cursor.fetchone()
        cursor.execute(
            "SELECT count(*) FROM pg_index WHERE indrelid = 'finance_transaction'::regclass"
        )
        [indexes] = cursor.fetchone()
    return f"(afterwards the table has {foreign_keys} foreign keys of 2 and {indexes} indexes of 5)"


PEERS = {
    "bulk_create": bulk_create,
    "django-import-export": import_export,
    "django-postgres-copy": postgres_copy,
    "pgloader": pgloader,
    "pgloader, drop indexes": partial(pgloader, options=", drop indexes"),
}
FIGURE = Figure(
    about="The same file and table with others.",
    rows=20_000,
    repeat=1,
    files=write_files,
    harms_tables=True,
    variants={
        "ingest": lambda trial: trial.load("plain.csv"),
        **{name: lambda trial, way=way: way(trial, "plain.csv") for name, way in PEERS.items()},
        "ingest, bad": lambda trial: trial.load("bad.csv", on_error="reject"),
        **{
            f"{name}, bad": lambda trial, way=way: way(trial, "bad.csv")
            for name, way in PEERS.items()
        },
    },
    ratios=[Ratio(of=name, to="ingest") for name in PEERS],
    note=f"Bad records: one in a hundred, {', '.join(BAD_KINDS)}.",
)
