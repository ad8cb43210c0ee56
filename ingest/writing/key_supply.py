"""What a load draws keys from: a sequence, a column's default, or numbers that no row has."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ServerFailed
from ingest.postgres.catalog import quote_name
from ingest.postgres.encoding import choose_encoding

if TYPE_CHECKING:
    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.session import Session
    from ingest.writing.sequences import Default, Sequence

PLENTY = 1_000
"""Keys are drawn ahead only if the sequence has this many times their number left, because they may
never be used."""
COMPUTED_AS = {
    **dict.fromkeys(("int2", "int4", "int8"), "bigint"),
    "uuid": "pg_catalog.uuid",
    "text": "pg_catalog.text",
    "varchar": "pg_catalog.text",
}
"""The types of keys whose default PostgreSQL computes before the rows are sent."""
_LEAST = {"int2": -(2**15), "int4": -(2**31), "int8": -(2**63)}
_FAST = 2**62
"""Up to here, sums of keys and steps cannot leave the range of a bigint."""
_EXHAUSTED = (
    asyncpg.SequenceGeneratorLimitExceededError,
    psycopg.errors.SequenceGeneratorLimitExceeded,
)


class KeySupply(ABC):
    """Draws keys for rows that will be inserted."""

    @abstractmethod
    def draw(self, count: int) -> list[pa.Array]:
        """Return this many keys, in parts; raise ``ServerFailed`` if there are too few."""

    @abstractmethod
    def has_plenty(self, count: int) -> bool:
        """Return whether this many keys may be drawn although they may never be used."""


class SequenceKeys(KeySupply):
    """The numbers of the sequence from which the column's default draws."""

    def __init__(self, session: Session, sequence: Sequence) -> None:
        self._session = session
        self._sequence = sequence
        self._left: int | None = None
        """How many numbers the sequence has left; None if unknown."""

    def draw(self, count: int) -> list[pa.Array]:
        step = self._sequence.step
        first_bound = self._sequence.smallest if step > 0 else -self._sequence.greatest
        is_fast = first_bound > -_FAST and abs(step) * count < _FAST
        sql = _DRAW.format(wide="" if is_fast else "::numeric")
        try:
            islands = self._session.fetch(sql, self._sequence.oid, count, step)
        except _EXHAUSTED as error:
            raise _too_few(error) from error
        if step < 0:
            islands = [(greatest, least) for least, greatest in islands]
        end = self._sequence.greatest if step > 0 else self._sequence.smallest
        self._left = 0 if self._sequence.cycles else (end - islands[-1][1]) // step
        return [_steps(first, last, step) for first, last in islands]

    def has_plenty(self, count: int) -> bool:
        return self._left is not None and self._left > PLENTY * count


class ComputedKeys(KeySupply):
    """The values of a column's default, computed by PostgreSQL."""

    def __init__(self, session: Session, column: Column, default: Default) -> None:
        self._session = session
        self._default = default
        self._type = COMPUTED_AS[column.type_name]
        kind = choose_encoding([column], None).columns[0].arrow_type
        self._arrow_type = pa.int64() if pa.types.is_integer(kind) else kind

    def draw(self, count: int) -> list[pa.Array]:
        try:
            rows = self._session.fetch(
                f"SELECT ({self._default.expression})::{self._type} "
                "FROM pg_catalog.generate_series(1, $1::bigint)",
                count,
            )
        except _EXHAUSTED as error:
            raise _too_few(error) from error
        values = [value.bytes if isinstance(value, uuid.UUID) else value for (value,) in rows]
        return [pa.array(values, self._arrow_type)]

    def has_plenty(self, count: int) -> bool:  # noqa: ARG002
        return not self._default.draws


class SpareKeys(KeySupply):
    """Numbers that no row has, for rows that will be rolled back."""

    def __init__(self, column: Column, sequence: Sequence, position: int) -> None:
        """``position``: the number that the sequence has drawn last."""
        self._sequence = sequence
        self._next = least = _LEAST[column.type_name]
        self._left = (min(sequence.greatest, -least - 1) - position) // sequence.step
        """As many as the sequence has, so that a dry run ends where the load would."""

    def take_all(self) -> None:
        """Allow more keys than the sequence has numbers left."""
        self._left = -self._next

    def draw(self, count: int) -> list[pa.Array]:
        if count > self._left:
            raise ServerFailed(
                f"There are too few keys for the rows: the sequence {self._sequence.name} has only "
                f"{self._left:,} numbers left for the next {count:,}. Raise its limit "
                "(ALTER SEQUENCE … MAXVALUE …)."
            )
        first = self._next
        self._next += count
        self._left -= count
        return [pa.arange(first, first + count)]

    def has_plenty(self, count: int) -> bool:  # noqa: ARG002
        return True


