"""The findings of a table's audit."""

from __future__ import annotations

import dataclasses
from typing import Literal

FindingKind = Literal["foreign key", "check", "not null", "unique", "index", "constraint"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of the table, and its result."""

    kind: FindingKind
    name: str
    """The constraint, index or column."""
    rows: int = 0
    """How many rows violate it; for a unique key, how many repeat another row's."""
    problem: str | None = None
    """What is wrong, in a sentence; None if nothing is."""
    note: str | None = None
    """Why it was not checked, or only in part."""

    def __str__(self) -> str:
        answer = self.problem or self.note or "holds."
        return f"{self.kind} {self.name!r}: {answer}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of auditing one table."""

    table: str
    """The table's name with its schema, quoted."""
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings with a problem."""
        return tuple(finding for finding in self.findings if finding.problem is not None)

    def __str__(self) -> str:
        ok = len(self.findings) - len(self.problems)
        lines = [f"{self.table}: {ok} of {len(self.findings)} constraints and indexes hold."]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])
