"""Entries of DATABASES that last for one test."""

import os

import pytest

from ingest.exceptions import ConnectionOptionError
from ingest.postgres.connection import connection_arguments


@pytest.fixture(autouse=True)
def no_personal_settings(monkeypatch, tmp_path):
    """Hide the developer's own ~/.pgpass, ~/.postgresql and PG… variables."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def alias(add_alias):
    """Make an alias for a server that does not exist; the arguments change its entry."""

    def make(options=None, /, **changed):
        entry = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "bank",
            "USER": "loader",
            "PASSWORD": "sesame",
            "HOST": "example.org",
        }
        return add_alias(entry | changed | {"OPTIONS": options or {}})

    return make


@pytest.fixture
def translate(alias):
    return lambda options=None, /, **changed: connection_arguments(alias(options, **changed))


@pytest.fixture
def refusal(translate):
    """Return the text of the error that an entry causes."""

    def refusal(options=None, /, **changed):
        with pytest.raises(ConnectionOptionError) as caught:
            translate(options, **changed)
        return str(caught.value)

    return refusal
