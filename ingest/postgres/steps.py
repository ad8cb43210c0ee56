"""What is asked of PostgreSQL, step by step, whichever driver takes the steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from ingest.postgres.catalog import quote_name

if TYPE_CHECKING:
    from collections.abc import Generator

CopyFormat = Literal["binary", "text"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyTarget:
    """Where a COPY puts its rows."""

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
    """A step that has no answer."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Query:
    """A step that is answered with rows."""

    sql: str


@dataclasses.dataclass(frozen=True)
class Copying:
    """A step that is answered with the number of rows PostgreSQL counted."""

    target: CopyTarget
    payload: bytes
    leaves_out_triggers: bool = False
    """Whether the table's triggers are left out during it, and set as they were right after it."""
    check: str = ""
    """A statement by which deferred constraints are checked, in the same message. In a caller's
    transaction it is undone at once, before the COPY and again after it."""


class CheckRefusedError(Exception):
    """The check beside a COPY failed; its cause says why."""

    def __init__(self, *, is_before: bool) -> None:
        """``is_before``: there are rows from before the COPY that do not pass."""
        super().__init__(is_before)
        self.is_before = is_before


CHECK = "ingest_deferred"
"""The savepoint of a check."""
END_CHECK = f"ROLLBACK TO SAVEPOINT {CHECK}; RELEASE SAVEPOINT {CHECK}"
# Setting them to DEFERRED instead would undo a SET CONSTRAINTS of the caller's.


T = TypeVar("T")
Step: TypeAlias = Statement | Query | Copying
Script: TypeAlias = "Generator[Step, Any, T]"
"""Steps that are taken one after the other; what PostgreSQL refuses is raised where it stands."""


# The value before is kept by the server: the caller may have changed it since the last COPY. Both
# settings are undone by a rollback, to a savepoint too.
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
    """Return one message of several statements: the triggers are left out for ``sql`` alone."""
    return f"{LEAVE_OUT_TRIGGERS}; {sql}; {BRING_BACK_TRIGGERS}"


def copy(target: CopyTarget, payload: bytes) -> Script[int]:
    """Send one whole COPY; the answer is the number of rows PostgreSQL counted."""
    rows: int = yield Copying(target, payload)
    return rows
