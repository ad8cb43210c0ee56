"""SQL of the tests, over Django's connection."""

from django.db import connection


def run(sql, *values):
    """Run SQL, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []
