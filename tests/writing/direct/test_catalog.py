"""The catalog after a load is the catalog before, however the load ends."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from django.db import connection

from ingest import ConstraintRefused, IngestError, RecordsRefused
from ingest.benchmark.methods.copying import DirectMethod
from ingest.exceptions import SEE_ALL
from ingest.postgres.session import open_asyncpg_session
from ingest.writing.indexes import plan_set_aside
from tests.whole_table import whole_table
from tests.writing.direct.catalog import snapshot
from tests.writing.direct.faults import STEPS, at_step
from tests.writing.direct.tables import ask, both, make_model, run, target_of, until, write

VICTIM = f"direct_victim_{os.getpid()}"
"""Of this process: others run the same tests on the same server."""

KEPT = "Indexes: maintained row by row, because the table has no index that is its own definition"
BUILT = "Indexes: {} built after the rows."

# What is done to the child table, and how many of its indexes are then built after the rows; its
# primary key and the index on parent_id are two.
INDEXES = {
    "plain": ("", 2),
    "comments": (
        (
            "COMMENT ON INDEX child_parent_id IS 'it''s \\ here'; "
            "COMMENT ON CONSTRAINT child_pkey ON child IS 'the key'; "
            "COMMENT ON INDEX child_pkey IS 'its index'"
        ),
        2,
    ),
    "unique constraint": ("ALTER TABLE child ADD CONSTRAINT once UNIQUE (note)", 3),
    "unique index": ("CREATE UNIQUE INDEX once ON child (note) WHERE note <> ''", 3),
    "NULLS NOT DISTINCT": (
        "ALTER TABLE child ADD CONSTRAINT once UNIQUE NULLS NOT DISTINCT (parent_id, note)",
        3,
    ),
    "unique with options": (
        (
            "ALTER TABLE child ADD CONSTRAINT once UNIQUE (note) INCLUDE (parent_id) "
            "WITH (fillfactor = 55, deduplicate_items = off)"
        ),
        3,
    ),
    "renamed key": ('ALTER INDEX child_pkey RENAME TO "odd "" name"', 2),
    "deferrable unique": ("ALTER TABLE child ADD CONSTRAINT once UNIQUE (note) DEFERRABLE", 2),
    "exclusion": ("ALTER TABLE child ADD CONSTRAINT apart EXCLUDE (note WITH =)", 2),
    "key that others refer to": ("CREATE TABLE grandchild (id bigint REFERENCES child)", 1),
    "key that a view needs": (
        "CREATE VIEW counted AS SELECT id, note, count(*) FROM child GROUP BY id",
        1,
    ),
    "partial": ("CREATE INDEX more ON child (note) WHERE parent_id > 3 AND note <> 'it''s'", 3),
    "expression": ("CREATE INDEX more ON child (lower(note), (parent_id % 7) DESC NULLS LAST)", 3),
    "expression of a user's function": (
        (
            "CREATE FUNCTION mine(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'; "
            "CREATE INDEX more ON child (mine(note))"
        ),
        2,
    ),
    "covering": ("CREATE INDEX more ON child (note) INCLUDE (parent_id)", 3),
    "concurrently built": ("CONCURRENTLY", 3),
    "invalid": ("INVALID", 2),
    "storage parameters": ("CREATE INDEX more ON child (note) WITH (fillfactor = 42)", 3),
    "statistics target": (
        "CREATE INDEX more ON child (lower(note)); ALTER INDEX more ALTER 1 SET STATISTICS 77",
        2,
    ),
    "operator class and collation": (
        'CREATE INDEX more ON child (note COLLATE "C" text_pattern_ops)',
        3,
    ),
    "hash": ("CREATE INDEX more ON child USING hash (note)", 3),
    "brin": ("CREATE INDEX more ON child USING brin (id) WITH (pages_per_range = 4)", 3),
    "gin": ("CREATE INDEX more ON child USING gin (to_tsvector('simple', note))", 3),
    "gist": ("CREATE INDEX more ON child USING gist (point(parent_id, id))", 3),
    "replica identity": (
        (
            "ALTER TABLE child ADD code int NOT NULL GENERATED ALWAYS AS IDENTITY; "
            "CREATE UNIQUE INDEX more ON child (code); "
            "ALTER TABLE child REPLICA IDENTITY USING INDEX more"
        ),
        2,
    ),
    "clustered": ("ALTER TABLE child CLUSTER ON child_parent_id", 1),
    "an extension's": ("ALTER INDEX child_parent_id DEPENDS ON EXTENSION plpgsql", 1),
    "replica identity of every column": ("ALTER TABLE child REPLICA IDENTITY FULL", 2),
    "inherited": ("CREATE TABLE heir () INHERITS (child); CREATE INDEX ON heir (note)", 2),
    "statistics of several columns": ("CREATE STATISTICS two ON parent_id, note FROM child", 2),
    "table with storage parameters": (
        (
            "ALTER TABLE child SET (fillfactor = 70, autovacuum_enabled = off); "
            "ALTER TABLE child ALTER note SET STORAGE external, ALTER note SET STATISTICS 5"
        ),
        2,
    ),
    "another table of the same names": ("CREATE TABLE other (LIKE child INCLUDING ALL)", 2),
}  # fmt: skip


def prepare(sql):
    if sql == "CONCURRENTLY":
        run_alone("CREATE INDEX CONCURRENTLY more ON child (note)")
    elif sql == "INVALID":
        run("INSERT INTO child (note) VALUES ('x'), ('x')")
        with pytest.raises(Exception, match="more"):
            run_alone("CREATE UNIQUE INDEX CONCURRENTLY more ON child (note)")
        run("DELETE FROM child")
    elif sql:
        run(sql)


def run_alone(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("ON child", "ON direct_test.child"))


@pytest.mark.parametrize("case", INDEXES)
def test_indexes_come_back_as_they_were(tables, case):
    sql, count = INDEXES[case]
    prepare(sql)
    before = snapshot()
    rows = [(number % 9 + 1, f"n{number}") for number in range(30)]
    want, got, decisions = both(make_model(), rows)
    assert got == want
    assert len(got.rows) == 30
    assert decisions[0] == BUILT.format(count)
    assert snapshot() == before


def test_a_default_tablespace_keeps_the_indexes(tables):
    method = DirectMethod(target_of(make_model()))
    with method:
        method._session.execute("SET default_tablespace = 'pg_default'")
        method.write([(1, "a")])
    assert method.decisions[0].startswith(KEPT)


def test_an_index_in_a_tablespace_of_its_own_stays(tables):
    """The place lies in the data folder, so that no folder of the machine is needed."""
    with connection.cursor() as cursor:
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute("CREATE TABLESPACE direct_test LOCATION ''")
    try:
        run("CREATE INDEX more ON child (note) TABLESPACE direct_test")
        before = snapshot()
        want, got, decisions = both(make_model(), [(1, "a"), (2, "b")])
        assert decisions[0] == BUILT.format(2)
        assert got == want
        assert snapshot() == before
    finally:
        run("DROP INDEX IF EXISTS more")
        run_alone("DROP TABLESPACE direct_test")


def one_row_each(monkeypatch, rows=2):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", rows)


ENDS = {
    "a value is refused": (RecordsRefused, [(1, "a")] * 5 + [("x", "b")]),
    "a parent is missing": (ConstraintRefused, [(1, "a"), (2, "b"), (3, "c"), (77, "d")]),
    "a key comes twice": (ConstraintRefused, [(1, "a"), (2, "b"), (3, "c"), (2, "a")]),
    "a check fails": (ConstraintRefused, [(1, "a"), (2, "b"), (3, "c"), (2, "")]),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_load_that_fails_leaves_the_catalog(tables, monkeypatch, case):
    one_row_each(monkeypatch)
    run("ALTER TABLE child ADD CONSTRAINT once UNIQUE (note), ADD CHECK (note <> '')")
    before = snapshot()
    kind, rows = ENDS[case]
    method = DirectMethod(target_of(make_model()))
    with pytest.raises(kind):
        write(method, rows)
    assert method.decisions[0] == BUILT.format(3)
    assert snapshot() == before
    assert ask("SELECT count(*) FROM direct_test.child") == [(0,)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, ZeroDivisionError])
def test_a_load_that_is_cancelled_leaves_the_catalog(tables, monkeypatch, error):
    one_row_each(monkeypatch)
    before = snapshot()

    def rows():
        yield from [(1, "a")] * 5
        raise error

    with pytest.raises(error):
        write(DirectMethod(target_of(make_model())), rows())
    assert snapshot() == before
    assert ask("SELECT count(*) FROM direct_test.child") == [(0,)]


TERMINATE = f"""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE application_name = '{VICTIM}' AND pid <> pg_backend_pid()"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_at_a_step_leaves_the_catalog(tables, step, moment):
    """The session that ends is told apart by its statement; one statement runs at a time."""
    run("COMMENT ON INDEX child_parent_id IS 'x'")
    before = snapshot()
    rows = [(number % 9 + 1, f"n{number}") for number in range(1000)]
    method = DirectMethod(target_of(make_model()))
    with method:
        session = method._session
        session.execute(f"SET application_name = '{VICTIM}'")
        seen = at_step(session, step, moment, lambda: ask(TERMINATE))
        with pytest.raises(IngestError, match="The connection to PostgreSQL was lost"):
            method.write(rows)
    assert seen, "the step was never reached"
    assert snapshot() == before
    assert ask("SELECT count(*) FROM direct_test.child") == [(0,)]


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", 3)])
def test_a_server_killed_around_the_commit(tables, moment, count):
    before = snapshot()
    method = DirectMethod(target_of(make_model()))
    # After the COMMIT nothing is said to be lost: nobody must load the rows again.
    with ExitStack() as stack:
        if moment == "before":
            stack.enter_context(pytest.raises(IngestError))
        session = stack.enter_context(method)._session
        session.execute(f"SET application_name = '{VICTIM}'")
        at_step(session, "COMMIT", moment, lambda: ask(TERMINATE))
        method.write([(1, "a"), (2, "b"), (3, "c")])
    assert snapshot() == before
    assert ask("SELECT count(*) FROM direct_test.child") == [(count,)]


