"""The system checks, as `manage.py check` runs them: exact texts, and no unnecessary connection."""

import importlib
import os
import types
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection, connections
from django.db.backends.postgresql import base
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from ingest import conf
from ingest.migrations import __path__ as MIGRATIONS  # noqa: N812 - a constant to this module
from tests.sql import run

NOWHERE = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": "1"}
ROOT = Path(__file__).parent.parent
ROLE = f"checks_test_{os.getpid()}"


class Everything:
    """Routes all models to one alias, and allows or refuses ingest's tables."""

    alias = "tried"
    is_ledger_allowed = True

    def db_for_write(self, *_args, **_hints):
        return self.alias

    def allow_migrate(self, _alias, app_label, **_hints):
        return self.is_ledger_allowed if app_label == "ingest" else None


class Nothing(Everything):
    is_ledger_allowed = False


class DatabaseWrapper(base.DatabaseWrapper):
    """A backend for PostgreSQL with an older driver; it is never opened."""

    Database = types.ModuleType("psycopg2")


def routed(router):
    return override_settings(DATABASE_ROUTERS=[f"{__name__}.{router.__name__}"])


def checked(*databases, deploy=False):
    """Return the id, message and hint of each of ingest's checks that warns."""
    found = run_checks(tags=["ingest"])
    if databases:
        found += run_checks(
            tags=["database"], databases=databases, include_deployment_checks=deploy
        )
    return [(each.id, each.msg, each.hint) for each in found]


def ledger_migrations():
    [folder] = MIGRATIONS
    return sorted(name[:-3] for name in os.listdir(folder) if name[0].isdigit())  # noqa: PTH208


@pytest.fixture
def unblocked(django_db_setup, django_db_blocker):
    """Let a test use aliases that it made: the mark allows only those that existed before."""
    with django_db_blocker.unblock():
        yield


@pytest.mark.parametrize("tags", [None, ["ingest"]])
def test_without_a_database_named_none_is_asked(tags):
    found = run_checks(tags=tags)  # pytest-django refuses any connection here
    assert [each for each in found if each.id.startswith("ingest.")] == []


@override_settings(INGEST={"CHUNK_ROW": 5, "REJECTS": 5, "colour": "red", "REJECTS_KEPT": -1})
def test_unknown_and_invalid_settings_are_reported():
    known = f"There are: {', '.join(conf.SETTINGS)}."
    assert checked() == [
        (
            "ingest.W001",
            "INGEST has no setting 'CHUNK_ROW'.",
            f"Did you mean 'CHUNK_ROWS'? {known}",
        ),
        (
            "ingest.W001",
            "INGEST has no setting 'REJECTS'.",
            f"Did you mean 'REJECTS_KEPT'? {known}",
        ),
        ("ingest.W001", "INGEST has no setting 'colour'.", known),
        (
            "ingest.W002",
            "INGEST['REJECTS_KEPT'] is -1.",
            "Set it to a whole number from 0 upwards.",
        ),
    ]


@override_settings(INGEST=None)
def test_settings_that_are_no_dict():
    assert checked() == [
        (
            "ingest.W002",
            "INGEST is None, which is not a dict.",
            (f"Set it to a dict of {', '.join(conf.SETTINGS)}, or leave it out."),
        )
    ]


def test_an_alias_that_is_not_postgresql(add_alias):
    add_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
    assert checked() == []  # nothing is written there
    with routed(Everything):
        assert checked() == [
            (
                "ingest.W003",
                (
                    "DATABASES['tried'] has the engine django.db.backends.sqlite3: "
                    "no load can go there."
                ),
                "Use a PostgreSQL database for the models that are to be loaded.",
            )
        ]
        assert [each[0] for each in checked("tried")] == ["ingest.W003"]


def test_an_alias_that_is_not_psycopg_3(add_alias):
    add_alias(NOWHERE)
    connections["tried"] = DatabaseWrapper(connections["tried"].settings_dict, "tried")
    with routed(Everything):
        assert checked() == [
            (
                "ingest.W004",
                "DATABASES['tried'] uses psycopg2: no load can go there.",
                "Use psycopg 3.",
            )
        ]


@pytest.mark.usefixtures("unblocked")
def test_an_alias_that_is_too_old(add_alias, monkeypatch):
    alias = add_alias(connection.settings_dict, "ancient")
    monkeypatch.setattr(connections[alias].features, "minimum_database_version", (99,))
    server = connection.display_name
    found = ".".join(map(str, divmod(connection.pg_version, 10_000)))
    assert checked(alias) == [
        (
            "ingest.W005",
            f"DATABASES['ancient'] is too old: {server} 99 or later is required (found {found}).",
            "Upgrade the server.",
        )
    ]


@pytest.mark.usefixtures("unblocked")
def test_an_alias_that_cannot_be_reached(add_alias):
    alias = add_alias(NOWHERE | {"NAME": "bank", "USER": "loader", "PASSWORD": "sesame"})
    assert checked() == []
    assert connections[alias].connection is None
    [(number, message, hint)] = checked(alias)
    assert number == "ingest.W006"
    assert message.startswith(
        "DATABASES['tried'] could not be asked what loads need: "
        'connection failed: connection to server at "127.0.0.1", port 1 failed: '
    )
    assert message.endswith("Connection refused.")
    assert "sesame" not in message
    assert hint == "See that PostgreSQL is running and that the alias's settings reach it."


@pytest.mark.django_db
def test_an_alias_that_has_all():
    assert checked("default") == []


