"""A partitioned table one of whose partitions is on another server, by postgres_fdw."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models import BigAutoField, IntegerField, TextField

from ingest import ConstraintRefused, load
from ingest.exceptions import ConfigurationError, IngestError, LedgerError
from ingest.ledger.undo import undo
from ingest.models import Load
from tests.postgres.connection.servers.programs import postgres
from tests.writing.conflicts.tables import make_model

ALIAS = "near"
FAR = """
CREATE TABLE here (
    id bigint NOT NULL, area text NOT NULL, number integer NOT NULL, note text,
    CONSTRAINT far_key PRIMARY KEY (area, number), CONSTRAINT far_number CHECK (number <> 66)
);
"""
NEAR = """
CREATE SCHEMA conflicts_test;
SET search_path = conflicts_test, public;
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '{folder}', port '{port}', dbname 'far');
CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres');
CREATE TABLE place (id bigserial, area text NOT NULL, number integer NOT NULL, note text)
    PARTITION BY LIST (area);
CREATE TABLE place_near PARTITION OF place FOR VALUES IN ('near');
ALTER TABLE place_near ADD CONSTRAINT near_key UNIQUE (area, number),
    ADD CONSTRAINT near_number CHECK (number <> 66);
CREATE FOREIGN TABLE place_far PARTITION OF place FOR VALUES IN ('far')
    SERVER far OPTIONS (schema_name 'public', table_name 'here', batch_size '10');
