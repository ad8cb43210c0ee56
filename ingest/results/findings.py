"""What an audit of a table found, and how it is told."""

from __future__ import annotations

import dataclasses
from typing import Literal

FindingKind = Literal["foreign key", "check", "not null", "unique", "index", "constraint"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What was asked of the table, and the answer."""

    kind: FindingKind
    name: str
    """The constraint, index or column."""
    rows: int = 0
    """How many rows break it; for a unique key, how many repeat another's."""
    problem: str | None = None
    """What is wrong, in a sentence; None where nothing is."""
    note: str | None = None
    """Why it was not asked, or not entirely."""

    def __str__(self) -> str:
        answer = self.problem or self.note or "holds."
        return f"{self.kind} {self.name!r}: {answer}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """What the look at one table found."""

    table: str
    """The table's name with its schema, quoted."""
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings where something is wrong."""
        return tuple(finding for finding in self.findings if finding.problem is not None)

    def __str__(self) -> str:
        ok = len(self.findings) - len(self.problems)
        lines = [f"{self.table}: {ok} of {len(self.findings)} constraints and indexes hold."]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])
