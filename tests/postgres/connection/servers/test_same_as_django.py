"""Servers, passwords and sessions: our connection is the one that Django would have made."""

import socket

import pytest

from tests.postgres.connection.servers.conftest import PASSWORD
from tests.postgres.connection.servers.facts import ACCEPTED, REFUSED, refusal
from tests.postgres.connection.servers.programs import free_port


class TestPassword:
    def test_a_wrong_password_is_refused(self, compare, database):
        assert compare(database(PASSWORD="guess")) == REFUSED

    def test_no_password_is_refused(self, compare, database):
        assert compare(database(PASSWORD="")) == REFUSED

    def test_from_the_environment(self, compare, database, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        assert compare(database(PASSWORD="")) != REFUSED

    @pytest.mark.parametrize(("line", "want"), [("localhost", ACCEPTED), ("other", REFUSED)])
    def test_from_a_file(self, compare, database, tmp_path, line, want):
        path = _password_file(tmp_path / "passwords", line)
        got = compare(database({"passfile": str(path)}, PASSWORD=""))
        assert (got == REFUSED) == (want == REFUSED)

    def test_from_the_file_in_home(self, compare, database, tmp_path):
        _password_file(tmp_path / ".pgpass", "*")
        assert compare(database(PASSWORD="")) != REFUSED

    def test_from_a_file_for_a_unix_socket(self, compare, database, server, tmp_path):
        _password_file(tmp_path / ".pgpass", str(server.folder))
        assert compare(database(PASSWORD="", HOST=str(server.folder))) != REFUSED

    def test_from_a_file_that_others_may_read(self, compare, database, tmp_path):
        _password_file(tmp_path / ".pgpass", "*").chmod(0o644)
        assert compare(database(PASSWORD="")) == REFUSED


def _password_file(path, host):
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    path.write_text(f"# host:port:database:user:password\n{host}:*:postgres:loader:{escaped}\n")
    path.chmod(0o600)
    return path


class TestService:
    @pytest.fixture
    def service_file(self, tmp_path, server):
        path = tmp_path / "services"
        path.write_text(
            "[bank]\nhost=localhost\ndbname=postgres\nuser=loader\n"
            f"port={server.port}\npassword={PASSWORD}\nsslmode=require\n"
            "options=-c search_path=elsewhere\napplication_name=till\n"
        )
        return path

    @pytest.fixture
    def entry(self):
        return {"ENGINE": "django.db.backends.postgresql", "NAME": ""}

    def test_named_by_the_environment(self, compare, service_file, entry, monkeypatch):
        monkeypatch.setenv("PGSERVICEFILE", str(service_file))
        got = compare({**entry, "OPTIONS": {"service": "bank"}})
        assert {"loader", "elsewhere", "till"} <= set(got)

    def test_in_home(self, compare, service_file, entry, tmp_path):
        service_file.rename(tmp_path / ".pg_service.conf")
        assert compare({**entry, "OPTIONS": {"service": "bank"}}) != REFUSED

    def test_yields_to_the_settings(self, compare, service_file, entry, monkeypatch):
        monkeypatch.setenv("PGSERVICEFILE", str(service_file))
        options = {"service": "bank", "sslmode": "disable"}
        assert compare({**entry, "PASSWORD": "guess", "OPTIONS": options}) == REFUSED
        assert compare({**entry, "OPTIONS": options})[-3] is False


SESSION_CASES = [
    {},
    {"options": "-c search_path=elsewhere,public"},
    {"options": r"-csearch_path=elsewhere,\ public --work-mem=3MB -c DateStyle=German"},
    {"options": r"-c search_path=\"odd\ \\\\\ name\""},
    {"options": "-c timezone=Africa/Cairo"},
    {"application_name": "a 'quoted' name"},
    {"fallback_application_name": "second choice"},
    {"assume_role": "the owner"},
    {"assume_role": "nobody at all"},
    {"assume_role": "postgres"},
    {"isolation_level": 3},
    {"isolation_level": 4},
    {"client_encoding": "LATIN1"},
    {"autocommit": True, "prepare_threshold": 1, "server_side_binding": True},
    {"pool": False},
    {"target_session_attrs": "any"},
    {"target_session_attrs": "read-write"},
    {"target_session_attrs": "read-only"},
    {"target_session_attrs": "primary"},
    {"target_session_attrs": "standby"},
    {"target_session_attrs": "prefer-standby"},
    {"keepalives_idle": 30, "keepalives_interval": "5", "keepalives_count": 3},
    {"keepalives": 0, "tcp_user_timeout": 20000},
    {"load_balance_hosts": "random"},
    {"connect_timeout": 5},
    {"options": "-c no_such_parameter=1"},
    {"hostaddr": "127.0.0.1"},
    {"krbsrvname": "other", "gssencmode": "disable", "channel_binding": "prefer"},
]


@pytest.mark.parametrize("options", SESSION_CASES, ids=str)
def test_options_mean_what_they_mean_to_django(compare, database, options):
    compare(database(options))


@pytest.mark.parametrize(
    ("entry", "want"), [({}, "UTC"), ({"TIME_ZONE": "America/New_York"}, "America/New_York")]
)
def test_time_zone(compare, database, entry, want):
    # The server's own time zone is Asia/Tokyo.
    assert want in compare(database(**entry))


@pytest.mark.parametrize("wanted", ["read-write", "read-only", "primary"])
def test_a_role_that_may_only_read(compare, database, wanted):
    got = compare(database({"target_session_attrs": wanted}, USER="reader"))
    assert (got == REFUSED) == (wanted == "read-write")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGOPTIONS", "-c search_path=elsewhere"),
        ("PGAPPNAME", "from the environment"),
        ("PGTZ", "Africa/Cairo"),
        ("PGDATESTYLE", "German"),
        ("PGGEQO", "default"),
        ("PGSSLMODE", "disable"),
        ("PGUSER", "plain"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGCLIENTENCODING", "LATIN1"),
    ],
)
def test_the_environment_means_what_it_means_to_django(compare, database, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    compare(database(USER="" if name == "PGUSER" else "loader"))


class TestSeveralHosts:
    def test_the_first_is_dead(self, compare, database, server):
        ports = f"{free_port()},{server.port}"
        assert server.port in compare(database(HOST="localhost,localhost", PORT=ports))

    def test_the_first_is_a_missing_socket(self, compare, database, server):
        assert compare(database(HOST="/nowhere,localhost", PORT=str(server.port))) != REFUSED

    def test_all_are_dead(self, compare, database):
        ports = f"{free_port()},{free_port()}"
        assert compare(database(HOST="localhost,localhost", PORT=ports)) == REFUSED

    def test_the_first_has_a_name_that_is_not_known(self, compare, database):
        assert compare(database(HOST="no-such-host.invalid,localhost")) != REFUSED

    def test_each_gets_its_own_password(self, compare, database, tmp_path):
        path = tmp_path / ".pgpass"
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        path.write_text(f"127.0.0.1:*:*:*:guess\nlocalhost:*:*:*:{escaped}\n")
        path.chmod(0o600)
        assert compare(database(PASSWORD="", HOST="127.0.0.1,localhost")) != REFUSED

    def test_the_first_never_answers(self, compare, database, server):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            ports = f"{silent.getsockname()[1]},{server.port}"
            entry = database({"connect_timeout": 2}, HOST="localhost,localhost", PORT=ports)
            assert server.port in compare(entry)


def test_a_server_that_never_answers(add_alias, database):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        alias = add_alias(database({"connect_timeout": 1}, PORT=str(port)))
        got = str(refusal(alias))
    assert got == (
        "Cannot connect to the database 'postgres' of DATABASES['tried'] as user 'loader': "
        f"localhost port {port}: no answer in 2 s. "
        "Check HOST and PORT, or raise connect_timeout."
    )
