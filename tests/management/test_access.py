"""A server that is away, and a ledger that is not there, are told in one line."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

MODES = [
    ["--list"],
    ["--undo", "1", "--no-input"],
    ["--resume", "1"],
    ["--forget-loads", "--older-than", "90d"],
]


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        call_command("bulk_load", *arguments, stdout=io.StringIO(), stderr=io.StringIO())
    assert caught.value.returncode in {1, 2}
    return str(caught.value)


@pytest.fixture
def away(add_alias, django_db_setup, django_db_blocker):
    """An alias whose server does not exist."""
    entry = {**connection.settings_dict, "ENGINE": "django.db.backends.postgresql"}
    with django_db_blocker.unblock():
        yield add_alias({**entry, "HOST": "127.0.0.1", "PORT": "1", "OPTIONS": {}}, "away")


@pytest.mark.parametrize("mode", [*MODES, ["--benchmark", "finance.Account"]], ids=" ".join)
def test_no_server(away, mode):
    got = refused(*mode, "--database", away)
    assert got.startswith("Cannot connect to the database of DATABASES['away']: ")
    assert got.endswith("Check its settings, and that PostgreSQL is running.")
    assert "\n" not in got


@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_no_tables(mode):
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA empty; SET LOCAL search_path = empty")
    assert refused(*mode) == (
        "The ledger's tables do not exist in the database of DATABASES['default']: run "
        "`python manage.py migrate`."
    )


@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_no_permission(mode):
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE reads_nothing; SET LOCAL ROLE reads_nothing")
    assert refused(*mode) == (
        "The ledger in the database of DATABASES['default'] cannot be read: permission denied for "
        "table ingest_load."
    )


def test_an_alias_that_does_not_exist():
    assert "nobody" not in connections
    got = refused("--list", "--database", "nobody")
    assert got == "There is no database 'nobody' in DATABASES."


@pytest.mark.django_db
def test_a_saved_layout_without_tables():
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA empty; SET LOCAL search_path = empty")
    got = refused("finance.Account", "-", "--layout", "saved:bank")
    assert got == (
        "The saved layout 'bank' cannot be read: relation \"ingest_savedlayout\" does not exist."
    )
