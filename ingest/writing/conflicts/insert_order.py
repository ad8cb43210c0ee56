"""Insert rows in the order of the key, if nothing else depends on the order.

In the order of the key, the indexes need half the time. The keys drawn from a sequence still follow
the order of the source.
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
    """How to insert rows in the order of the key."""

    drawn: str | None = None
    """The column whose value is the next number of a sequence."""
    sequence: int = 0
    """The sequence's oid."""


def plan_order(session: Session, table: Table, names: Collection[str]) -> KeyOrder | None:
    """Return how to insert rows in the order of the key, or None to keep the source's order.

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
    # A role that may insert rows need not have the right to set every column.
    [(may_insert,)] = session.fetch(_MAY_INSERT, table.oid, default.column)
    return KeyOrder(drawn=default.column, sequence=sequence.oid) if may_insert else None


_MAY_INSERT = """
SELECT pg_catalog.has_column_privilege($1::bigint::pg_catalog.oid, $2::pg_catalog.text, 'INSERT')
"""