@pytest.mark.usefixtures("unblocked")
def test_routers_that_keep_the_ledger_out(add_alias):
    alias = add_alias(connection.settings_dict)
    with routed(Nothing):
        assert checked(alias) == [
            (
                "ingest.W007",
                (
                    "The routers keep ingest's tables out of DATABASES['tried']: "
                    "a load there is not recorded."
                ),
                (
                    "Let allow_migrate('tried', 'ingest') be true in DATABASE_ROUTERS, "
                    "then run manage.py migrate ingest --database=tried"
                ),
            )
        ]
        assert checked("default") == []  # nothing of the project's is written there


@pytest.mark.django_db
def test_migrations_that_are_not_applied():
    for name in ledger_migrations():
        MigrationRecorder(connection).record_unapplied("ingest", name)
    assert checked("default") == [
        (
            "ingest.W008",
            (
                f"DATABASES['default'] lacks ingest's migrations {', '.join(ledger_migrations())}: "
                "a load there is not recorded."
            ),
            "Run manage.py migrate ingest --database=default",
        )
    ]


@pytest.mark.django_db
def test_nothing_is_said_of_a_database_that_was_never_migrated():
    MigrationRecorder(connection).flush()
    assert checked("default") == []


@pytest.mark.django_db
def test_migrations_that_passed_while_the_routers_kept_the_tables_out():
    run("DROP TABLE ingest_reject")
    assert checked("default") == [
        (
            "ingest.W008",
            (
                "DATABASES['default'] lacks ingest's tables, though their migrations have been "
                "applied: a load there is not recorded."
            ),
            (
                "Run manage.py migrate ingest zero --fake --database=default "
                "and then manage.py migrate ingest --database=default"
            ),
        )
    ]


@pytest.mark.django_db
def test_a_role_that_may_not_leave_out_triggers():
    run(f"CREATE ROLE {ROLE}; GRANT SELECT ON django_migrations TO {ROLE}")
    run(f"SET LOCAL ROLE {ROLE}")
    if connection.pg_version < 150000:
        reason = "only a superuser may set session_replication_role before PostgreSQL 15."
    else:
        reason = (
            "the role may not set session_replication_role: "
            f'GRANT SET ON PARAMETER session_replication_role TO "{ROLE}".'
        )
    assert checked("default") == []  # `migrate` and the test runner do not mention it
    [(number, message, hint)] = checked("default", deploy=True)
    assert number == "ingest.W009"
    assert message == (
        "Loads into DATABASES['default'] leave foreign keys to PostgreSQL, which checks them "
        f"row by row: {reason}"
    )
    assert hint.startswith("Loads are correct without this right.")
    assert "silence ingest.W009" in hint
    section = '"The right to check foreign keys as a set" in docs/other-apps.md'
    assert section in hint
    page = (ROOT / "docs" / "other-apps.md").read_text(encoding="utf-8")
    assert "## The right to check foreign keys as a set\n" in page


@pytest.mark.django_db
def test_the_named_grant_helps():
    if connection.pg_version < 150000:
        pytest.skip("GRANT ON PARAMETER came with PostgreSQL 15")
    run(f"CREATE ROLE {ROLE}; GRANT SELECT ON django_migrations TO {ROLE}")
    run(f"GRANT SET ON PARAMETER session_replication_role TO {ROLE}; SET LOCAL ROLE {ROLE}")
    assert checked("default", deploy=True) == []


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"RUNNER": "process"}, None),
        ({"RUNNER": "tasks"}, None),
        ({"RUNNER": "tests.admin.uploads.runners.at_once"}, None),
        ({"RUNNER": "tests.admin.uploads.runners.gone"}, "there is no such function"),
        ({"RUNNER": "tests.nowhere.at_once"}, "there is no such function"),
        ({"RUNNER": "nowhere.tasks.at_once"}, "there is no such function"),
        ({"UPLOAD_FOLDER": "/media/uploads"}, "is below MEDIA_ROOT"),
    ],
)
def test_who_performs_loads_and_where_files_are_kept(given, want):
    importlib.import_module("tests.admin.uploads.runners")
    with override_settings(INGEST=given, MEDIA_ROOT="/media"):
        found = checked()
    assert [(each, want in text) for each, text, _ in found] == (
        [] if want is None else [("ingest.W010" if "MEDIA" in want else "ingest.W011", True)]
    )


def test_a_storage_whose_files_may_be_served(settings):
    backend = "django.core.files.storage.FileSystemStorage"
    settings.MEDIA_ROOT = "/media"
    settings.STORAGES = {**settings.STORAGES, "ingest": {"BACKEND": backend}}
    assert checked() == [
        (
            "ingest.W010",
            (
                "STORAGES['ingest'] keeps files in /media, which is below MEDIA_ROOT, whose files "
                "the web server may serve."
            ),
            "Set its OPTIONS['location'] to another folder.",
        )
    ]
    elsewhere = {"BACKEND": backend, "OPTIONS": {"location": "/elsewhere"}}
    settings.STORAGES = {**settings.STORAGES, "ingest": elsewhere}
    assert checked() == []


@pytest.mark.parametrize(
    ("name", "want"),
    [("process", ["ingest.W012"]), ("tests.admin.uploads.runners.at_once", [])],
)
def test_a_storage_in_memory_that_another_process_cannot_read(settings, name, want):
    importlib.import_module("tests.admin.uploads.runners")
    backend = "django.core.files.storage.InMemoryStorage"
    settings.INGEST = {"RUNNER": name}
    settings.STORAGES = {**settings.STORAGES, "ingest": {"BACKEND": backend}}
    assert [each for each, _, _ in checked()] == want
