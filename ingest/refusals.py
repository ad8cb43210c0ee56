"""What PostgreSQL says when it refuses a row, from either driver, in words for the user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import psycopg

from ingest.exceptions import ConstraintRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.table import Table

SERVERS_OWN = (
    *("00", "01", "02", "03", "08", "0A", "25", "26", "28", "2B", "2D", "34", "3D", "3F", "40"),
    *("42", "53", "54", "55", "57", "58", "F0", "HV", "XX"),
)
"""Classes of SQLSTATE that speak of the server or the statement, and never of a row. Any other
may: a trigger raises what it likes.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_CURES = {
    "23503": "Load the referenced rows first, or mend the value.",
    "23505": "Take the record out, or change its key.",
    "23502": "Give the column a value.",
}


def explain(
    error: BaseException, table: Table | None = None, records: Sequence[int] = ()
) -> ConstraintRefused | None:
    """Turn a driver's error about a row into ours, or give None where it is about something else.

    ``records`` are the record numbers of the rows that the COPY had; the number of the refused one
    is then named.
    """
    state, message, detail, context, constraint = _facts(error)
    if state is None or state[:2] in SERVERS_OWN:
        return None
    record = _record(context, table, records)
    parts = [f"record {record:,}: {message}" if record else str(message)]
    if detail:
        parts.append(str(detail))
    if constraint and constraint not in str(message):
        parts.append(f"Constraint: {constraint}.")
    if state in _CURES:
        parts.append(_CURES[state])
    sentence = " ".join(part if part.endswith(".") else f"{part}." for part in parts)
    return ConstraintRefused(f"PostgreSQL refused {sentence} Nothing was loaded.")


class Refusal(NamedTuple):
    """What PostgreSQL says of the row that it refused of a COPY."""

    state: str | None
    """The SQLSTATE."""
    place: int | None
    """Which of the rows it was, where that is known."""


def refusal_of(error: BaseException, places: Sequence[int]) -> Refusal:
    """Read the refusal of a COPY that had the rows of these places."""
    state, _, _, context, _ = _facts(error)
    return Refusal(state, _record(context, None, places))


def _facts(error: BaseException) -> tuple[str | None, ...]:
    if isinstance(error, asyncpg.PostgresError):
        names = ("sqlstate", "message", "detail", "context", "constraint_name")
        facts = [getattr(error, name, None) for name in names]
        # What asyncpg refuses before it sends has no message of PostgreSQL's.
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
        )
    return (None,) * 5


def _record(context: str | None, table: Table | None, records: Sequence[int]) -> int | None:
    """Find the record in ``COPY name, line 3``; "line" is in the server's language."""
    for line in (context or "").splitlines():
        start = f"COPY {table.name}, " if table else "COPY "
        if line.startswith(start):
            found = re.search(r"\d+", line.removeprefix(start))
            if found and 0 < int(found[0]) <= len(records):
                return records[int(found[0]) - 1]
    return None
