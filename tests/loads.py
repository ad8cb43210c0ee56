"""Loads in the ledger, of rows that are there already."""

from django.utils import timezone

from ingest.models import Chunk, KeyList, KeyRange, Load

SOURCE = "statement.csv"


def record_load(model, rows=(), /, *, as_list=False, **facts):
    """Record rows as one load of one chunk, whose keys are a range, or a list of texts."""
    rows = list(rows)
    counts = {"loaded": len(rows), "read": len(rows)}
    how = {"source": SOURCE, "method": "direct", "driver": "asyncpg", "status": Load.Status.LOADED}
    load = Load.objects.create(
        table=f'"public"."{model._meta.db_table}"',
        **{"model": model._meta.label, "started_at": timezone.now(), **counts, **how, **facts},
    )
    chunk = record_chunk(load, rows=len(rows))
    keys = [row.pk for row in rows]
    if keys and as_list:
        KeyList.objects.create(chunk=chunk, keys=list(map(str, keys)))
    elif keys:
        KeyRange.objects.create(chunk=chunk, first=min(keys), last=max(keys))
    return load


def record_chunk(load, ordinal=1, **facts):
    return Chunk.objects.create(
        load=load,
        ordinal=ordinal,
        **{"first_record": 1, "last_record": 1, "committed_at": timezone.now(), **facts},
    )
