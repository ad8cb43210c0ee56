"""Columns that another session changes between the plan of a load and its first row."""

import pytest
from django.db import models

from ingest import IngestError, load
from ingest.postgres.catalog import check_columns_later, lock_statement, read_settled_table
from ingest.postgres.session import open_session
from tests.writing.direct.tables import SCHEMA, ask, make_model, run

FIELDS = {
    "number": models.IntegerField(),
    "amount": models.DecimalField(max_digits=8, decimal_places=2),
}
CHANGES = {
    "type of the same width": "ALTER COLUMN number TYPE real",
    "modifier": "ALTER COLUMN amount TYPE numeric(8, 0)",
    "wider type": "ALTER COLUMN number TYPE bigint",
    "text": "ALTER COLUMN number TYPE text",
    "name": "RENAME COLUMN number TO other",
    "dropped": "DROP COLUMN number",
}
UPSERT = {"on_conflict": "upsert", "key": ["id"]}
OPTIONS = [
    {}, {"method": "copy"}, {"on_error": "reject"}, {"chunk_rows": 2}, UPSERT,
    {**UPSERT, "on_error": "reject"}, {"dry_run": True},
]  # fmt: skip


@pytest.fixture
def table(schema):
    run("CREATE TABLE child (id integer PRIMARY KEY, number integer, amount numeric(8, 2))")


def load_beside(change, **options):
    """Load three rows; the table is changed before the second one is read."""
    model = make_model(id=models.IntegerField(primary_key=True), **FIELDS)

    def rows():
        for number in (1, 2, 3):
            if number == 2:  # the first one is read for its columns before the table is
                run(change)
            yield {"id": number, "number": 19_999, "amount": "1.25"}

    return load(model, rows(), **options)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_loaded_into_changed_columns(table, change, options):
    with pytest.raises(IngestError) as caught:
        load_beside(f"ALTER TABLE child {CHANGES[change]}", **options)
    told = '"direct_test"."child" was changed while rows were loaded'
    if "key" in options and change in {"name", "dropped"}:  # nothing could be prepared
        told = 'column "number" does not exist'
    assert told in str(caught.value)
    assert ask(f"SELECT count(*) FROM {SCHEMA}.child") == [(0,)]


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_loaded_into_another_table_of_the_name(table, options):
    swap = "ALTER TABLE child RENAME TO old; CREATE TABLE child (LIKE old INCLUDING ALL)"
    with pytest.raises(IngestError, match="was changed while rows were loaded"):
        load_beside(swap, **options)
    assert ask(f"SELECT count(*) FROM {SCHEMA}.child") == [(0,)]


@pytest.mark.parametrize("options", [it for it in OPTIONS[:-1] if it != {"chunk_rows": 2}])
def test_another_column_does_not_matter(table, options):
    load_beside("ALTER TABLE child ADD COLUMN more integer NOT NULL DEFAULT 3", **options)
    assert ask(f"SELECT id, number, amount, more FROM {SCHEMA}.child ORDER BY id") == [
        (number, 19_999, 1.25, 3) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_before_the_first_copy_is_noticed_before_the_commit(table, change):
    model = make_model(id=models.IntegerField(primary_key=True), **FIELDS)
    with open_session("default") as session, session.transaction():
        read = read_settled_table(session, model)
        check_columns_later(session, read)()
        run(f"ALTER TABLE child {CHANGES[change]}")
        session.execute(lock_statement(model))
        with pytest.raises(IngestError, match="was changed while rows were loaded"):
            check_columns_later(session, read)()
