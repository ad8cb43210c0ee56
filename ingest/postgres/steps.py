"""Scripts of statements for PostgreSQL, which either driver can run step by step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from ingest.postgres.quoting import quote_name

if TYPE_CHECKING:
    from collections.abc import Generator

CopyFormat = Literal["binary", "text"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyTarget:
    """The table, columns and format of a COPY."""

    schema: str
    table: str
    columns: tuple[str, ...]
    format: CopyFormat

    @property
    def statement(self) -> str:
        """The COPY statement."""
        columns = ", ".join(map(quote_name, self.columns))
        return (
            f"COPY {quote_name(self.schema)}.{quote_name(self.table)} ({columns}) "
            f"FROM STDIN (FORMAT {self.format})"
        )


@dataclasses.dataclass(frozen=True)
class Statement:
    """A step without an answer."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Query:
    """A step whose answer is its rows."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Copying:
    """A COPY, whose answer is the number of rows PostgreSQL counted."""

    target: CopyTarget
    payload: bytes
    leaves_out_triggers: bool = False
    """Whether triggers do not fire during the COPY. They are restored right after it."""
    check: str = ""
    """A statement that checks deferred constraints, sent in the same message. In a caller's
    transaction it runs before and after the COPY, and is undone each time."""


class CheckRefusedError(Exception):
    """The check sent with a COPY failed; the cause says why."""

    def __init__(self, *, is_before: bool) -> None:
        """``is_before``: rows from before the COPY violate a constraint."""
        super().__init__(is_before)
        self.is_before = is_before


BEGIN_CHECK = "SAVEPOINT ingest_deferred"
END_CHECK = "ROLLBACK TO SAVEPOINT ingest_deferred; RELEASE SAVEPOINT ingest_deferred"
"""Around a check of deferred constraints. Setting them to DEFERRED afterwards would instead undo a
SET CONSTRAINTS of the caller."""


def in_savepoint(check: str) -> str:
    """Return statements that run pending checks and keep the constraints as the caller set them."""
    return f"{BEGIN_CHECK}; {check}; {END_CHECK}"


T = TypeVar("T")
Step: TypeAlias = Statement | Query | Copying
Script: TypeAlias = "Generator[Step, Any, T]"
"""A generator of steps; an error of PostgreSQL is raised at the step that caused it."""


# The server keeps the previous value, because the caller may have changed it since the last COPY. A
# rollback undoes both settings, also one to a savepoint.
LEAVE_OUT_TRIGGERS = (
    "SELECT pg_catalog.set_config('ingest.replication_role', "
    "pg_catalog.current_setting('session_replication_role'), true); "
    "SET LOCAL session_replication_role = replica"
)
BRING_BACK_TRIGGERS = (
    "SELECT pg_catalog.set_config('session_replication_role', "
    "pg_catalog.current_setting('ingest.replication_role'), true)"
)


def without_triggers(sql: str) -> str:
    """Return one message that runs ``sql`` without triggers and then restores them."""
    return f"{LEAVE_OUT_TRIGGERS}; {sql}; {BRING_BACK_TRIGGERS}"


def copy(target: CopyTarget, payload: bytes) -> Script[int]:
    """Send one whole COPY; the answer is the number of rows PostgreSQL counted."""
    rows: int = yield Copying(target, payload)
    return rows
