"""A layout to start from, as a file that says what it lacks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import models

from ingest.layout.definition import dump
from ingest.layout.text import write_key, write_value
from ingest.table import concrete_fields_of_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.layout.definition import Column, FieldLayout, Layout
    from ingest.sources.detection import DetectedColumn

    Field = models.Field[Any, Any]

NUMBERS = (models.IntegerField, models.DecimalField, models.FloatField)
"""The fields of numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """How a field may be fed."""

    layout: FieldLayout
    reason: str
    """Why it is proposed, and what to look at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """A layout, and what somebody who completes it must know."""

    layout: Layout
    """What is certain."""
    findings: tuple[str, ...]
    """What was detected and why, in sentences."""
    missing: tuple[Field, ...]
    """Fields that each record needs and that nothing feeds."""
    unused: tuple[tuple[Column, DetectedColumn], ...]
    """Source columns that feed nothing."""
    guesses: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What is only guessed of a field, by its name."""
    proposals: Mapping[str, Proposal] = dataclasses.field(default_factory=dict)
    """What may feed a missing field, by its name: somebody must say whether it does."""

    def to_toml(self) -> str:
        """Give a layout's file, whose comments say the rest."""
        head = dataclasses.replace(self.layout, fields={})
        lines = [*(f"# {finding}" for finding in self.findings), "", head.to_toml().rstrip()]
        lines += ["", "[fields]"]
        lines += [
            f"{write_key(name)} = {write_value(_shortest(said))}{self._guess(name)}"
            for name, said in self.layout.fields.items()
        ]
        if self.missing:
            lines += [
                "# Each record needs these too. Write a column in, or give one value for all:"
            ]
            lines += [f"# {self._suggest(field)}" for field in self.missing]
        if self.unused:
            lines += ["# Source columns that feed nothing:"]
            lines += [f"# {write_value(name)}{_kind(column)}" for name, column in self.unused]
        return "\n".join(lines).replace("\r", " ") + "\n"

    def _guess(self, name: str) -> str:
        guess = self.guesses.get(name)
        return "" if guess is None else f"  # a guess: {guess}"

    def _suggest(self, field: Field) -> str:
        proposal = self.proposals.get(field.name)
        if proposal is None:
            return _suggest(field)
        said = write_value(_shortest(proposal.layout))
        return f"{write_key(field.name)} = {said}  # {proposal.reason}"


def natural_key(field: models.ForeignKey[Any, Any]) -> str | None:
    """Give the parent's only unique text field, by which people call a parent."""
    parent: Any = field.remote_field.model
    unique = [
        item.name
        for item in concrete_fields_of_table(parent)
        if item.unique and not item.primary_key and isinstance(item, models.CharField)
    ]
    return unique[0] if len(unique) == 1 else None


def _shortest(said: FieldLayout) -> Any:
    dumped = dump(said)
    if said.column is not None:
        dumped = {"column": said.column, **dumped}
    return said.column if list(dumped) == ["column"] else dumped


def _suggest(field: Field) -> str:
    if isinstance(field, models.ForeignKey):
        key = natural_key(field)
        label = field.remote_field.model._meta.label
        lookup = "" if key is None else f', lookup = "{key}"'
        return f'{write_key(field.name)} = {{constant = ""{lookup}}}  # which {label}'
    sides = '  # or {debit = "", credit = ""}' if isinstance(field, NUMBERS) else ""
    return f'{write_key(field.name)} = ""{sides}'


def _kind(column: DetectedColumn) -> str:
    if column.date_formats:
        return f": dates as {', '.join(column.date_formats)}"
    if not column.is_number:
        return ""
    marks = [mark for mark in (column.decimal_mark, column.thousands_mark) if mark]
    return f": numbers{' with ' if marks else ''}{' and '.join(map(repr, marks))}"
