"""Translates both drivers' errors into ours, with messages for the user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import psycopg
from django.db import DatabaseError

from ingest.exceptions import (
    NOTHING_LOADED,
    ConnectionFailed,
    ConstraintRefused,
    IngestError,
    Outcome,
    ServerFailed,
)
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Sequence


SERVERS_OWN = (
    *("00", "01", "02", "03", "08", "25", "26", "28", "3D", "40", "53", "55P03", "57", "58"),
    *("F0", "XX001", "XX002"),
)
"""SQLSTATEs, or their beginnings, that are never about a row but about the server, the connection
or the transaction: a lost connection, a deadlock, a full disk, too little memory, a lock or a
statement that took too long, an administrator's command. Any other may be about a row, because
triggers, checks and casts can raise any.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
OF_STATEMENT = ("0A", "2F", "3F", "42", "55", "HV", "XX")
"""SQLSTATEs that are mostly about the whole statement: a missing right, an unknown function."""
_CURES = {
    "23503": "Load the referenced rows first, or fix the value.",
    "23505": "Remove the record, or change its key. To update rows that are already in the table, "
    "use on_conflict='upsert' (--on-conflict upsert).",
    "23502": "Give the column a value.",
}

_READ_ONLY = "25006"
"""The SQLSTATE of a write on a standby, or in a read-only session."""

_LINE_OF_COPY = re.compile(r"^COPY .+, .*\d", re.MULTILINE)
_COLUMN_OF_COPY = re.compile(r"^COPY .+, [^,]*\d+, \S+ (.+?)(?:: .*)?$", re.MULTILINE)
"""Matches ``COPY t, line 2, column mood``: the words are in the server's language, but their order
is always the same."""


def state_patterns(states: Sequence[str]) -> str:
    """Return the SQL for an array of patterns for LIKE, one for the beginning of each SQLSTATE."""
    return f"'{{{','.join(f'{state}%' for state in states)}}}'::pg_catalog.text[]"


def explain(error: BaseException) -> ConstraintRefused | None:
    """Return a driver's error about a row as ours, or None if it is not about a row.

    It does not find the row: ``refused_rows`` does.
    """
    state, message, detail, context, constraint, _ = _facts(error)
    if state is None or not may_be_of_row(error):
        return None
    if state.startswith(OF_STATEMENT) and not _LINE_OF_COPY.search(context or ""):
        return None
    return refusal_error(state, "a record", str(message), detail or "", constraint or "")


def refusal_error(
    state: str, where: str, message: str, detail: str, constraint: str, cure: str = ""
) -> ConstraintRefused:
    """Return the error for a row that PostgreSQL refused; ``where`` names the row.

    ``cure`` replaces the usual advice.
    """
    parts = [f"{where}: {message}"]
    if detail:
        parts.append(detail)
    if constraint and constraint not in message:
        parts.append(f"Constraint: {constraint}.")
    if cure or state in _CURES:
        parts.append(cure or _CURES[state])
    parts = [safe_line(part) for part in parts]  # a value in it may have line ends
    sentence = " ".join(part if part.endswith(".") else f"{part}." for part in parts)
    return ConstraintRefused(f"PostgreSQL refused {sentence}")


def may_be_of_row(error: BaseException) -> bool:
    """Return whether a driver's error may be about a row, not only about the server."""
    state = _facts(error)[0]
    return state is not None and not state.startswith(SERVERS_OWN)


class RowError(NamedTuple):
    """PostgreSQL's error about a row of a COPY."""

    state: str | None
    """The SQLSTATE."""
    place: int | None
    """The place of the row, if it is known."""
    message: str = ""
    detail: str = ""
    constraint: str = ""
    column: str = ""
    """The column whose value is invalid for its type, or missing."""


def refusal_of(error: BaseException, table: str, places: Sequence[int]) -> RowError:
    """Return the error of a COPY into this table, which sent the rows of ``places``."""
    state, message, detail, context, constraint, missing = _facts(error)
    column = _COLUMN_OF_COPY.search(context or "")
    return RowError(
        state,
        _place(context, table, places),
        message or "",
        detail or "",
        constraint or "",
        column[1] if column else missing or "",
    )


