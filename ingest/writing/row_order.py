"""Choose the order in which a batch is sent into a table with indexes: that of the largest index.

If rows come in the order of an index, its pages are in the caches of the processor and the server.
In any other order, each row may need another page of each index. Only the position of a row in the
table changes: its key was given, or drawn, in the order of the records.

Each batch begins at another point of the order and wraps around once. Two loads, or two workers,
that began at the same point would meet at each page and wait for each other there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingest.writing.primary_keys import PrimaryKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session
    from ingest.writing.primary_keys import Purpose

LEAST_INDEX_BYTES = 32 << 20
"""If all indexes together are smaller, they fit into the caches anyway."""
_SCATTER = 2_654_435_761
"""Its multiples are scattered: Knuth, The Art of Computer Programming, volume 3, section 6.4."""


class RowOrder:
    """The order of one index."""

    def __init__(self, index: str, columns: Sequence[str]) -> None:
        self.index = index
        self._keys = [(column, "ascending") for column in columns]

    def sort(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the places of the rows in this order."""
        return pc.sort_indices(rows, sort_keys=self._keys)

    def of(self, batch: TypedBatch) -> pa.Array:
        """Return the places of the batch's rows in this order, from a scattered starting point."""
        places = self.sort(batch.rows)
        share = batch.records[0] * _SCATTER % 2**32 if len(places) else 0
        begin = share * len(places) >> 32
        return pa.concat_arrays([places[begin:], places[:begin]])


def plan_order(
    session: Session,
    table: Table,
    model: type[models.Model],
    encoding: CopyEncoding,
    set_aside: Collection[str] = (),
) -> tuple[RowOrder, PrimaryKeys] | None:
    """Choose an order that changes only the time a load takes, and the source of the keys.

    Indexes in ``set_aside`` do not count.

    PostgreSQL would compute defaults in the new order. So keys are drawn before, in the order of
    the records, and a table with any other default gets no new order.
    """
    column = model._meta.pk.column
    is_given = bool(column) and table.column(str(column)).name in encoding.names
    purpose: Purpose = "none" if is_given else "record"
    keys = PrimaryKeys(session, table, model, encoding, purpose=purpose)
    names = keys.encoding.names
    if any(item.has_default and item.name not in names for item in table.columns):
        return None
    order = find_order(table, names, set_aside)
    return None if order is None else (order, keys)


def find_order(
    table: Table, given: Sequence[str], set_aside: Collection[str] = ()
) -> RowOrder | None:
    """Choose the order that helps most bytes of indexes, by the columns that are given.

    Returns None if the indexes are small, or if the order of the rows in the table matters to an
    index: BRIN depends on it, and CLUSTER makes it. If some indexes are ``set_aside``, the table is
    empty, and the later size of the others is unknown.
    """
    indexes = table.facts["index_sizes"]
    is_ordered = any(index["method"] == "brin" or index["is_clustered"] for index in indexes)
    is_small = sum(index["size"] for index in indexes) < LEAST_INDEX_BYTES
    if is_ordered or (is_small and not set_aside):
        return None
    gains: dict[str, int] = {}
    candidates = [
        (index["name"], index["columns"], index["size"])
        for index in indexes
        if index["method"] == "btree"
        and index["columns"][0] in given
        and index["name"] not in set_aside
    ]
    for _, columns, size in candidates:
        gains[columns[0]] = gains.get(columns[0], 0) + size
    if not candidates:
        return None
    name, columns, _ = max(candidates, key=lambda item: (gains[item[1][0]], item[2]))
    return RowOrder(name, [column for column in columns if column in given])
