"""The translation of an alias, without a server."""

import asyncio
import socket

import pytest
from psycopg import pq

from ingest.exceptions import ConfigurationError, ConnectionFailed
from ingest.postgres.connection import connect, connection_arguments


def _places(arguments):
    return [
        (attempt.connect["host"], attempt.connect["port"], bool(attempt.connect["ssl"]))
        for attempts in arguments.servers
        for attempt in attempts
    ]


def test_plain_entry(translate):
    got = translate(PORT="5433")
    assert got.connect == {
        "user": "loader",
        "database": "bank",
        "timeout": 130,
        "server_settings": {},
        "statement_cache_size": 100,
        "direct_tls": False,
        "krbsrvname": "postgres",
        "target_session_attrs": "any",
        "gsslib": "gssapi",
    }
    assert _places(got) == [(["example.org"], [5433], True), (["example.org"], [5433], False)]
    assert got.servers[0][0].connect["password"] == "sesame"
    assert got.session == (("timezone", "UTC"),)
    assert got.transaction_statements == ()
    assert not got.is_pooled


def test_secrets_are_not_shown(translate):
    assert "sesame" not in repr(translate())


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("disable", [False]),
        ("allow", [False, True]),
        ("prefer", [True, False]),
        ("require", [True]),
    ],
)
def test_order_of_transports(translate, mode, want):
    assert [tls for _, _, tls in _places(translate({"sslmode": mode}))] == want


def test_lists_of_hosts_and_ports(translate):
    got = translate({"sslmode": "disable"}, HOST="a,/run/b,,d", PORT="1,2,3,4")
    default_folder = pq.PGconn.connect_start(b"gssencmode=none").host.decode()
    assert _places(got) == [
        (["a"], [1], False),
        (["/run/b/.s.PGSQL.2"], [2], False),
        ([f"{default_folder}/.s.PGSQL.3"], [3], False),
        (["d"], [4], False),
    ]


@pytest.mark.parametrize(
    ("ports", "want"), [("7,", [7, 5432]), (",7", [5432, 7]), (",", [5432] * 2), ("7", [7] * 2)]
)
def test_an_empty_item_of_a_list_of_ports_is_the_built_in_port(translate, monkeypatch, ports, want):
    for variable in ("6", ports):  # not the environment's, as libpq itself does
        monkeypatch.setenv("PGPORT", variable)
        got = translate({"sslmode": "disable"}, HOST="a,b", PORT=ports)
        assert _places(got) == [(["a"], [want[0]], False), (["b"], [want[1]], False)]
    got = translate({"sslmode": "disable"}, HOST="a,b", PORT="")
    assert [port for _, [port], _ in _places(got)] == want  # from PGPORT


def test_lists_that_do_not_match(refusal):
    assert refusal(HOST="a,b,c", PORT="1,2") == (
        "libpq refuses the database options: could not match 2 port numbers to 3 hosts."
    )


def test_each_server_has_its_own_password(translate, tmp_path):
    path = tmp_path / "passwords"
    path.write_text("a:*:*:*:first\nb:*:*:*:second\n")
    path.chmod(0o600)
    got = translate({"passfile": str(path), "sslmode": "disable"}, HOST="a,b,c", PASSWORD="")
    assert [server[0].connect["password"] for server in got.servers] == ["first", "second", ""]


@pytest.mark.parametrize(("given_seconds", "want"), [(None, 130), (0, 130), (1, 2), ("7", 7)])
def test_connect_timeout_is_translated(translate, given_seconds, want):
    assert translate({"connect_timeout": given_seconds}).connect["timeout"] == want


def test_a_server_that_is_gone_is_noticed_without_options(translate):
    assert translate({}).socket_options == (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    )
    assert translate({"keepalives": 0}).socket_options == ()


def test_keepalives_become_options_of_the_socket(translate):
    options = {"keepalives_idle": 30, "keepalives_count": "3", "tcp_user_timeout": 900}
    assert translate(options).socket_options == (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 900),
    )
    assert translate({**options, "keepalives": 0}).socket_options == (
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 900),
    )


def test_session_settings(translate):
    options = {"assume_role": "owner", "isolation_level": 3, "options": "-c search_path=a,b"}
    got = translate(options, TIME_ZONE="Africa/Cairo")
    assert got.connect["server_settings"] == {"options": "-c search_path=a,b"}
    assert got.session == (
        ("timezone", "Africa/Cairo"),
        ("default_transaction_isolation", "repeatable read"),
        ("role", "owner"),
    )


def test_behind_a_pooler_all_settings_are_of_the_transaction(translate, monkeypatch):
    monkeypatch.setenv("PGDATESTYLE", "German")
    options = {
        "assume_role": "o'wner",
        "isolation_level": 4,
        "options": "-c search_path=a,b",
        "application_name": "till",
    }
    got = translate(options, DISABLE_SERVER_SIDE_CURSORS=True)
    assert got.is_pooled
    assert got.connect["statement_cache_size"] == 0
    assert got.connect["server_settings"] == {"application_name": "till"}
    assert got.session == ()
    calls = [("search_path", "a,b"), ("datestyle", "German"), ("timezone", "UTC")]
    written = [f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in calls]
    assert got.transaction_statements == (
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        f"SELECT {', '.join(written)}, pg_catalog.set_config('role', 'o''wner', true)",
    )


def test_direct_tls(translate):
    got = translate({"sslnegotiation": "direct", "sslmode": "require"})
    assert got.connect["direct_tls"] is True
    context = got.servers[0][0].connect["ssl"]
    assert context.sslobject_class.__name__ == "_DirectSSLObject"


def test_alias_that_is_unknown():
    with pytest.raises(ConfigurationError, match="Did you mean 'default'"):
        connection_arguments("defualt")


def test_alias_that_is_not_postgresql(alias):
    name = alias(ENGINE="django.db.backends.sqlite3", NAME=":memory:")
    with pytest.raises(ConfigurationError) as caught:
        connection_arguments(name)
    assert str(caught.value) == (
        "DATABASES['tried'] has the engine django.db.backends.sqlite3. "
        "Use an alias whose database is PostgreSQL."
    )


def test_nobody_listens(alias, tmp_path):
    with pytest.raises(ConnectionFailed) as caught:
        asyncio.run(connect(alias(HOST=str(tmp_path), PORT="5432")))
    assert str(caught.value) == (
        "Cannot connect to the database 'bank' of DATABASES['tried'] as user 'loader': "
        f"{tmp_path}/.s.PGSQL.5432: [Errno 2] No such file or directory. "
        "Check HOST, PORT and sslmode, and that PostgreSQL is running."
    )
