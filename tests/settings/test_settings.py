import os
import re

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from settings.embedded import base, folder, programs

SHOW = "from django.conf import settings; print(settings.DATABASES['default'])"
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "settings.production",
    "SECRET_KEY": "x",
    "ALLOWED_HOSTS": "a.example, b.example",
    "DATABASE_URL": "postgres://me:p%40ss@db.example:5433/bank?sslmode=verify-full",
}


@pytest.fixture
def embedded():
    """A connection to the embedded server without the option that allows it."""
    wrapper = base.DatabaseWrapper({**connection.settings_dict, "OPTIONS": {}}, "other")
    yield wrapper
    wrapper.close()


def test_refused_with_debug_off(embedded, settings):
    settings.DEBUG = False
    with pytest.raises(ImproperlyConfigured) as caught:
        embedded.get_connection_params()
    assert str(caught.value) == (
        "The embedded PostgreSQL is for development, and DEBUG is off: it takes whoever reaches "
        "its socket for a superuser, without a password, and it stops with the last process that "
        "uses it. Set DATABASE_URL to a server of your own."
    )


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="the tests run on another server")
def test_psycopg_does_not_see_the_option_that_allows_it():
    assert "allow_without_debug" not in connection.get_connection_params()


def test_refused_in_a_process_of_its_own(home):
    got = home.run(
        "-c",
        "import django; django.setup(); from django.conf import settings\n"
        "settings.DEBUG = False\nfrom django.db import connection; connection.connect()",
    )
    assert "ImproperlyConfigured: The embedded PostgreSQL is for development" in got.stderr
    assert list(home.folder.iterdir()) == []


def test_database_url_switches_to_any_server(home):
    got = home.run("-c", SHOW, DATABASE_URL=PRODUCTION["DATABASE_URL"]).stdout
    assert "'ENGINE': 'django.db.backends.postgresql'" in got
    for part in ("'HOST': 'db.example'", "'PORT': 5433", "'PASSWORD': 'p@ss'", "verify-full"):
        assert part in got


def test_without_database_url_it_is_the_embedded_one(home):
    assert "'ENGINE': 'settings.embedded'" in home.run("-c", SHOW).stdout
    assert "'ENGINE': 'settings.embedded'" in home.run("-c", SHOW, DATABASE_URL="").stdout


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL"])
def test_production_needs(home, name):
    got = home.run("manage.py", "check", **PRODUCTION | {name: ""})
    want = f"ImproperlyConfigured: settings.production needs the environment variable {name}."
    assert got.stderr.strip().endswith(want)


def test_production_passes_its_checks(home):
    code = "from django.conf import settings; print(settings.DEBUG, settings.ALLOWED_HOSTS)"
    got = home.run("-c", code, **PRODUCTION)
    assert got.stdout.strip() == "False ['a.example', 'b.example']"
    assert home.run("manage.py", "check", **PRODUCTION).returncode == 0


def test_an_unknown_version(monkeypatch):
    monkeypatch.setenv("PGSERVER_POSTGRES_VERSION", "17")
    with pytest.raises(ImproperlyConfigured) as caught:
        programs.chosen_version()
    assert str(caught.value) == (
        "PGSERVER_POSTGRES_VERSION is '17', but the embedded PostgreSQL comes in versions "
        "18 and 16."
    )


def unsafe_link(path):
    path.with_name("other").mkdir()
    path.symlink_to(path.with_name("other"))


def unsafe_mode(path):
    path.mkdir()
    path.chmod(0o777)


def unsafe_file(path):
    path.touch()


def unsafe_parent(path):
    path.mkdir()
    path.parent.chmod(0o777)


def unsafe_owner(path):
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "prepare", [unsafe_link, unsafe_mode, unsafe_file, unsafe_parent, unsafe_owner]
)
def test_an_unsafe_folder_is_refused(tmp_path, monkeypatch, prepare):
    path = tmp_path / "data"
    prepare(path)
    monkeypatch.setenv("INGEST_EMBEDDED_DATA", str(path))
    with pytest.raises(ImproperlyConfigured, match=re.escape(f"will not use {path}: it must be")):
        folder.prepare_home()


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INGEST_EMBEDDED_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(ImproperlyConfigured, match="Set INGEST_EMBEDDED_DATA to a folder of your"):
        folder.prepare_home()


def test_a_new_folder_is_closed_whatever_the_umask(tmp_path, monkeypatch):
    monkeypatch.setenv("INGEST_EMBEDDED_DATA", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        made = folder.prepare_home()
    finally:
        os.umask(before)
    for path in (made, made.parent):
        assert path.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)


def test_each_user_and_each_copy_of_the_project_has_a_folder(monkeypatch):
    first = folder.default_home()
    monkeypatch.setattr(folder, "PROJECT", folder.PROJECT / "copy")
    second = folder.default_home()
    assert first.parent == second.parent
    assert first != second