def _facts(error: BaseException) -> tuple[str | None, ...]:
    if isinstance(error, asyncpg.PostgresError):
        names = ("sqlstate", "message", "detail", "context", "constraint_name", "column_name")
        facts = [getattr(error, name, None) for name in names]
        # An error that asyncpg raises before it sends has no message of PostgreSQL's.
        facts[1] = facts[1] or str(error)
        return tuple(facts)
    if isinstance(error, psycopg.Error):
        said = error.diag
        return (
            said.sqlstate,
            said.message_primary,
            said.message_detail,
            said.context,
            said.constraint_name,
            said.column_name,
        )
    return (None,) * 6


def _place(context: str | None, table: str, places: Sequence[int]) -> int | None:
    """Find the row's number in ``COPY name, line 3``; "line" is in the server's language."""
    start = f"COPY {table}, "
    for line in (context or "").splitlines():
        if line.startswith(start):
            found = re.search(r"\d+", line.removeprefix(start))
            if found and 0 < int(found[0]) <= len(places):
                return places[int(found[0]) - 1]
    return None


PASSING = ("08", "40", "57P01", "57P02", "57P03", "53300")
"""SQLSTATEs of errors that may not occur again, whatever the rows: a lost connection, a
serialization failure or deadlock, a server that stops or starts, too many connections.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""


def translate(error: Exception) -> Exception:
    """Return a driver's error as ours; any other error is returned as it is."""
    if isinstance(error, IngestError):
        return error
    if isinstance(error, DatabaseError) and isinstance(error.__cause__, psycopg.Error):
        return translate(error.__cause__)  # Django wraps psycopg's error
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
        said = _text_of(error).strip().rstrip(".")
        cure = ""
        if error.sqlstate == _READ_ONLY:
            cure = " Name a database that can be written: --database ALIAS (using=)."
        failure = ServerFailed(f"PostgreSQL could not continue: {said}.{cure}")
        failure.sqlstate = error.sqlstate
        return failure
    return error


def _text_of(error: asyncpg.PostgresError | psycopg.Error) -> str:
    """Return the message, the detail and the hint, without the statement, which is ours."""
    said = getattr(error, "diag", None)
    if said is None or not said.message_primary:
        return str(error)  # asyncpg's has no more than these
    more = {"DETAIL": said.message_detail, "HINT": said.message_hint}
    return "\n".join([said.message_primary, *(f"{k}:  {v}" for k, v in more.items() if v)])


def is_passing(error: BaseException) -> bool:
    """Return whether the same load may succeed if it is retried."""
    if isinstance(error, ConnectionFailed):
        cause = error.__cause__
        # A refused login will be refused again, except by a server that starts or stops.
        is_refusal = isinstance(cause, asyncpg.PostgresError)
        return not is_refusal or _state(cause).startswith(PASSING)
    if isinstance(error, ServerFailed):  # without a cause it is from a worker, which has retried
        return error.__cause__ is not None and is_passing(error.__cause__)
    if isinstance(error, DatabaseError) and error.__cause__ is not None:
        return is_passing(error.__cause__)
    return _is_lost(error) or _state(error).startswith(PASSING)


def tell(error: BaseException, outcome: Outcome, text: str) -> None:
    """Add the outcome of the load to an error's message, or to that of Ctrl-C."""
    if isinstance(error, IngestError):
        error.with_outcome(outcome, text)
    elif isinstance(error, KeyboardInterrupt):
        error.args = (f"{error} {text}".lstrip(), *error.args[1:])


def brief(error: BaseException) -> str:
    """Return a database error in one line, without the piece of SQL that PostgreSQL quotes."""
    found = getattr(getattr(error.__cause__ or error, "diag", None), "message_primary", None)
    first = str(error).partition("\n")[0].removeprefix("connection failed: ")
    return safe_line(found or first).rstrip(".")


def _is_lost(error: BaseException) -> bool:
    """Return whether the error is psycopg's for a lost connection."""
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def is_of_statement(error: BaseException) -> bool:
    """Return whether PostgreSQL refused a statement for any rows: a right, a kind of table."""
    return any(_state(each).startswith("42") for each in (error, error.__cause__))


def _state(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")
