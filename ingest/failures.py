"""What may be tried again, and what a failure leaves behind."""

from __future__ import annotations

import asyncpg
import psycopg
from django.db import DatabaseError

from ingest.exceptions import (
    NOTHING_LOADED,
    ConnectionFailed,
    IngestError,
    Outcome,
    ServerFailed,
)
from ingest.refusals import explain

PASSING = ("08", "40", "57P01", "57P02", "57P03", "53300")
"""SQLSTATEs that say nothing of the rows and may be otherwise the next time: a lost connection, a
serialization failure or deadlock, a server that stops or starts, too many connections.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def translate(error: Exception) -> Exception:
    """Give what a driver raised as ours; anything else is given back."""
    if isinstance(error, IngestError):
        return error
    if isinstance(error, DatabaseError) and isinstance(error.__cause__, psycopg.Error):
        return translate(error.__cause__)  # what Django's connection said
    if isinstance(error, MemoryError):  # Arrow's too
        return IngestError("There is too little memory to go on.").with_outcome(
            Outcome.NOTHING, NOTHING_LOADED
        )
    refusal = explain(error)
    if refusal is not None:
        return refusal
    if _is_lost(error):
        said = str(error).strip().splitlines()[0].rstrip(".")
        return ConnectionFailed(f"The connection to PostgreSQL was lost: {said}.").with_outcome(
            Outcome.NOTHING, NOTHING_LOADED
        )
    if isinstance(error, asyncpg.PostgresError | psycopg.Error):
        said = str(error).strip().rstrip(".")
        return ServerFailed(f"PostgreSQL could not go on: {said}.")
    return error


def is_passing(error: BaseException) -> bool:
    """Say whether the same load might succeed when it is tried again."""
    if isinstance(error, ConnectionFailed):
        cause = error.__cause__
        # Who was not let in will not be let in; a server that starts or stops is another matter.
        is_refusal = isinstance(cause, asyncpg.PostgresError)
        return not is_refusal or _state(cause).startswith(PASSING)
    if isinstance(error, ServerFailed | DatabaseError) and error.__cause__ is not None:
        return is_passing(error.__cause__)
    return _is_lost(error) or _state(error).startswith(PASSING)


def tell(error: BaseException, outcome: Outcome, text: str) -> None:
    """Let an error, or Ctrl-C, say what is in the table."""
    if isinstance(error, IngestError):
        error.with_outcome(outcome, text)
    elif isinstance(error, KeyboardInterrupt):
        error.args = (f"{error} {text}".lstrip(), *error.args[1:])


def _is_lost(error: BaseException) -> bool:
    """Does psycopg say that there is no connection any more?"""
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def _state(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")
