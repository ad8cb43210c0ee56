"""Schemas of their own for the tables of tests."""

from contextlib import contextmanager

from tests.sql import run


@contextmanager
def fresh_schema(name):
    run(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    run(f"CREATE SCHEMA {name}")
    yield
    run(f"DROP SCHEMA {name} CASCADE")
