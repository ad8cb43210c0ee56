"""Checks that Django's connection reaches the database and the ledger, before they are used."""

from __future__ import annotations

from django.db import DatabaseError, connections

from ingest.exceptions import ConfigurationError, ConnectionFailed, LedgerError, did_you_mean
from ingest.ledger.models import Load
from ingest.postgres.errors import brief

UNDEFINED_TABLE = "42P01"


def check_connection(alias: str) -> None:
    """Raise ``ConnectionFailed`` if Django cannot connect to the database of this alias."""
    if alias not in connections:
        raise ConfigurationError(
            f"There is no database {alias!r} in DATABASES.{did_you_mean(alias, connections)}"
        )
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        raise ConnectionFailed(
            f"Cannot connect to the database of DATABASES[{alias!r}]: {brief(error)}. Check its "
            "settings, and that PostgreSQL is running."
        ) from error


def check_ledger(alias: str) -> None:
    """Raise ``LedgerError`` if the ledger in this database cannot be read."""
    check_connection(alias)
    try:
        Load.objects.using(alias).exists()
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) == UNDEFINED_TABLE:
            raise LedgerError(
                f"The ledger's tables do not exist in the database of DATABASES[{alias!r}]: run "
                "`python manage.py migrate`."
            ) from error
        raise LedgerError(
            f"The ledger in the database of DATABASES[{alias!r}] cannot be read: {brief(error)}."
        ) from error
