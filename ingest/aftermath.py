"""What a load owes the table when the rows are in: its sequences and its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.conversion import TypedBatch
    from ingest.session import Session
    from ingest.table import Table

SINGLE_STEPS = 100_000
"""Up to here a sequence is moved by drawing from it, which can never move it backwards; drawing so
many takes some 20 ms."""


class Sequences:
    """Moves the sequences behind explicitly given keys past the greatest of them.

    PostgreSQL draws from a sequence only for keys that are not given: without this the next row
    that the ORM saves would repeat one.
    """

    def __init__(self, session: Session, table: Table, given: Sequence[str]) -> None:
        self._session = session
        self._greatest: dict[str, int] = {}
        self._behind = {
            str(column): str(sequence)
            for column, sequence in session.fetch(_SEQUENCES, table.oid)
            if column in given
        }

    def watch(self, batches: Iterable[TypedBatch]) -> Iterator[TypedBatch]:
        """Note the greatest key of each batch on its way."""
        for batch in batches:
            for column in self._behind:
                greatest = pc.max(batch.rows.column(column)).as_py()
                if greatest is not None:
                    self._greatest[column] = max(greatest, self._greatest.get(column, greatest))
            yield batch

    def move(self) -> None:
        """Move each sequence past the keys that were given; never backwards.

        Like every draw from a sequence this is not rolled back.
        """
        for column, greatest in self._greatest.items():
            sequence = self._behind[column]
            [(last, step)] = self._session.fetch(_POSITION, sequence)
            if step < 1 or last >= greatest:
                continue
            steps = (greatest - last + step - 1) // step
            if steps <= SINGLE_STEPS:
                self._session.fetch(_DRAW, sequence, steps)
            else:
                # Other loads wait here; and nobody draws a hundred thousand within a statement.
                self._session.fetch(_ONE_LOAD_AT_A_TIME, sequence)
                self._session.fetch(_SET, sequence, greatest)


def analyze(session: Session, table: Table, rows: int) -> bool:
    """Let PostgreSQL look at the new rows, where they are as many as autovacuum would look at.

    Its plans would else be made for the table before them. Gives whether it did.
    """
    [(before,)] = session.fetch(_ROWS_BEFORE, table.oid)
    if rows < ANALYZE_SHARE * before or not rows:
        return False
    session.execute(f"ANALYZE {quote_name(table.schema)}.{quote_name(table.name)}")
    return True


ANALYZE_SHARE = 0.1
"""As autovacuum_analyze_scale_factor has it."""


_SEQUENCES = """
SELECT a.attname::pg_catalog.text, s.name
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL pg_catalog.pg_get_serial_sequence(
  pg_catalog.format('%I.%I', n.nspname, c.relname), a.attname::pg_catalog.text) s(name)
WHERE c.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND s.name IS NOT NULL
"""
_POSITION = """
SELECT coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid),
                s.seqstart OPERATOR(pg_catalog.-) s.seqincrement),
       s.seqincrement
FROM pg_catalog.pg_sequence s
WHERE s.seqrelid OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.regclass
"""
_ROWS_BEFORE = """
SELECT reltuples::double precision FROM pg_catalog.pg_class
WHERE oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""
_ONE_LOAD_AT_A_TIME = """
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
  pg_catalog.concat('ingest moves ', $1::pg_catalog.text), 0))::pg_catalog.text
"""
_DRAW = """
SELECT pg_catalog.count(pg_catalog.nextval((SELECT $1::pg_catalog.text::pg_catalog.regclass)))
FROM pg_catalog.generate_series(1, $2::bigint)
"""
_SET = """
SELECT pg_catalog.setval($1::pg_catalog.text::pg_catalog.regclass, greatest(
  $2::bigint, pg_catalog.pg_sequence_last_value($1::pg_catalog.text::pg_catalog.regclass)))
"""
