"""TLS: our connection accepts and refuses the same servers as Django's."""

import contextlib
import os
import socket
import ssl
import threading

import pytest
import trustme

from tests.postgres.connection.servers.certificates import encrypt, revocation_list, write_client
from tests.postgres.connection.servers.facts import ACCEPTED, REFUSED, refusal


@pytest.fixture
def files(tmp_path, authority, server_certificate):
    """Write the files that options name; return their paths by name."""
    authority.cert_pem.write_to_path(tmp_path / "right.crt")
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "wrong.crt")
    (tmp_path / "none.crl").write_bytes(revocation_list(authority, []))
    (tmp_path / "revoked.crl").write_bytes(revocation_list(authority, [server_certificate]))
    write_client(authority, tmp_path, "certified")
    write_client(stranger, tmp_path, "plain")
    return lambda name: str(tmp_path / name)


TLS_CASES = [
    ("verify-full", "right.crt", "localhost", ACCEPTED),
    ("verify-full", "wrong.crt", "localhost", REFUSED),
    ("verify-full", "right.crt", "127.0.0.1", REFUSED),
    ("verify-ca", "right.crt", "127.0.0.1", ACCEPTED),
    ("verify-ca", "wrong.crt", "127.0.0.1", REFUSED),
    ("require", None, "127.0.0.1", ACCEPTED),
    ("require", "right.crt", "127.0.0.1", ACCEPTED),
    # With a root certificate, require is verify-ca.
    ("require", "wrong.crt", "localhost", REFUSED),
    ("require", "missing.crt", "localhost", ACCEPTED),
    ("prefer", None, "localhost", ACCEPTED),
    ("prefer", "right.crt", "localhost", ACCEPTED),
    # Not trusted, so sslmode=prefer falls back to a connection without TLS.
    ("prefer", "wrong.crt", "localhost", ACCEPTED),
    ("allow", None, "localhost", ACCEPTED),
    ("disable", None, "localhost", ACCEPTED),
    (None, None, "localhost", ACCEPTED),
]


@pytest.mark.parametrize("case", TLS_CASES, ids=str)
@pytest.mark.parametrize("user", ["loader", "encrypted", "plain"])
def test_each_sslmode_connects_as_libpq_does(compare, database, files, case, user):
    mode, root, host, want = case
    options = {"sslmode": mode} if mode else {}
    if root:
        options["sslrootcert"] = files(root)
    got = compare(database(options, HOST=host, USER=user))
    if user == "loader":
        assert (got == REFUSED) == (want == REFUSED)
    elif got != REFUSED:
        is_encrypted = got[-3]
        assert is_encrypted == (user == "encrypted")


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_root_certificate_in_home(compare, database, files, tmp_path, mode):
    (tmp_path / ".postgresql").mkdir()
    root = tmp_path / ".postgresql" / "root.crt"
    os.link(files("right.crt"), root)
    assert compare(database({"sslmode": mode})) != REFUSED
    root.unlink()
    os.link(files("wrong.crt"), root)
    assert compare(database({"sslmode": mode})) == REFUSED


def test_system_authorities_do_not_know_ours(compare, database):
    assert compare(database({"sslrootcert": "system"})) == REFUSED


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-full"])
def test_tls_does_not_concern_a_unix_socket(compare, database, server, files, mode):
    options = {"sslmode": mode, "sslrootcert": files("wrong.crt")}
    assert compare(database(options, HOST=str(server.folder))) != REFUSED


@pytest.mark.parametrize(("name", "want"), [("none.crl", ACCEPTED), ("revoked.crl", REFUSED)])
def test_revocation_list(compare, database, files, name, want):
    options = {
        "sslmode": "verify-full",
        "sslrootcert": files("right.crt"),
        "sslcrl": files(name),
    }
    assert (compare(database(options)) == REFUSED) == (want == REFUSED)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_tls_version(compare, database, version):
    options = {"sslmode": "require", "ssl_min_protocol_version": version}
    got = compare(database({**options, "ssl_max_protocol_version": version}))
    assert got[-2] == version


class TestClientCertificate:
    @pytest.fixture
    def options(self, files):
        return {
            "sslmode": "require",
            "sslcert": files("certified.crt"),
            "sslkey": files("certified.key"),
        }

    def test_is_let_in(self, compare, database, options):
        got = compare(database(options, USER="certified", PASSWORD=""))
        assert "/CN=certifie" in got[-1]  # the view cuts it

    def test_of_another_user(self, compare, database, options):
        assert compare(database({**options}, USER="plain", PASSWORD="")) == REFUSED

    def test_of_another_authority(self, compare, database, files):
        options = {"sslcert": files("plain.crt"), "sslkey": files("plain.key")}
        entry = database({**options, "sslmode": "require"}, USER="certified", PASSWORD="")
        assert compare(entry) == REFUSED

    def test_is_missing(self, compare, database):
        assert compare(database({"sslmode": "require"}, USER="certified", PASSWORD="")) == REFUSED

    def test_is_not_presented(self, compare, database, options):
        entry = database({**options, "sslcertmode": "disable"}, USER="certified", PASSWORD="")
        assert compare(entry) == REFUSED

    def test_with_a_password_on_the_key(self, compare, database, options, tmp_path):
        encrypt(tmp_path / "certified.key", "sesame")
        entry = database({**options, "sslpassword": "sesame"}, USER="certified", PASSWORD="")
        assert compare(entry) != REFUSED

    @pytest.mark.parametrize("password", [{}, {"sslpassword": "barley"}])
    def test_with_the_wrong_password_on_the_key(
        self, add_alias, database, options, tmp_path, password
    ):
        encrypt(tmp_path / "certified.key", "sesame")
        alias = add_alias(database({**options, **password}, USER="certified", PASSWORD=""))
        assert "The database option sslkey=" in str(refusal(alias))

    def test_with_a_key_that_others_may_read(self, add_alias, database, options, tmp_path):
        (tmp_path / "certified.key").chmod(0o644)
        alias = add_alias(database(options, USER="certified", PASSWORD=""))
        assert str(refusal(alias)).endswith("others may read it. Take that away: chmod 600.")


def test_direct_tls_with_a_server_of_another_protocol(compare, database, server_certificate):
    # It has the right certificate, but does not confirm PostgreSQL's protocol (ALPN).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate.configure_cert(context)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            for _ in range(2):  # Django's connection, and ours
                plain, _ = listening.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, True) as secure:
                    secure.settimeout(5)
                    heard.append(secure.recv(9))

        thread = threading.Thread(target=answer)
        thread.start()
        port = str(listening.getsockname()[1])
        options = {"sslmode": "require", "sslnegotiation": "direct"}
        assert compare(database(options, PORT=port)) == REFUSED
        thread.join()
    assert b"".join(heard) == b""
