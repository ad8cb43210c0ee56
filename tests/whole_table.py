"""A table with all its facts, as `direct` reads it."""

from ingest.postgres.catalog import find_table, read_table


def whole_table(session, model):
    return read_table(session, find_table(session, model._meta.db_table))
