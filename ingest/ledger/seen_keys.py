"""The keys of a load's records, kept in the ledger from one chunk to the next.

A load that settles conflicts keeps them in a temporary table, to recognize records that repeat a
key; see ``writing/conflicts/duplicates.py``. Another session that resumes the load reads them from
here. They are deleted when the load has ended.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ingest.ledger.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.session import Session

ROWS_TOGETHER = 10_000
"""Keys in one row of the ledger, which PostgreSQL compresses."""


def keep_seen_keys(session: Session, chunk: int, noted: str, sources: Sequence[str]) -> None:
    """Copy the keys of a chunk into the ledger, in the transaction of its rows."""
    session.fetch(
        _KEEP.format(into=table_of("SeenKeys"), noted=noted), chunk, json.dumps(list(sources))
    )


def recall_seen_keys(session: Session, load: int, seen: str, keys: str) -> list[str]:
    """Put the keys of a load's chunks into a temporary table; return the names of the files.

    ``keys`` are the columns of its unique index. The latest record with a key counts.
    """
    tables = {"kept": table_of("SeenKeys"), "chunk": table_of("Chunk")}
    columns = [name for (name,) in session.fetch(_COLUMNS, seen)]
    recall = _RECALL.format(
        seen=seen,
        keys=keys,
        columns=", ".join(columns),
        updates=", ".join(f"{name} = EXCLUDED.{name}" for name in columns),
        **tables,
    )
    for (ordinal,) in session.fetch(_CHUNKS.format(**tables), load):
        session.fetch(recall, load, ordinal)
    last = session.fetch(_SOURCES.format(**tables), load)
    return list(json.loads(last[0][0])) if last else []


def forget_seen_keys(session: Session, load: int) -> None:
    """Delete the keys of a load that has ended."""
    session.fetch(_FORGET.format(kept=table_of("SeenKeys"), chunk=table_of("Chunk")), load)


_KEEP = f"""
INSERT INTO {{into}} (chunk_id, sources, rows)
SELECT $1::bigint, $2::pg_catalog.text::pg_catalog.jsonb,
       pg_catalog.array_agg(n.row ORDER BY n.place)
FROM (SELECT p.row, p.place, p.place OPERATOR(pg_catalog./) {ROWS_TOGETHER}::bigint AS part
      FROM {{noted}} p) n
GROUP BY n.part
ORDER BY n.part
"""
_COLUMNS = """
SELECT pg_catalog.quote_ident(a.attname::pg_catalog.text) FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.=)
    pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# A later record may replace an earlier one with the same key, in the same chunk or another.
_RECALL = """
INSERT INTO {seen} ({columns})
SELECT DISTINCT ON ({keys}) {columns}
FROM (SELECT (u.row::{seen}).*, k.id AS ingest_kept, u.place AS ingest_place FROM {kept} k
      JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
      CROSS JOIN LATERAL pg_catalog.unnest(k.rows) WITH ORDINALITY u (row, place)
      WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint
        AND c.ordinal OPERATOR(pg_catalog.=) $2::integer) r
ORDER BY {keys}, r.ingest_kept DESC, r.ingest_place DESC
ON CONFLICT ({keys}) DO UPDATE SET {updates}
"""
_CHUNKS = """
SELECT DISTINCT c.ordinal FROM {kept} k
JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint ORDER BY c.ordinal
"""
_SOURCES = """
SELECT k.sources::pg_catalog.text FROM {kept} k
JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
WHERE c.load_id OPERATOR(pg_catalog.=) $1::bigint
ORDER BY c.ordinal DESC, k.id DESC LIMIT 1
"""
_FORGET = """
DELETE FROM {kept} k USING {chunk} c
WHERE c.id OPERATOR(pg_catalog.=) k.chunk_id AND c.load_id OPERATOR(pg_catalog.=) $1::bigint
"""
