"""Rows from Python by load(), and by asyncpg's copy_records_to_table of the same rows."""

import asyncio
import dataclasses
import datetime as dt
import json

from finance.models import Transaction
from ingest import load
from ingest.postgres.connection import connect
from tests.performance.customer import fill_segments
from tests.performance.customers.models import Customer
from tests.performance.customers.rows import COLUMNS, SEGMENTS, customers
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import COLUMNS as FINANCE_COLUMNS
from tests.performance.rows import records

SEGMENT_KEYS = {code: key for key, code in enumerate(SEGMENTS, 1)}
MODELS = {"finance": Transaction, "customer": Customer}
NAMES = {
    "finance": ["user_id", "account_id", *FINANCE_COLUMNS[2:]],
    "customer": [*COLUMNS[:-1], "segment_id"],
}
KINDS = ("dicts", "tuples", "dataclasses", "instances")
_made = {}


def _dicts(model, rows):
    """Make the rows, with the keys of their parents."""
    if model == "finance":
        return [dict(zip(NAMES[model], row.values(), strict=True)) for row in records(rows)]
    made = []
    for row in customers(rows):
        row["segment_id"] = SEGMENT_KEYS[row.pop("segment")]
        made.append(row)
    return made


def _make(model, kind):
    """Return what makes the rows before the time is taken: their making is nobody's cost."""
    record = dataclasses.make_dataclass("Row", NAMES[model])
    makers = {
        "dicts": dict,
        "tuples": lambda **row: tuple(row.values()),
        "dataclasses": record,
        "instances": MODELS[model],
    }

    def prepare(trial):
        make = makers[kind]
        _made["rows"] = [make(**row) for row in _dicts(model, trial.rows)]

    return prepare


def _load(model, kind):
    options = {"columns": NAMES[model]} if kind == "tuples" else {}
    return lambda _: load(MODELS[model], iter(_made["rows"]), **options)


def _make_for_copy(model):
    """Return what makes the tuples that asyncpg takes, all of what the column needs done."""

    def prepare(trial):
        now = dt.datetime.now(dt.UTC)
        _made["rows"] = [
            tuple(row.values()) + ((now,) if model == "finance" else ())
            for row in _dicts(model, trial.rows)
        ]

    return prepare


def _copy(model):
    names = [*NAMES[model], *(("created_at",) if model == "finance" else ())]

    async def copy():
        connection = await connect("default")
        try:
            if model == "customer":
                await connection.set_type_codec(
                    "jsonb",
                    schema="pg_catalog",
                    encoder=lambda value: b"\x01" + json.dumps(value).encode(),
                    decoder=bytes,
                    format="binary",
                )
            return await connection.copy_records_to_table(
                MODELS[model]._meta.db_table, columns=names, records=iter(_made["rows"])
            )
        finally:
            await connection.close()

    return lambda _: int(asyncio.run(copy()).removeprefix("COPY "))


FIGURE = Figure(
    about="Rows from Python, made before the time is taken, into the table with its constraints.",
    rows=100_000,
    repeat=5,
    files=lambda _folder, _rows: None,
    tables="finance_transaction, customers_customer",
    fill=fill_segments,
    variants={
        **{f"{model}, {kind}": _load(model, kind) for model in MODELS for kind in KINDS},
        **{f"{model}, asyncpg": _copy(model) for model in MODELS},
    },
    prepare={
        **{f"{model}, {kind}": _make(model, kind) for model in MODELS for kind in KINDS},
        **{f"{model}, asyncpg": _make_for_copy(model) for model in MODELS},
    },
    ratios=[
        Ratio(of=f"{model}, {kind}", to=f"{model}, asyncpg", goal=1.0, measure=measure)
        for measure in ("seconds", "CPU a row")
        for model in MODELS
        for kind in KINDS
    ],
    note="asyncpg validates nothing; it encodes JSON by json.dumps.",
)
