"""Schemas of their own for the tables of tests."""

from contextlib import contextmanager

from django.db import connection

from tests.sql import run


@contextmanager
def fresh_schema(name):
    run(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    run(f"CREATE SCHEMA {name}")
    yield
    run(f"DROP SCHEMA {name} CASCADE")


@contextmanager
def in_schema(name):
    """Give a cursor of Django's connection with the schema first in the search path."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = {name}, public")
        try:
            yield cursor
        finally:
            cursor.execute("RESET search_path")
