"""Logical replication: subscribers of the table hear of a load what they hear of the ORM's rows."""

import struct
from contextlib import closing

import psycopg
import pytest
from django.db import connection

from ingest.benchmark.methods import Target
from ingest.benchmark.methods.copying import DirectMethod
from ingest.postgres.session import open_asyncpg_session
from tests.whole_table import whole_table
from tests.writing.direct.server import ALIAS, MortalServer
from tests.writing.direct.tables import PARENT_AND_CHILD, make_model

ROWS = [(number, f"n{number}") for number in range(1, 6)]
SET = "References: 1 foreign key checked as a set."
PRIMARY_KEPT = (
    "Indexes: the primary key's is maintained row by row, because subscribers know the rows by it."
)


@pytest.fixture(scope="module")
def server():
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        pytest.skip("the programs of a server of one's own come with the embedded PostgreSQL")
    with closing(MortalServer(wal_level="logical")) as started:
        yield started


@pytest.fixture
def publisher(server):
    server.ask("DROP SCHEMA IF EXISTS direct_test CASCADE; CREATE SCHEMA direct_test")
    server.ask(PARENT_AND_CHILD)
    yield server
    for (name,) in server.ask("SELECT slot_name FROM pg_replication_slots"):
        server.ask(f"SELECT pg_drop_replication_slot('{name}')")
    server.ask("DROP PUBLICATION IF EXISTS published")


def write(rows, **options):
    model = make_model()
    fields = tuple(field for field in model._meta.concrete_fields if not field.primary_key)
    with open_asyncpg_session(ALIAS) as session, session.transaction():
        table = whole_table(session, model)
    target = Target(model=model, alias=ALIAS, table=table, fields=fields)
    with DirectMethod(target, **options) as method:
        assert method.write(rows) == len(rows)
    return method.decisions


def subscribe(server, plugin):
    server.ask(f"SELECT pg_create_logical_replication_slot('heard', '{plugin}')")


def hear(server):
    """Return what pgoutput sends: the tables with their columns, true for those of a key; the rows.

    https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
    """
    tables, rows = set(), []
    for (message,) in server.ask(
        "SELECT data FROM pg_logical_slot_get_binary_changes('heard', NULL, NULL, "
        "'proto_version', '1', 'publication_names', 'published')"
    ):
        if message[:1] == b"R":
            schema, name, rest = message[5:].split(b"\0", 2)
            identity, count = struct.unpack_from("!ch", rest)
            rest, columns = rest[3:], []
            for _ in range(count):
                column, after = rest[1:].split(b"\0", 1)
                columns.append((column.decode(), rest[0] == 1))
                rest = after[8:]
            tables.add((schema.decode(), name.decode(), identity, tuple(columns)))
        elif message[:1] == b"I":
            rows.append(message[5:])
    return tables, rows


@pytest.mark.parametrize("what", ["TABLE child", "ALL TABLES"])
def test_subscribers_hear_what_they_hear_of_single_inserts(publisher, what):
    publisher.ask(f"CREATE PUBLICATION published FOR {what}")
    subscribe(publisher, "pgoutput")
    for parent, note in ROWS:
        publisher.ask(f"INSERT INTO child (parent_id, note) VALUES ({parent}, '{note}')")
    want = hear(publisher)
    [table] = want[0]
    assert table == (
        "direct_test", "child", b"d", (("id", True), ("parent_id", False), ("note", False))
    )  # fmt: skip
    publisher.ask("TRUNCATE child RESTART IDENTITY")
    hear(publisher)
    decisions = write(ROWS)
    assert decisions == ["Indexes: 1 built after the rows.", PRIMARY_KEPT, SET]
    assert hear(publisher) == want
    # A row that the load put in can be updated and deleted as ever.
    publisher.ask("UPDATE child SET note = 'x' WHERE id = 1; DELETE FROM child WHERE id = 2")


def test_a_slot_without_a_publication(publisher):
    subscribe(publisher, "pgoutput")
    assert write(ROWS)[:2] == ["Indexes: 1 built after the rows.", PRIMARY_KEPT]


def test_a_table_that_nobody_hears_of(publisher):
    publisher.ask("CREATE PUBLICATION published FOR TABLE parent")
    assert write(ROWS) == ["Indexes: 2 built after the rows.", SET]


def test_a_table_that_a_subscription_writes_to(publisher):
    """Its worker would wait for the exclusive lock, and with it all tables of the subscription."""
    publisher.ask("DROP DATABASE IF EXISTS elsewhere")
    publisher.ask("CREATE DATABASE elsewhere")
    where = f"host={publisher.settings['HOST']} user=postgres dbname=elsewhere"
    with psycopg.connect(where, autocommit=True) as other:
        other.execute("CREATE SCHEMA direct_test")
        other.execute("SET search_path = direct_test")
        other.execute(PARENT_AND_CHILD)
        other.execute("CREATE PUBLICATION published FOR TABLE child")
    publisher.ask(
        f"CREATE SUBSCRIPTION subscribed CONNECTION '{where}' PUBLICATION published "
        "WITH (create_slot = false, slot_name = 'none', enabled = false)"
    )
    reason = "a subscription writes to the table, too, and would have to wait."
    try:
        assert write(ROWS) == [
            f"Indexes: maintained row by row, because {reason}",
            SET,
        ]
    finally:
        publisher.ask("ALTER SUBSCRIPTION subscribed SET (slot_name = NONE)")
        publisher.ask("DROP SUBSCRIPTION subscribed")