BUILDS = f"""SELECT query LIKE '%; CREATE %' AND wait_event_type = 'Lock' FROM pg_stat_activity
    WHERE application_name = '{VICTIM}'"""


def test_a_server_killed_inside_create_index(tables, monkeypatch):
    """The statement waits for a lock on the catalog, which another session took meanwhile."""
    one_row_each(monkeypatch, 1)
    before = snapshot()
    other, watcher = (psycopg.connect(**connection.get_connection_params()) for _ in range(2))
    watcher.autocommit = True

    def rows():
        # The method looks at two batches before it touches an index.
        yield from [(1, "a"), (2, "b"), (3, "c")]
        other.execute("LOCK TABLE pg_catalog.pg_index IN SHARE MODE")

    def end_it():
        try:
            until(BUILDS, watcher)
            watcher.execute(TERMINATE)
        finally:
            other.rollback()

    method = DirectMethod(target_of(make_model()))
    with other, watcher, ThreadPoolExecutor() as pool:
        end = pool.submit(end_it)
        with pytest.raises(IngestError, match="The connection to PostgreSQL was lost"):
            write(method, rows(), before=f"SET application_name = '{VICTIM}'")
        end.result()
    assert snapshot() == before
    assert ask("SELECT count(*) FROM direct_test.child") == [(0,)]


