"""Time limits for statements."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from django.db import OperationalError, connections, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERY_CANCELED = "57014"
"""PostgreSQL's SQLSTATE of a statement that took longer than statement_timeout."""


class TookTooLong(Exception):  # noqa: N818 - it says what happened
    """A statement exceeded its time limit."""


@contextlib.contextmanager
def time_limit(alias: str, milliseconds: int) -> Iterator[None]:
    """Limit the time of each statement in the block; raise ``TookTooLong`` if one exceeds it."""
    connection = connections[alias]
    is_inside = connection.in_atomic_block
    try:
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('statement_timeout'), "
                "set_config('statement_timeout', %s, true)",
                [str(milliseconds)],
            )
            before, _ = cursor.fetchone()
            yield
            if is_inside:  # the surrounding transaction continues under its own limit
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == QUERY_CANCELED:
            raise TookTooLong from error
        raise