"""
FOREIGN = (
    "Foreign: rows of conflicts_test.place_far go to another server, which commits them a moment "
    "before this one: after a crash in between they are in without their record in the ledger."
)
NO_UNDO = (
    "rows of conflicts_test.place_far are on another server, which does not say who inserted them"
)


@pytest.fixture(scope="module")
def near(django_db_setup, django_db_blocker):
    """A database whose partitioned table has a partition in another one."""
    with postgres("", "local all all trust\n", {}) as server:
        place = {"host": str(server.folder), "port": server.port, "user": "postgres"}
        with psycopg.connect(**place, autocommit=True) as session:
            session.execute("CREATE DATABASE near")
            session.execute("CREATE DATABASE far")
        with psycopg.connect(**place, dbname="far") as session:
            session.execute(FAR)
        with psycopg.connect(**place, dbname="near") as session:
            session.execute(NEAR.format(folder=server.folder, port=server.port))
        connections.databases[ALIAS] = {
            **connections.databases["default"],
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "near",
            "HOST": str(server.folder),
            "PORT": str(server.port),
            "USER": "postgres",
            "OPTIONS": {},
        }
        try:
            with django_db_blocker.unblock():
                call_command("migrate", "ingest", database=ALIAS, verbosity=0)
                yield
                connections[ALIAS].close()
        finally:
            del connections.databases[ALIAS], connections[ALIAS]


@pytest.fixture
def place(near, django_db_blocker, few_rows_too):
    with django_db_blocker.unblock():
        run("DELETE FROM place")
        yield make_model(
            "place",
            id=BigAutoField(primary_key=True),
            area=TextField(),
            number=IntegerField(),
            note=TextField(null=True, blank=True),
        )


def run(sql):
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SET search_path = conflicts_test, public")
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def stored():
    return run("SELECT tableoid::regclass::text, number FROM place ORDER BY number")


def record(number, area=None):
    area = area or ("far" if number % 2 else "near")
    return {"area": area, "number": number, "note": "x"}


def test_rows_go_to_both(place):
    got = load(place, map(record, range(30)), using=ALIAS, verify=True)
    assert stored() == [("place_far" if n % 2 else "place_near", n) for n in range(30)]
    because = 'because "conflicts_test"."place" is not an ordinary table.'
    assert got.decisions == (
        FOREIGN,
        f"Indexes: maintained row by row, {because}",
        "References: the table has no foreign key.",
        f"Rows: this load cannot be undone, because {NO_UNDO}.",
    )


@pytest.mark.parametrize("in_atomic", [False, True])
def test_records_are_refused_alone(place, in_atomic):
    load(place, map(record, [2, 3]), using=ALIAS)
    records = [
        *map(record, range(40)),
        record(7),
        record(50, "none"),
        record(66, "near"),
        record(66, "far"),
    ]
    if in_atomic:
        with transaction.atomic(using=ALIAS):
            got = load(place, records, using=ALIAS, on_error="reject")
    else:
        got = load(place, records, using=ALIAS, on_error="reject", chunk_rows=15)
    assert {reject.record: (reject.kind, reject.constraint) for reject in got.rejects} == {
        3: ("duplicate", "near_key"),
        4: ("duplicate", None),
        41: ("duplicate", None),
        42: ("constraint", None),
        43: ("constraint", "near_number"),
        44: ("constraint", None),
    }
    assert [number for _, number in stored()] == [*range(40)]


def test_an_error_names_the_record_that_the_other_server_refused(place):
    load(place, [record(33)], using=ALIAS)
    with pytest.raises(
        ConstraintRefused,
        match=r"refused map, record 34, column 'area': 'far', column 'number': 33: duplicate key",
    ):
        load(place, map(record, range(60)), using=ALIAS)
    assert stored() == [("place_far", 33)]
    got = load(place, map(record, [200, 201]), using=ALIAS, dry_run=True)
    assert got.inserted == 2
    assert len(stored()) == 1


def test_a_server_that_is_away(place):
    run("ALTER SERVER far OPTIONS (SET port '1')")
    try:
        with pytest.raises(IngestError, match="could not connect to server"):
            load(place, map(record, range(10)), using=ALIAS, on_error="reject")
        assert load(place, map(record, range(0, 10, 2)), using=ALIAS, analyze=False).rows == 5
    finally:
        [(port,)] = run("SHOW port")
        run(f"ALTER SERVER far OPTIONS (SET port '{port}')")


class Late(ThreadPoolExecutor):
    """Begins the first chunk when the second one has sent its rows to the other server."""

    def __init__(self):
        super().__init__(2)
        self.submitted = 0

    def submit(self, function, /, *arguments):
        self.submitted += 1
        wait = wait_for_other_server if self.submitted == 1 else int
        return super().submit(lambda: (wait(), function(*arguments))[1])


def wait_for_other_server():
    facts = connections[ALIAS].settings_dict
    place = {"host": facts["HOST"], "port": facts["PORT"], "user": facts["USER"]}
    sent = "SELECT 1 FROM pg_stat_activity WHERE datname = 'far' AND backend_xid IS NOT NULL"
    with psycopg.connect(**place, dbname="near", autocommit=True) as session:
        deadline = time.monotonic() + 60
        while not session.execute(sent).fetchone() and time.monotonic() < deadline:
            time.sleep(0.02)


def test_a_waiting_chunk_gives_way_on_the_other_server(place, tmp_path, monkeypatch):
    """This server does not see that the first chunk waits there for the second one."""
    monkeypatch.setattr("ingest.loading.options.find_model", lambda _: place)
    monkeypatch.setattr("ingest.loading.workers.worker.PATIENCE_SECONDS", 0.5)
    path = tmp_path / "places.csv"
    rows = [f"far,{number},{note}\n" for note, number in enumerate([1, 2, 9, 9, 3, 4])]
    path.write_text("area,number,note\n" + "".join(rows))
    with Late() as threads:
        got = load(place, path, using=ALIAS, executor=threads, chunk_rows=3, on_error="reject")
    assert (got.rows, [reject.record for reject in got.rejects]) == (5, [4])
    assert run("SELECT number, note FROM place ORDER BY number")[-1] == (9, "2")


def test_no_conflicts_and_no_undo(place):
    found = load(place, map(record, range(4)), using=ALIAS).load
    assert Load.objects.using(ALIAS).get(pk=found.pk).inserted == 4
    with pytest.raises(
        ConfigurationError,
        match=r"PostgreSQL has no unique index over rows that are on another server, as those of "
        r"conflicts_test\.place_far",
    ):
        load(place, map(record, range(4)), using=ALIAS, on_conflict="upsert")
    with pytest.raises(LedgerError):
        undo(found.pk, using=ALIAS)
    assert len(stored()) == 4
