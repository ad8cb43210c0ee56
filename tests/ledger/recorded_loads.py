"""Loads in the ledger, of rows that are there already."""

from django.db import connection
from django.utils import timezone

from ingest.ledger.ownership import full_ids
from ingest.models import Chunk, KeyList, KeyRange, Load

SOURCE = "statement.csv"


def record_load(model, rows=(), /, *, as_list=False, **facts):
    """Record rows as one load of one chunk, whose keys are a range, or a list of texts."""
    rows = list(rows)
    counts = {"inserted": len(rows), "read": len(rows)}
    how = {"source": SOURCE, "method": "direct", "driver": "asyncpg", "status": Load.Status.LOADED}
    load = Load.objects.create(
        table=f'"public"."{model._meta.db_table}"',
        **{"model": model._meta.label, "started_at": timezone.now(), **counts, **how, **facts},
    )
    chunk = record_chunk(load, inserted=len(rows), **inserted(model, rows))
    keys = [row.pk for row in rows]
    if keys and as_list:
        KeyList.objects.create(chunk=chunk, keys=list(map(str, keys)))
    elif keys:
        KeyRange.objects.create(chunk=chunk, first=min(keys), last=max(keys))
    return load


def inserted(model, rows):
    """Return what a load would have recorded of the transactions that inserted these rows."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {quote(model._meta.pk.column)}, xmin::text::int8, tableoid::int8 "
            f"FROM {quote(model._meta.db_table)}"
        )
        found = {key: (xmin, table) for key, xmin, table in cursor.fetchall()}
        cursor.execute("SELECT system_identifier FROM pg_control_system()")
        [cluster] = cursor.fetchone()
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        [database] = cursor.fetchone()
    mine = [found[row.pk] for row in rows]
    if not mine:
        return {}
    return {
        "transactions": full_ids(0, [xmin for xmin, _ in mine]),
        "table_identity": f"{cluster}/{database}/{mine[0][1]}",
    }


def record_chunk(load, ordinal=1, **facts):
    return Chunk.objects.create(
        load=load,
        ordinal=ordinal,
        **{"first_record": 1, "last_record": 1, "committed_at": timezone.now(), **facts},
    )