def test_the_record_of_a_duplicate_is_named(tables, monkeypatch):
    one_row_each(monkeypatch, 3)
    run("CREATE UNIQUE INDEX once ON child (lower(note)) WHERE note <> '-'")
    rows = [(1, "A"), (2, "-"), (3, "-"), (4, None), (5, None), (6, "b"), (7, "a"), (8, "B")]
    want, got, decisions = both(make_model(), rows)
    assert decisions[0] == BUILT.format(3)
    assert got.message == (
        "PostgreSQL refused generator, record 7, column 'note': 'a': duplicate key value violates "
        'unique constraint "once". Key (lower(note))=(a) is duplicated. Remove the record, or '
        f"change its key. Nothing was loaded. {SEE_ALL}"
    )
    assert "record 7, column 'note': 'a': duplicate key value" in want.message
    assert got == want
    assert not got.rows


def test_the_record_of_a_duplicate_without_an_identity(schema):
    run("CREATE TABLE child (id bigserial PRIMARY KEY, parent_id bigint UNIQUE, note text)")
    with pytest.raises(ConstraintRefused) as caught:
        write(DirectMethod(target_of(make_model())), [(1, "a"), (2, "b"), (1, "c")])
    assert str(caught.value).startswith(
        "PostgreSQL refused a record: duplicate key value violates unique constraint "
    )


def test_a_row_that_an_index_cannot_hold(tables):
    run("CREATE INDEX more ON child ((100 / length(note)))")
    want, got, _ = both(make_model(), [(1, "a"), (2, "")])
    assert "record 2: division by zero" in want.message
    assert got.message == (
        "PostgreSQL refused a record, as the index 'more' shows: division by zero. Load with "
        f"indexes='keep' to have the record named. Nothing was loaded. {SEE_ALL}"
    )
    assert got.rows == want.rows == ()


def test_unique_indexes_stay_where_a_load_goes_on_after_a_duplicate(tables):
    run("CREATE UNIQUE INDEX once ON child (note)")
    with open_asyncpg_session("default") as session, session.transaction():
        table = whole_table(session, make_model())
        plan = plan_set_aside(session, table, with_unique=False)
    assert [index.name for index in plan.indexes] == ["child_parent_id"]


def test_a_lock_is_given_back_where_the_table_has_got_rows_meanwhile(tables):
    with open_asyncpg_session("default") as session, session.transaction():
        table = whole_table(session, make_model())
        run("INSERT INTO child (note) VALUES ('x')")
        plan = plan_set_aside(session, table, with_unique=True)
        assert (plan.reason, plan.table) == ("the table holds rows already.", None)
        run("SET lock_timeout = '1s'; LOCK TABLE child IN ACCESS EXCLUSIVE MODE; "
            "RESET lock_timeout")  # fmt: skip


def test_an_index_asked_for_that_cannot_be_had(tables):
    run("INSERT INTO child (note) VALUES ('x')")
    method = DirectMethod(target_of(make_model()), indexes="rebuild")
    with pytest.raises(IngestError, match=r"cannot be built after: the table holds rows already\."):
        write(method, [(1, "a")])
