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
SELECT a.attname::text,
       pg_catalog.pg_get_serial_sequence(
         pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), a.attname)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
  AND pg_catalog.pg_get_serial_sequence(
        pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), a.attname
      ) IS NOT NULL
"""
_POSITION = """
SELECT coalesce(pg_catalog.pg_sequence_last_value(s.seqrelid), s.seqstart - s.seqincrement),
       s.seqincrement
FROM pg_catalog.pg_sequence s WHERE s.seqrelid = $1::text::regclass
"""
_ROWS_BEFORE = "SELECT reltuples::float8 FROM pg_catalog.pg_class WHERE oid = $1::int8::oid"
_ONE_LOAD_AT_A_TIME = """
SELECT pg_advisory_xact_lock(hashtextextended('ingest moves ' || $1::text, 0))::text
"""
_DRAW = """
SELECT count(nextval((SELECT $1::text::regclass))) FROM generate_series(1, $2::int8)
"""
_SET = """
SELECT setval($1::text::regclass, greatest($2::int8, pg_catalog.pg_sequence_last_value(
  $1::text::regclass)))
"""
