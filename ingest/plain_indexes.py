"""Which indexes are all that their definition says, so that it can bring them back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.table import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAsideIndex:
    """One index that is built after the rows are in."""

    name: str
    definition: str
    """The CREATE INDEX statement."""
    comment: str | None
    constraint_kind: str | None
    """``p`` or ``u`` where it serves a primary key or a unique constraint of the same name."""
    constraint_comment: str | None
    is_unique: bool
    keys: tuple[str, ...]
    """Its keys as SQL expressions."""
    predicate: str | None
    """The condition of a partial index, as an SQL expression."""


def plain_indexes(
    table: Table,
    *,
    with_unique: bool,
    drawn: str | None = None,
    keeps_primary: bool = False,
) -> tuple[SetAsideIndex, ...]:
    """Return the indexes that can be dropped and built again with nothing lost.

    ``with_unique``: those of unique and primary keys, too, where nothing else depends on them; else
    only those that refuse no row, for they have the column whose values are ``drawn``.
    ``keeps_primary``: never that of the primary key.
    """
    return tuple(
        SetAsideIndex(
            keys=tuple(row["keys"]),
            **{name: row[name] for name in _COPIED},
        )
        for row in table.facts["plain_indexes"]
        if not (row["is_primary"] and keeps_primary)
        and (not row["is_unique"] or with_unique or drawn in row["columns"])
    )


_COPIED = [field.name for field in dataclasses.fields(SetAsideIndex) if field.name != "keys"]
