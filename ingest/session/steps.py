"""What is asked of PostgreSQL, step by step, whichever driver takes the steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from ingest.table import quote_name

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


T = TypeVar("T")
Step: TypeAlias = Statement | Query | Copying
Script: TypeAlias = "Generator[Step, Any, T]"
"""Steps that are taken one after the other; what PostgreSQL refuses is raised where it stands."""


def copy(target: CopyTarget, payload: bytes) -> Script[int]:
    """Send one whole COPY; the answer is the number of rows PostgreSQL counted."""
    rows: int = yield Copying(target, payload)
    return rows
