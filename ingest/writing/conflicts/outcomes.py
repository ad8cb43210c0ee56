"""Read the outcomes of a batch's rows from the temporary tables on the server."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.postgres.errors import RowError
from ingest.postgres.session import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Script
    from ingest.writing.conflicts.tables import TemporaryTables
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.refused_rows import RefusedRow

_INTEGERS = frozenset({"int2", "int4", "int8"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """The outcomes of the rows of one batch."""

    counts: tuple[int, ...] = (0, 0, 0, 0, 0)
    """How many were inserted, updated, unchanged, ignored and skipped."""
    refused: Sequence[RefusedRow] = ()
    """The rows that a type, PostgreSQL or a rule of ``on_conflict`` has refused, by place."""
    repeated: Sequence[tuple[int, int, int]] = ()
    """Records that repeat a key: number, and file and number of the record that holds the key."""
    ranges: Sequence[tuple[int, int]] = ()
    """The keys of the inserted rows, if they are numbers."""
    texts: Sequence[str] = ()
    """The keys of the inserted rows as text, if they are not numbers."""


def read_settled(
    tables: TemporaryTables,
    key_type: str,
    refused: list[RefusedRow],
    make_row: Callable[[RowError], RefusedRow],
) -> Script[Settled]:
    """Read the outcomes of the last batch.

    ``key_type``: the type of the primary keys to read, or empty to read none. ``refused``: the rows
    that the temporary table has refused. ``make_row``: converts a refusal to a row of the batch.
    """
    [found] = yield Query(_SETTLED.format(**vars(tables)))
    settled, has_refused, has_repeated, has_fresh = found
    if has_refused:
        found = yield Query(_REFUSED.format(refused=tables.refused))
        refused += [make_row(RowError(*row)) for row in found]
    repeated: list[tuple[int, int, int]] = []
    if has_repeated:
        repeated = yield Query(_REPEATED.format(repeated=tables.repeated))
    ranges: list[tuple[int, int]] = []
    texts: list[str] = []
    if has_fresh and key_type in _INTEGERS:
        ranges = yield Query(_RANGES.format(fresh=tables.fresh))
    elif has_fresh and key_type:
        texts = [text for (text,) in (yield Query(_TEXTS.format(fresh=tables.fresh)))]
    return Settled(
        counts=tuple(map(int, settled.split(","))) if settled else (0, 0, 0, 0, 0),
        refused=sorted(refused, key=lambda row: row.place),
        repeated=repeated,
        ranges=ranges,
        texts=texts,
    )


def type_of_keys(keys: PrimaryKeys, table: Table) -> str:
    """Return the type of the primary keys for the ledger, or an empty string if it needs none."""
    if not keys.name or keys.reason is not None:
        return ""
    return next(item.type_name for item in table.columns if item.name == keys.name)


_SETTLED = """
SELECT pg_catalog.current_setting('ingest.settled', true), EXISTS (SELECT FROM {refused}),
       EXISTS (SELECT FROM {repeated}), EXISTS (SELECT FROM {fresh})
"""
_REFUSED = """
SELECT state, place, message, detail, constraint_name, column_name FROM {refused} ORDER BY place
"""
_REPEATED = "SELECT place, of_file, of_place FROM {repeated} ORDER BY place"
_RANGES = """
SELECT pg_catalog.min(r.key)::bigint, pg_catalog.max(r.key)::bigint FROM (
  SELECT key, key OPERATOR(pg_catalog.-) (
    pg_catalog.row_number() OVER (ORDER BY key) OPERATOR(pg_catalog.-) 1) AS island
  FROM {fresh}) r
GROUP BY r.island ORDER BY 1
"""
_TEXTS = "SELECT pg_catalog.concat(key) FROM {fresh}"
