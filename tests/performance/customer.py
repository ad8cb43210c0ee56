r"""A model as people have it, by load(), by bulk_create() and by psql's \copy."""

import csv
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

from django.db import transaction

from ingest import load
from ingest.benchmark.psql import Psql, find_psql
from tests.performance.customers.models import Customer, Segment
from tests.performance.customers.rows import COLUMNS, SEGMENTS, write_copy_file, write_file
from tests.performance.harness import Figure, Ratio


def write_files(folder, rows):
    write_file(folder / "customers.csv", rows)
    write_copy_file(folder / "copy.csv", rows)


def fill_segments():
    Segment.objects.bulk_create(Segment(code=code) for code in SEGMENTS)


def load_file(trial, **options):
    return load(Customer, trial.path("customers.csv"), **options)


def bulk_create(trial):
    """Do it as a script would that checks nothing."""
    segments = {segment.code: segment.pk for segment in Segment.objects.all()}

    def made():
        for row in rows:
            number, name, email, website, country, is_active, balance, *rest = row
            attributes, tags, created_at, segment = rest
            yield Customer(
                number=number,
                name=name,
                email=email,
                website=website,
                country=country,
                is_active=is_active == "True",
                balance=Decimal(balance),
                attributes=json.loads(attributes),
                tags=json.loads(tags),
                created_at=dt.datetime.fromisoformat(created_at),
                segment_id=segments[segment],
            )

    with Path(trial.path("customers.csv")).open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        with transaction.atomic():
            Customer.objects.bulk_create(made(), batch_size=5_000)
    return Customer.objects.count()


def load_without_analyze(trial):
    return load_file(trial, analyze=False)


def copy_file(trial, *after):
    names = ", ".join(Customer._meta.get_field(name).column for name in COLUMNS)
    command = (
        f"\\copy customers_customer ({names}) from 'copy.csv' "
        "with (format csv, header true, force_not_null (website))"
    )
    Psql(find_psql("default", None), "default").seconds([command, *after], trial.folder)
    return Customer.objects.count()


def copy_file_and_analyze(trial):
    return copy_file(trial, "ANALYZE customers_customer")


FIGURE = Figure(
    about="Customers with e-mail addresses, a pattern, choices, JSON and tags.",
    rows=100_000,
    repeat=5,
    files=write_files,
    tables="customers_customer",
    fill=fill_segments,
    variants={
        "direct": load_file,
        "bulk_create": bulk_create,
        "psql copy": copy_file,
        "direct, no ANALYZE": load_without_analyze,
        "psql copy, ANALYZE": copy_file_and_analyze,
    },
    ratios=[
        Ratio(of="direct", to="bulk_create", goal=1 / 6),
        Ratio(of="direct", to="psql copy", goal=1 / 3),
        Ratio(of="direct", to="psql copy, ANALYZE"),
        Ratio(of="direct, no ANALYZE", to="psql copy"),
    ],
    limits_of={("direct", "CPU a row"): 5.0},
    note="psql's file has the same rows as COPY takes them: arrays as {…}, segments by their keys.",
)