def find_spare_keys(
    session: Session, table: Table, column: Column, default: Default
) -> SpareKeys | str:
    """Return numbers that have the same effect as those of the sequence, or why there are none."""
    sequence, key = default.sequence, quote_name(column.name)
    if table.kind != "r" or table.is_partition:
        return f"{table.qualified_name} is not an ordinary table."
    if not column.may_insert:
        return "the role may not set the key."
    if table.insert_triggers:
        return "a trigger may look at the key."
    if sequence is None or sequence.step < 0 or sequence.cycles or not sequence.may_look:
        return "the next ones cannot be foretold."
    used = [item for item in table.constraints if item.kind in "cxf"]
    uses_key = any(column.name in item.columns or not item.columns for item in used)
    if uses_key or default.is_domain:
        return "a constraint looks at the key."
    [(is_used,)] = session.fetch(_IS_USED, table.oid, column.name)
    if is_used:
        return "an index, a policy or another column looks at the key."
    position = sequence.position(session)
    [(smallest, greatest)] = session.fetch(
        f"SELECT pg_catalog.min({key})::bigint, pg_catalog.max({key})::bigint "
        f"FROM ONLY {table.qualified_name}"
    )
    if greatest is not None and greatest > position:
        return f"the table has keys beyond {position}, where it stands."
    if (smallest is not None and smallest <= 0) or position < 0:
        return "the table has keys below 1."
    return SpareKeys(column, sequence, position)


def _too_few(error: BaseException) -> ServerFailed:
    said = str(error).strip().splitlines()[0].rstrip(".")
    return ServerFailed(
        f"There are too few keys for the rows: {said}. Raise its limit (ALTER SEQUENCE … "
        "MAXVALUE …)."
    )


def _steps(first: int, last: int, step: int) -> pa.Array:
    numbers = pa.arange(0, (last - first) // step + 1)
    return pc.add(pc.multiply(numbers, step), first)


# Groups of consecutive numbers, in the order in which they were drawn; others may draw numbers in
# between.
_DRAW = """
SELECT pg_catalog.min(key), pg_catalog.max(key) FROM (
  SELECT key, n, key{wide} OPERATOR(pg_catalog.-)
    (n{wide} OPERATOR(pg_catalog.*) $3::bigint{wide}) AS island FROM (
    SELECT n, pg_catalog.nextval(
      (SELECT $1::bigint::pg_catalog.oid::pg_catalog.regclass)) AS key
    FROM pg_catalog.generate_series(1, $2::bigint) n
  ) drawn
) numbered GROUP BY island ORDER BY pg_catalog.min(n)
"""
# Some objects may depend on the key without reading its value: its default, the sequence, plain
# indexes, unique and NOT NULL constraints, foreign keys of other tables, views. An expression that
# reads the whole row has a variable with the number 0, which is not recorded as a dependency.
_IS_USED = """
SELECT pg_catalog.row_security_active(a.attrelid) OR EXISTS (
  SELECT FROM pg_catalog.pg_depend d
  LEFT JOIN pg_catalog.pg_attrdef f
    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    AND f.oid OPERATOR(pg_catalog.=) d.objid
  LEFT JOIN pg_catalog.pg_class c
    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND c.oid OPERATOR(pg_catalog.=) d.objid
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
  LEFT JOIN pg_catalog.pg_constraint k
    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
    AND k.oid OPERATOR(pg_catalog.=) d.objid
  WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid
    AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum
    AND NOT coalesce(
      f.adnum OPERATOR(pg_catalog.=) a.attnum,
      c.relkind OPERATOR(pg_catalog.=) 'S' OR i.indexprs IS NULL AND i.indpred IS NULL
        AND i.indexrelid IS NOT NULL,
      k.contype OPERATOR(pg_catalog.=) ANY (ARRAY['p', 'u', 'n']::pg_catalog."char"[])
        OR k.confrelid OPERATOR(pg_catalog.=) a.attrelid,
      d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass)
) OR EXISTS (
  SELECT FROM pg_catalog.pg_index i
  WHERE i.indrelid OPERATOR(pg_catalog.=) a.attrelid
    AND pg_catalog.strpos(pg_catalog.concat(
      i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text), ':varattno 0 ')
      OPERATOR(pg_catalog.>) 0
) OR EXISTS (
  SELECT FROM pg_catalog.pg_constraint k
  WHERE k.conrelid OPERATOR(pg_catalog.=) a.attrelid
    AND pg_catalog.strpos(k.conbin::pg_catalog.text, ':varattno 0 ') OPERATOR(pg_catalog.>) 0
)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.text
"""
