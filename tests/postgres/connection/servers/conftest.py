"""One PostgreSQL with TLS and SCRAM, and a pgbouncer before it, for all tests in this folder."""

import psycopg
import pytest
import trustme

from tests.postgres.connection.servers.facts import over_asyncpg, over_psycopg
from tests.postgres.connection.servers.programs import pgbouncer, postgres

PASSWORD = "it's a \\ back:slash"
"""A password with each character that some file or notation must escape."""

ACCESS = """
local    all  postgres   trust
local    all  all        scram-sha-256
hostssl  all  certified  127.0.0.1/32  cert
hostssl  all  encrypted  127.0.0.1/32  scram-sha-256
host     all  encrypted  127.0.0.1/32  reject
hostnossl  all  plain    127.0.0.1/32  scram-sha-256
host     all  plain      127.0.0.1/32  reject
host     all  all        127.0.0.1/32  scram-sha-256
"""

ROLES = ("loader", "certified", "encrypted", "plain", "reader")


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def server_certificate(authority):
    return authority.issue_cert("localhost")  # not for 127.0.0.1, the same machine


@pytest.fixture(scope="session")
def server(authority, server_certificate):
    files = {
        "server.crt": "".join(b.bytes().decode() for b in server_certificate.cert_chain_pems),
        "server.key": server_certificate.private_key_pem.bytes().decode(),
        "clients.crt": authority.cert_pem.bytes().decode(),
    }
    settings = "ssl = on\nssl_ca_file = 'clients.crt'\nTimeZone = 'Asia/Tokyo'"
    with postgres(settings, ACCESS, files) as running:
        _fill(running)
        yield running


def _fill(running):
    with psycopg.connect(
        host=str(running.folder), port=running.port, user="postgres", autocommit=True
    ) as connection:
        for role in ROLES:
            name, password = psycopg.sql.Identifier(role), psycopg.sql.Literal(PASSWORD)
            connection.execute(
                psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password)
            )
        connection.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        connection.execute('CREATE ROLE "the owner"')
        connection.execute('GRANT "the owner" TO loader')
        connection.execute("CREATE SCHEMA elsewhere AUTHORIZATION loader")
        connection.execute("CREATE TABLE elsewhere.numbers (number bigint)")
        connection.execute('GRANT ALL ON elsewhere.numbers TO loader, "the owner"')
        connection.execute('GRANT ALL ON SCHEMA elsewhere TO "the owner"')


@pytest.fixture(scope="session")
def pooler(server):
    # One server connection for all clients, so that a client finds what the previous one left.
    settings = f"""
[databases]
* = host={server.folder} port={server.port}
[pgbouncer]
auth_type = scram-sha-256
pool_mode = transaction
default_pool_size = 1
"""
    quoted = PASSWORD.replace('"', '""')
    with pgbouncer(settings, f'"loader" "{quoted}"\n') as running:
        yield running


@pytest.fixture
def database(server):
    """Make an entry of DATABASES for the server; options are in lower case."""

    def make(options=None, /, **entry):
        given = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "loader",
            "PASSWORD": PASSWORD,
            "HOST": "localhost",
            "PORT": str(server.port),
        }
        return given | entry | {"OPTIONS": options or {}}

    return make


@pytest.fixture
def compare(add_alias, django_db_blocker):
    """Connect both ways; return the facts, or the refusal, which must be the same."""

    def compare(entry):
        alias = add_alias(entry)
        with django_db_blocker.unblock():
            want = over_psycopg(alias)
        got = over_asyncpg(alias)
        assert got == want
        return got

    return compare
