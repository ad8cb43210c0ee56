"""The order in which rows are inserted: that of the key, where it makes no difference to anybody.

The indexes take rows in the order of the key in half the time. The keys that a sequence gives still
follow the order of the source.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.writing.sequences import defaults_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyOrder:
    """Rows may be inserted in the order of the key."""

    drawn: str | None = None
    """The column that gets the next number of a sequence."""
    sequence: int = 0
    """The sequence's oid."""


def plan_order(session: Session, table: Table, names: Collection[str]) -> KeyOrder | None:
    """Return how rows are inserted in the order of the key; None: in the source's.

    ``names`` are the columns that are sent.
    """
    if table.insert_triggers:
        return None
    noticing = [
        item
        for item in defaults_of(table).values()
        if item.column not in names
        and (item.is_identity or item.draws or item.sequence or not item.is_servers_own)
    ]
    if not noticing:
        return KeyOrder()
    [default, *others] = noticing
    sequence = default.sequence
    if others or sequence is None or not sequence.may_draw or default.is_domain:
        return None
    # Whoever may insert rows may not for that give them a value in each column.
    [(may_insert,)] = session.fetch(_MAY_INSERT, table.oid, default.column)
    return KeyOrder(drawn=default.column, sequence=sequence.oid) if may_insert else None


_MAY_INSERT = """
SELECT pg_catalog.has_column_privilege($1::bigint::pg_catalog.oid, $2::pg_catalog.text, 'INSERT')
"""
