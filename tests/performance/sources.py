"""The same rows from other sources; a generator of dicts against asyncpg's own way."""

import asyncio
import datetime as dt

from ingest.postgres.connection import connect
from tests.performance.harness import Figure, Ratio
from tests.performance.rows import COLUMNS, records, write_json_lines, write_parquet, write_plain


def write_files(folder, rows):
    write_plain(folder / "plain.csv", rows)
    write_json_lines(folder / "rows.jsonl", rows)
    write_parquet(folder / "rows.parquet", rows)


def copy_records(trial):
    """Do what somebody would do who has asyncpg only."""
    return asyncio.run(_copy_records(trial.rows))


async def _copy_records(rows):
    now = dt.datetime.now(dt.UTC)
    names = {"user": "user_id", "account": "account_id"}
    connection = await connect("default")
    try:
        status = await connection.copy_records_to_table(
            "finance_transaction",
            columns=[*(names.get(name, name) for name in COLUMNS), "created_at"],
            records=((*record.values(), now) for record in records(rows)),
        )
    finally:
        await connection.close()
    return int(status.removeprefix("COPY "))


FIGURE = Figure(
    about="The same rows from each kind of source.",
    rows=1_000_000,
    files=write_files,
    variants={
        "delimited": lambda trial: trial.load("plain.csv"),
        "JSON Lines": lambda trial: trial.load("rows.jsonl"),
        "Parquet": lambda trial: trial.load("rows.parquet"),
        "dicts": lambda trial: trial.load(records(trial.rows)),
        "dicts, copy": lambda trial: trial.load(records(trial.rows), method="copy"),
        "copy_records_to_table": copy_records,
    },
    ratios=[
        Ratio(of="JSON Lines", to="delimited"),
        Ratio(of="Parquet", to="delimited"),
        Ratio(of="dicts", to="copy_records_to_table", goal=1.2),
        Ratio(of="dicts, copy", to="copy_records_to_table", goal=1.2),
    ],
)
