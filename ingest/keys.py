"""The keys of the rows that a load puts in: drawn before they are sent, or noted as they stand.

A key that PostgreSQL would draw from the table's own sequence is drawn here, many at a time, and
sent with its row: so it is known which rows are the load's. Any other key is in the row already.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ingest.encoding import choose_encoding
from ingest.ranges import merge_ranges, ranges_of
from ingest.table import quote_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.encoding import ColumnEncoding, Encoding
    from ingest.session import Session
    from ingest.table import Table

Purpose = Literal["record", "spare", "none"]
"""``record``: keys are drawn and noted. ``spare``: the rows will be rolled back, and no number of
the sequence is to be lost for them."""
_LEAST = {"int2": -(2**15), "int4": -(2**31), "int8": -(2**63)}
SPARE_KEYS = 16
"""One key more is drawn for so many: the next batch may have a few more rows than this one."""
FEW_RANGES = 0.01
"""Keys are told as ranges where these are no more than this share of the keys."""


class Keys:
    """The keys of one load."""

    def __init__(
        self,
        session: Session,
        table: Table,
        model: type[models.Model],
        encoding: Encoding,
        *,
        purpose: Purpose,
    ) -> None:
        """Find out where the key comes from; ``encoding`` is that of the rows without it."""
        self._purpose = purpose
        self._session = session
        self._pool = pa.array([], pa.int64())
        self._rows_before = 0
        self.ranges: list[tuple[int, int]] = []
        """Keys of rows that are in, as ranges; both ends included."""
        self.reason: str | None = None
        """Why it cannot be known which rows are the load's; None where it can."""
        self._sequence: str | None = None
        self._next_spare: int | None = None
        self.name = ""
        self.encoding = encoding
        """How rows are written once they have their keys."""
        if purpose == "none":
            return
        key = model._meta.pk
        if not key.concrete or not key.column:
            self.reason = "its key has several columns."
            return
        self.name = table.column(str(key.column)).name
        if self.name not in encoding.names and purpose == "spare":
            self._find_spare(table)
        elif self.name not in encoding.names:
            self._find_sequence(table)
        elif _has_no_text(encoding.columns[encoding.names.index(self.name)]):
            self.reason = "their key is of a type that is sent as bytes."

    def number(self, batches: Iterable[TypedBatch]) -> Iterator[TypedBatch]:
        """Give each row the key that PostgreSQL would have given it."""
        for batch in batches:
            if self.encoding.drawn is None:
                yield batch
                continue
            rows = batch.rows.num_rows
            if rows > len(self._pool):
                self._session.settle()
                self._draw(rows - len(self._pool))
            drawn, self._pool = self._pool[:rows], self._pool[rows:]
            [kind] = [item.arrow_type for item in self.encoding.columns[:1]]
            columns = [pc.cast(drawn, kind), *batch.rows.columns]
            numbered = pa.RecordBatch.from_arrays(columns, names=list(self.encoding.names))
            yield dataclasses.replace(batch, rows=numbered)

    def reserve(self, rows: int) -> None:
        """Draw the keys of the next batch while the connection is free; ``rows`` are in this one.

        The first batch may be all there is: its keys alone are drawn.
        """
        if self.encoding.drawn is not None and self._rows_before and rows > len(self._pool):
            self._draw(rows + rows // SPARE_KEYS - len(self._pool))
        self._rows_before = rows

    def note(self, batch: TypedBatch, refused: Collection[int]) -> list[str]:
        """Take down the keys of a batch that is in, but for the refused places.

        Gives those, as text, that are in no short ranges.
        """
        if self.reason is not None or self._purpose != "record":
            return []
        keys = batch.rows.column(self.name)
        if refused:
            out = pa.array(list(refused), pa.int64())
            keys = keys.filter(pc.invert(pc.is_in(pa.arange(0, len(keys)), value_set=out)))
        ranges = ranges_of(keys) if pa.types.is_integer(keys.type) else None
        if ranges is None or len(ranges) > max(1, FEW_RANGES * len(keys)):
            return [_as_text(key) for key in keys.to_pylist()]
        self.ranges = merge_ranges(sorted(self.ranges + ranges))
        return []

    def take_ranges(self) -> list[tuple[int, int]]:
        """Give the ranges noted so far, and begin anew."""
        taken, self.ranges = self.ranges, []
        return taken

    def _find_sequence(self, table: Table) -> None:
        rows = self._session.fetch(_SEQUENCE, table.qualified_name, self.name)
        sequence, step, cycles, may_draw, role = rows[0] if rows else (None, 0, False, False, "")
        if sequence is None or step != 1 or cycles:
            self.reason = "PostgreSQL makes their keys in a way that cannot be foretold."
        elif not may_draw:
            self.reason = (
                f"the role may not draw their keys: GRANT USAGE ON SEQUENCE {sequence} TO {role}."
            )
        else:
            self._sequence = sequence
            self._take_column(table)

    def _find_spare(self, table: Table) -> None:
        """Use numbers that nobody uses, where nothing of the table looks at them."""
        least = _LEAST.get(table.column(self.name).type_name)
        checks = [item for item in table.constraints if item.kind in "cx"]
        if least is None or table.triggers or any(self.name in item.columns for item in checks):
            return
        [(smallest,)] = self._session.fetch(
            f"SELECT pg_catalog.min({quote_name(self.name)})::bigint FROM {table.qualified_name}"
        )
        if smallest is None or smallest > 0:
            self._next_spare = least
            self._take_column(table)

    def _take_column(self, table: Table) -> None:
        numbered = choose_encoding([table.column(self.name)], None)
        self.encoding = dataclasses.replace(
            self.encoding, columns=(*numbered.columns, *self.encoding.columns), drawn=self.name
        )

    def _draw(self, count: int) -> None:
        if self._next_spare is not None:
            spare = pa.arange(self._next_spare, self._next_spare + count)
            self._pool = pa.concat_arrays([self._pool, spare])
            self._next_spare += count
            return
        islands = self._session.fetch(_DRAW, self._sequence, count)
        parts = [self._pool, *(pa.arange(first, last + 1) for first, last in islands)]
        self._pool = pa.concat_arrays(parts)


def _has_no_text(key: ColumnEncoding) -> bool:
    return key.dump is not None or pa.types.is_binary(key.arrow_type)


def _as_text(key: Any) -> str:
    """Give a key as PostgreSQL reads it."""
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else str(key)


_SEQUENCE = """
SELECT s.name, q.seqincrement, q.seqcycle, pg_catalog.has_sequence_privilege(s.name, 'USAGE'),
       pg_catalog.quote_ident(current_user)
FROM pg_catalog.pg_get_serial_sequence($1::pg_catalog.text, $2::pg_catalog.text) s(name)
JOIN pg_catalog.pg_sequence q
  ON q.seqrelid OPERATOR(pg_catalog.=) s.name::pg_catalog.regclass
"""
# Ranges of numbers that follow one another: others may draw in between.
_DRAW = """
SELECT pg_catalog.min(key), pg_catalog.max(key) FROM (
  SELECT key, key OPERATOR(pg_catalog.-) n AS island FROM (
    SELECT n, pg_catalog.nextval((SELECT $1::pg_catalog.text::pg_catalog.regclass)) AS key
    FROM pg_catalog.generate_series(1, $2::bigint) n
  ) drawn
) numbered GROUP BY island ORDER BY 1
"""
