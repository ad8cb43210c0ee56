"""libpq's options: which of them asyncpg can honour, and how the server's options are parsed."""

import os
import re
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import pq

from ingest.exceptions import ConnectionOptionError
from ingest.postgres.connection.libpq import HONOURED, PSYCOPG_ONLY, split_server_options


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", {}),
        ("-c search_path=a", {"search_path": "a"}),
        ("  -csearch_path=a\t--work-mem=3MB ", {"search_path": "a", "work_mem": "3MB"}),
        (r"-c search_path=a,\ b -c x.y=\\", {"search_path": "a, b", "x.y": "\\"}),
        ("-c a=1 --a=2=3", {"a": "2=3"}),
    ],
)
def test_server_options(text, want):
    assert split_server_options(text) == want


@pytest.mark.parametrize("text", ["-d 5", "-c", "-c name", "search_path=a", "--=1", "-fs"])
def test_server_options_that_a_transaction_cannot_have(text):
    with pytest.raises(ConnectionOptionError, match="cannot be set for one transaction"):
        split_server_options(text)


@given(st.text(min_size=1))
@example("a\\ b\n")
def test_an_escaped_value_comes_back(value):
    escaped = "".join(f"\\{letter}" for letter in value)
    assert split_server_options(f"--name={escaped}") == {"name": value}


REFUSED_VALUES = {
    "channel_binding": "require",
    "gssdelegation": "1",
    "gssencmode": "require",
    "min_protocol_version": "3.2",
    "oauth_client_id": "me",
    "oauth_client_secret": "sesame",
    "oauth_issuer": "https://example.org",
    "oauth_scope": "all",
    "replication": "database",
    "require_auth": "scram-sha-256",
    "sslcertmode": "require",
    "sslsni": "0",
}
NEEDS_A_VALID_KEY = {"scram_client_key", "scram_server_key"}


def test_every_refusal_is_tried():
    assert set(REFUSED_VALUES) | NEEDS_A_VALID_KEY == set(HONOURED)


@pytest.mark.parametrize(("name", "value"), REFUSED_VALUES.items())
def test_refused_options(refusal, name, value):
    got = refusal({name: value, "sslmode": "require"})
    if got.startswith("libpq refuses"):
        pytest.skip(f"this libpq was built without it: {got}")
    shown = "" if name == "oauth_client_secret" else f"={value!r}"
    assert got == f"The database option {name}{shown} cannot be used: {HONOURED[name][1]}."


@pytest.mark.parametrize("name", sorted(NEEDS_A_VALID_KEY))
def test_scram_keys_are_refused_and_not_shown(refusal, name):
    key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert refusal({name: key}) == (
        f"The database option {name} cannot be used: asyncpg needs the password itself."
    )


@pytest.mark.parametrize(
    ("options", "changed", "want"),
    [
        ({}, {"HOST": "@abstract"}, "host='@abstract' cannot be used: asyncpg cannot open an "),
        ({}, {"PORT": "70000"}, "port='70000' cannot be used: a port is a number from 1 to 65535"),
        ({"requirepeer": "postgres"}, {"HOST": "/run"}, "requirepeer='postgres' cannot be used"),
        ({"isolation_level": 9}, {}, "isolation_level='9' cannot be used: it must be one of"),
        ({"connect_timeout": "soon"}, {}, "connect_timeout='soon' cannot be used: it must be a"),
        ({"sslmode": "sometimes"}, {}, "libpq refuses the database options: invalid sslmode valu"),
        ({"sslmod": "require"}, {}, "Did you mean 'sslmode'"),
        ({"target_session_attrs": "fast"}, {}, "it must be one of any, read-write, read-only, "),
        ({"service": "nowhere"}, {}, 'definition of service "nowhere" not found'),
        ({"sslmode": "verify-ca"}, {}, "sslmode=verify-ca needs the file "),
        ({"sslmode": "verify-full", "sslrootcert": "/no"}, {}, "sslrootcert='/no' cannot be used"),
        ({"sslrootcert": "/dev/null"}, {}, "sslrootcert='/dev/null' cannot be used: the file can"),
        ({"sslrootcert": "system", "sslmode": "require"}, {}, "weak sslmode"),
        ({"sslrootcert": "system", "hostaddr": "127.0.0.1"}, {}, "hostaddr='127.0.0.1' cannot be"),
        ({"ssl_min_protocol_version": "TLSv9"}, {}, "TLSv9"),
        ({"sslnegotiation": "direct"}, {}, "weak sslmode"),
    ],
)
def test_options_that_cannot_work(refusal, options, changed, want):
    assert want in refusal(options, **changed)


def test_every_option_of_libpq_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "connections.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert known - documented == set()
    assert documented >= PSYCOPG_ONLY


OLD = """
from psycopg import pq
import django
django.setup()
from ingest.postgres.connection.arguments import connection_arguments
from ingest.postgres.connection.tls import ssl_context
from ingest.postgres.connection.libpq import resolve
known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
options, _ = resolve({"host": "localhost", "sslmode": "require"})
ssl_context(options)
print("sslnegotiation" in known, connection_arguments().connect["direct_tls"])
"""


def test_a_libpq_that_lacks_the_latest_options():
    # psycopg without its extra "binary" takes the system's.
    if find_library("pq") is None:
        pytest.skip("This system has no libpq of its own.")
    environment = {**os.environ, "PSYCOPG_IMPL": "python"}
    done = subprocess.run(
        [sys.executable, "-c", OLD], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    if done.stdout.startswith("True"):
        pytest.skip("This system's libpq has all options.")
    assert done.stdout == "False False\n"
