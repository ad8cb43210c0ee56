"""Tables made by SQL, models over them, and loads into them with ``on_conflict``."""

from django.apps.registry import Apps
from django.db import models

from ingest import load
from tests.writing.schemas import in_schema

SCHEMA = "conflicts_test"


def run(sql):
    with in_schema(SCHEMA) as cursor:
        cursor.execute(sql)


def ask(sql):
    with in_schema(SCHEMA) as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def make_model(table="item", **fields):
    meta = type(
        "Meta",
        (),
        {
            "app_label": "conflicts_test",
            "apps": Apps(),
            "db_table": f'"{SCHEMA}"."{table}"',
            "managed": False,
        },
    )
    return type("Row", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


def counts(result):
    """Return what became of the records, but for what became of none."""
    names = ("inserted", "updated", "unchanged", "ignored", "rejected", "skipped")
    got = {name: getattr(result, name) for name in names}
    assert result.read == sum(got.values())
    return {name: number for name, number in got.items() if number}


def upsert(model, records, **options):
    """Load with ``on_conflict='upsert'`` where nothing else is said; give the counts."""
    result = load(model, records, **{"on_conflict": "upsert", "analyze": False, **options})
    return counts(result)
