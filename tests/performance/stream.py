"""A stream of files of several formats, some records refused: the same whoever loads them."""

import csv
import gzip
import hashlib
import io
import json
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
from django.db import connection

from ingest import load
from tests.performance import dask
from tests.performance.customer import fill_segments
from tests.performance.customers.models import Customer
from tests.performance.customers.rows import HEADER, customers
from tests.performance.harness import Figure, Ratio

FILES = 200
CHUNKS_OF_FILE = 2
"""Of files that can be cut."""
BAD = {2: ("email", "nobody"), 3: ("segment", "none"), 4: ("country", "XX")}
"""What the fields refuse of each file, by the record's place in it."""
REPEATED = 6
"""The place of a record that PostgreSQL refuses: it has the key of the one before."""
CHECKSUM = """
SELECT count(*), sum(pg_catalog.hashtextextended(ROW({columns})::text, 0)::numeric)
FROM customers_customer
"""


def write_files(folder, rows, files=FILES):
    """Write files of as many records each, by turns as CSV (gzip), JSON Lines and Parquet."""
    (folder / "stream").mkdir()
    every, size = customers(rows), rows // files
    for number in range(files):
        records = [_as_written(record) for record in islice(every, size)]
        for place, (name, value) in BAD.items():
            records[place][name] = value
        records[REPEATED]["number"] = records[REPEATED - 1]["number"]
        records = [dict(zip(HEADER, record.values(), strict=True)) for record in records]
        suffix, write = WRITERS[number % len(WRITERS)]
        write(folder / f"stream/{number:03}.{suffix}", records)


def _as_written(record):
    return record | {
        "balance": str(record["balance"]),
        "created_at": record["created_at"].isoformat(),
    }


def _with_json(record, *names):
    return record | {name: json.dumps(record[name], ensure_ascii=False) for name in names}


def _write_csv(path, records):
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_with_json(record, "attributes", "tags") for record in records)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=1))


def _write_json_lines(path, records):
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def _write_parquet(path, records):
    table = pa.Table.from_pylist([_with_json(record, "attributes") for record in records])
    pq.write_table(table, path, row_group_size=len(records) // CHUNKS_OF_FILE)


WRITERS = (("csv.gz", _write_csv), ("jsonl", _write_json_lines), ("parquet", _write_parquet))


def load_files(folder, rows, files=FILES, **who):
    """Load them, without the records that are refused."""
    chunk_rows = rows // files // CHUNKS_OF_FILE
    pattern = f"{folder}/stream/*"
    return load(Customer, pattern, on_error="reject", chunk_rows=chunk_rows, **who)


def contents(result):
    """Return what is to be the same whoever has loaded; rejects in order only where asked for."""
    names = [field.column for field in Customer._meta.concrete_fields if not field.primary_key]
    with connection.cursor() as cursor:
        cursor.execute(CHECKSUM.format(columns=", ".join(names)))
        found = {"table": str(cursor.fetchone())}
    rejects = [repr(reject) for reject in result.rejects]
    if result.load.options["how"].get("order") != "any":
        found["rejects in order"] = _digest(rejects)
    return found | {"rejects": _digest(sorted(rejects))}


def _digest(texts):
    return f"{len(texts):,}, {hashlib.sha256(chr(10).join(texts).encode()).hexdigest()}"


def loaded_by(**who):
    return lambda trial: load_files(trial.folder, trial.rows, **who)


def by_dask(trial):
    return load_files(trial.folder, trial.rows, scheduler=dask.scheduler())


FIGURE = Figure(
    about=f"Customers in {FILES} files of CSV (gzip), JSON Lines and Parquet.",
    rows=5_000_000,
    repeat=1,
    files=write_files,
    tables="customers_customer",
    fill=fill_segments,
    variants={
        "1 worker": loaded_by(),
        "2 workers": loaded_by(workers=2),
        "4 workers": loaded_by(workers=4),
        "Dask": by_dask,
    },
    prepare={"Dask": dask.start},
    check=contents,
    ratios=[Ratio(of=name, to="1 worker") for name in ("2 workers", "4 workers", "Dask")],
    note=f"{len(BAD) + 1} records of each file are refused. Dask commits in any order, the others "
    "in the files'.",
)
