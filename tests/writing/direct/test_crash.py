"""The server itself dies during a load: after its recovery the catalog is the one before."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.db import connection

from ingest import ConnectionFailed
from ingest.benchmark.methods import Target
from ingest.benchmark.methods.copying import DirectMethod
from ingest.postgres.session import open_asyncpg_session
from tests.whole_table import whole_table
from tests.writing.direct.catalog import snapshot
from tests.writing.direct.faults import STEPS, at_step
from tests.writing.direct.server import ALIAS, MortalServer
from tests.writing.direct.tables import PARENT_AND_CHILD, make_model, until

ROWS = [(number % 9 + 1, f"n{number}") for number in range(30_000)]
EMPTY, FULL = [(0,)], [(len(ROWS),)]
COUNT = "SELECT count(*) FROM child"


@pytest.fixture(scope="module")
def server():
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        pytest.skip("the programs of a server to kill come with the embedded PostgreSQL")
    with closing(MortalServer()) as started:
        yield started


@pytest.fixture
def load(server):
    """Make the tables anew, and give a method that is ready to load, its session and its pid."""
    server.ask("DROP SCHEMA IF EXISTS direct_test CASCADE; CREATE SCHEMA direct_test")
    server.ask(f"{PARENT_AND_CHILD} COMMENT ON INDEX child_parent_id IS 'x'")
    model = make_model()
    fields = tuple(field for field in model._meta.concrete_fields if not field.primary_key)
    with open_asyncpg_session(ALIAS) as session, session.transaction():
        table = whole_table(session, model)
    with DirectMethod(Target(model=model, alias=ALIAS, table=table, fields=fields)) as method:
        [(pid,)] = method._session.fetch("SELECT pg_backend_pid()")
        yield method, pid


def kill_session(server, pid):
    server.kill_backend(pid)


def stop_server(server, pid):
    server.stop_at_once()


def look(server):
    return snapshot(server.ask, server.settings)


kills = pytest.mark.parametrize("kill", [kill_session, stop_server])


@kills
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_dies_around_a_step(server, load, step, moment, kill):
    method, pid = load
    before = look(server)
    seen = at_step(method._session, step, moment, lambda: kill(server, pid))
    with pytest.raises(ConnectionFailed, match="The connection to PostgreSQL was lost"):
        method.write(ROWS)
    assert seen, "the step was never reached"
    assert method.decisions[0] == "Indexes: 2 built after the rows."
    assert look(server) == before
    assert server.ask(COUNT) == EMPTY


@kills
def test_a_server_that_dies_inside_the_copy(server, load, kill):
    method, pid = load
    before = look(server)
    at_step(method._session, "COPY", "during", lambda: kill(server, pid))
    with pytest.raises(ConnectionFailed, match="The connection to PostgreSQL was lost"):
        method.write(ROWS)
    assert look(server) == before
    assert server.ask(COUNT) == EMPTY


@kills
@pytest.mark.parametrize("statement", ["CREATE UNIQUE INDEX", "CREATE INDEX"])
def test_a_server_that_dies_inside_create_index(server, load, statement, kill):
    """The statement waits for a lock on the catalog, which another session took meanwhile."""
    method, pid = load
    before = look(server)
    other = server.connect()

    def wait_and_kill():
        with closing(server.connect()) as watcher:
            until(f"SELECT wait_event_type = 'Lock' AND query LIKE '%; {statement}%' "
                  f"FROM pg_stat_activity WHERE pid = {pid}", watcher)  # fmt: skip
        kill(server, pid)

    def lock():
        other.execute("BEGIN; LOCK TABLE pg_catalog.pg_index IN SHARE MODE")

    at_step(method._session, statement, "before", lock)
    with closing(other), ThreadPoolExecutor() as pool:
        end = pool.submit(wait_and_kill)
        with pytest.raises(ConnectionFailed, match="The connection to PostgreSQL was lost"):
            method.write(ROWS)
        end.result()
    assert look(server) == before
    assert server.ask(COUNT) == EMPTY


@kills
@pytest.mark.parametrize(("moment", "want"), [("before", EMPTY), ("after", FULL)])
def test_a_server_that_dies_around_the_commit(server, load, moment, want, kill):
    method, pid = load
    before = look(server)
    at_step(method._session, "COMMIT", moment, lambda: kill(server, pid))
    if moment == "before":
        with pytest.raises(ConnectionFailed, match="The connection to PostgreSQL was lost"):
            method.write(ROWS)
    else:
        # What is committed is not said to be lost: nobody must load the rows again.
        assert method.write(ROWS) == len(ROWS)
    assert look(server) == before
    assert server.ask(COUNT) == want
