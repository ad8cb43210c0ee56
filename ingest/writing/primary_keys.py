"""Draw or note the keys of the rows that a load inserts.

If the column's DEFAULT would set the key, keys are drawn here, many at a time, and sent with the
rows, so that the load knows which rows are its own. Any other key is already in the row.

Keys are drawn only if the DEFAULT would have returned the same: from the same sequence, or by
having PostgreSQL compute the same expression. If that calls a function of the user (which may look
at the rows of the table), PostgreSQL fills the column, and the load reports that it cannot be
undone.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ServerFailed
from ingest.postgres.catalog import quote_name
from ingest.postgres.encoding import choose_encoding
from ingest.writing.ranges import merge_ranges, ranges_of
from ingest.writing.sequences import defaults_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.encoding import ColumnEncoding, CopyEncoding
    from ingest.postgres.session import Session
    from ingest.writing.sequences import Default, Sequence

Purpose = Literal["record", "returned", "spare", "none"]
"""``record``: keys are drawn and noted. ``returned``: nothing is drawn, because not every row is
inserted; the statement that inserts rows returns their keys. ``spare``: the rows will be rolled
back, and should use up no number of the sequence if that can be avoided."""
SPARE_KEYS = 16
"""One extra key is drawn for this many: the next batch may have a few more rows than this one."""
PLENTY = 1_000
"""Keys are drawn ahead only if the sequence has this many times their number left, because they may
never be used."""
FEW_RANGES = 0.01
"""Keys are returned as ranges if there are at most this many ranges per key."""
FIRST_USER_OID = 16_384
"""Smaller oids are PostgreSQL's own: FirstNormalObjectId in src/include/access/transam.h."""
_LEAST = {"int2": -(2**15), "int4": -(2**31), "int8": -(2**63)}
_COMPUTED_AS = {
    **dict.fromkeys(("int2", "int4", "int8"), "bigint"),
    "uuid": "pg_catalog.uuid",
    "text": "pg_catalog.text",
    "varchar": "pg_catalog.text",
}
"""The types of keys whose default PostgreSQL computes before the rows are sent."""
_FAST = 2**62
"""Up to here, sums of keys and steps cannot leave the range of a bigint."""
_EXHAUSTED = (
    asyncpg.SequenceGeneratorLimitExceededError,
    psycopg.errors.SequenceGeneratorLimitExceeded,
)


class PrimaryKeys:
    """The keys of one load."""

    def __init__(
        self,
        session: Session,
        table: Table,
        model: type[models.Model],
        encoding: CopyEncoding,
        *,
        purpose: Purpose,
    ) -> None:
        """Determine the source of the keys; ``encoding`` is that of the rows without drawn keys."""
        self._purpose = purpose
        self._session = session
        self._table = table
        self._pool: pa.Array = pa.array([], pa.int64())
        self._rows_before = 0
        self.ranges: list[tuple[int, int]] = []
        """The keys of inserted rows, as ranges that include both ends."""
        self.reason: str | None = None
        """Why the load cannot know which rows are its own; None if it can."""
        self.decision: str | None = None
        """What a dry run does with the sequence."""
        self._default: Default | None = None
        self._sequence: Sequence | None = None
        self._next_spare: int | None = None
        self._spares_left = 0
        self._left: int | None = None
        """How many numbers the sequence has left; None if unknown."""
        self.name = ""
        self.encoding = encoding
        """The encoding of the rows with their keys."""
        if purpose == "none":
            return
        key = model._meta.pk
        if not key.concrete or not key.column:
            self.reason = "its key has several columns."
            return
        column = table.column(str(key.column))
        self.name = column.name
        if table.why_not_owned is not None and purpose in {"record", "returned"}:
            self.reason = f"{table.why_not_owned}."
        if purpose == "returned":
            return
        if self.name not in encoding.names:
            self._default = defaults_of(table).get(self.name)
            if purpose == "spare":
                self._find_spare(column)
            else:
                self._find_source(column)
        elif _has_no_text(encoding.columns[encoding.names.index(self.name)]):
            self.reason = "their key is of a type that is sent as bytes."
        if purpose == "record" and self.reason is None and self._may_be_changed:
            self.reason = self._why_not_look(column)

    @property
    def _may_be_changed(self) -> bool:
        """Whether a trigger may give the rows other keys."""
        return bool(self._table.insert_triggers) or self._table.kind not in {"r", "p"}

    def number(self, batches: Iterable[TypedBatch]) -> Iterator[TypedBatch]:
        """Yield the batches, with the keys that PostgreSQL would have set."""
        for batch in batches:
            if self.encoding.drawn is None:
                yield batch
                continue
            rows = batch.rows.num_rows
            if rows > len(self._pool):
                self._session.settle()
                self._draw(rows - len(self._pool))
            drawn, self._pool = self._pool[:rows], self._pool[rows:]
            columns = [self._as_column(drawn), *batch.rows.columns]
            numbered = pa.RecordBatch.from_arrays(columns, names=list(self.encoding.names))
            yield dataclasses.replace(batch, rows=numbered)

    def reserve(self, rows: int) -> None:
        """Draw the keys of the next batch while the connection is free; this one has ``rows`` rows.

        After the first batch nothing is drawn ahead, because it may be the only one.
        """
        if self.encoding.drawn is not None and self._rows_before and rows > len(self._pool):
            count = rows + rows // SPARE_KEYS - len(self._pool)
            if self._has_plenty(count):
                self._draw(count)
        self._rows_before = rows

    def note(self, batch: TypedBatch, refused: Collection[int]) -> list[str]:
        """Note the keys of an inserted batch, except those at the refused places.

        Returns them as text if they would form too many ranges, and otherwise an empty list.
        """
        if self.reason is not None or self._purpose != "record":
            return []
        keys = batch.rows.column(self.name)
        if refused:
            out = pa.array(list(refused), pa.int64())
            keys = keys.filter(pc.invert(pc.is_in(pa.arange(0, len(keys)), value_set=out)))
        ranges = ranges_of(keys) if pa.types.is_integer(keys.type) else None
        texts: list[str] = []
        if ranges is None or len(ranges) > max(1, FEW_RANGES * len(keys)):
            texts, ranges = [_as_text(key) for key in keys.to_pylist()], []
        if self._may_be_changed and self._found(ranges, texts) != len(keys):
            hidden = ", or row security hides them" if self._table.row_security else ""
            self.reason = (
                f"a trigger on {self._table.qualified_name} gives rows other keys than they had"
                f"{hidden}."
            )
            return []
        self.ranges = merge_ranges(sorted(self.ranges + ranges))
        return texts

    def note_ranges(self, ranges: list[tuple[int, int]], keys: int) -> list[str]:
        """Note the ranges of inserted rows' keys, whose number is ``keys``.

        If there are too many ranges, returns all keys as text instead.
        """
        if self._purpose == "none" or self.reason is not None:
            return []
        if len(ranges) > max(1, FEW_RANGES * keys):
            return [str(key) for first, last in ranges for key in range(first, last + 1)]
        self.ranges = merge_ranges(sorted(self.ranges + ranges))
        return []

    def take_ranges(self) -> list[tuple[int, int]]:
        """Return the ranges noted so far, and clear them."""
        taken, self.ranges = self.ranges, []
        return taken

    def use_spares(self, key: models.Field[Any, Any]) -> None:
        """Use unused numbers as the keys of rows that will all be rolled back.

        This is for loads in which not every row is inserted. If it is not possible, PostgreSQL
        draws a number for each inserted row, and ``decision`` says so.
        """
        if not key.concrete or not key.column:
            return
        column = self._table.column(str(key.column))
        default = defaults_of(self._table).get(column.name)
        is_given = column.name in self.encoding.names
        if is_given or default is None or default.sequence is None:
            return
        self._default = default
        reason = self._why_no_spare(column, default.sequence)
        if reason is None and column.type_name == "int2":
            reason = "a smallint has too few others."
        if reason is None:
            self._take_column(column)
            self._spares_left = -_LEAST[column.type_name]  # a real load would not draw so many
        else:
            self.decision = _used_up(default.sequence, reason)

    def _find_source(self, column: Column) -> None:
        """Determine from what the column's default draws the keys."""
        default = self._default
        if default is None:
            self.reason = "their key has no default that could be computed before they are sent."
        elif default.sequence is not None:
            if default.sequence.may_draw:
                self._sequence = default.sequence
                self._take_column(column)
            else:
                self.reason = (
                    "the role may not draw their keys: GRANT USAGE ON SEQUENCE "
                    f"{default.sequence.name} TO {self._role()}."
                )
        elif not default.is_servers_own:
            self.reason = (
                f"the default of their key, {default.expression}, calls a function that may look "
                "at rows: PostgreSQL fills it row by row."
            )
        elif column.type_name not in _COMPUTED_AS or (
            column.type_name == "uuid" and self.encoding.format == "text"
        ):
            self.reason = f"PostgreSQL fills their key, of the type {column.sql_type}, row by row."
        else:
            self._take_column(column)

    def _find_spare(self, column: Column) -> None:
        """Use unused numbers, if the sequence's numbers would have had the same effect.

        Otherwise keys are drawn as in a real load, and are lost.
        """
        if self._default is None or self._default.sequence is None:
            self._find_source(column)
            self.reason = None
            return
        sequence = self._default.sequence
        reason = self._why_no_spare(column, sequence)
        if reason is None:
            self._take_column(column)
        else:
            self._find_source(column)
            self.reason = None
            self.decision = _used_up(sequence, reason)

    def _why_no_spare(self, column: Column, sequence: Sequence) -> str | None:
        table, key = self._table, quote_name(column.name)
        if table.kind != "r" or table.is_partition:
            return f"{table.qualified_name} is not an ordinary table."
        if table.insert_triggers:
            return "a trigger may look at the key."
        if sequence.step < 0 or sequence.cycles or not sequence.may_look:
            return "the next ones cannot be foretold."
        used = [item for item in table.constraints if item.kind in "cxf"]
        uses_key = any(column.name in item.columns or not item.columns for item in used)
        if uses_key or self._default is None or self._default.is_domain:
            return "a constraint looks at the key."
        [(is_used,)] = self._session.fetch(_IS_USED, table.oid, column.name)
        if is_used:
            return "an index, a policy or another column looks at the key."
        position = sequence.position(self._session)
        [(smallest, greatest)] = self._session.fetch(
            f"SELECT pg_catalog.min({key})::bigint, pg_catalog.max({key})::bigint "
            f"FROM ONLY {table.qualified_name}"
        )
        if greatest is not None and greatest > position:
            return f"the table has keys beyond {position}, where it stands."
        least = _LEAST[column.type_name]
        if (smallest is not None and smallest <= 0) or position < 0:
            return "the table has keys below 1."
        self._next_spare = least
        self._spares_left = (min(sequence.greatest, -least - 1) - position) // sequence.step
        return None

    def _take_column(self, column: Column) -> None:
        numbered = choose_encoding([column], None)
        self.encoding = dataclasses.replace(
            self.encoding, columns=(*numbered.columns, *self.encoding.columns), drawn=column.name
        )
        self._pool = pa.array([], self._pool_type)

    @property
    def _pool_type(self) -> pa.DataType:
        kind = self.encoding.columns[0].arrow_type
        return pa.int64() if pa.types.is_integer(kind) else kind

    def _as_column(self, drawn: pa.Array) -> pa.Array:
        item = self.encoding.columns[0]
        try:
            return pc.cast(drawn, item.arrow_type)
        except pa.ArrowInvalid as error:
            raise ServerFailed(
                f"The default of {item.column.name!r} gives {pc.max(drawn)}, which is out of the "
                f"range of the column's type {item.column.sql_type}: ALTER TABLE "
                f"{self._table.qualified_name} ALTER {quote_name(item.column.name)} TYPE bigint."
            ) from error

    def _has_plenty(self, count: int) -> bool:
        if self._next_spare is not None:
            return True
        if self._sequence is not None:
            return self._left is not None and self._left > PLENTY * count
        return self._default is not None and not self._default.draws

    def _draw(self, count: int) -> None:
        try:
            parts = self._drawn(count)
        except _EXHAUSTED as error:
            said = str(error).strip().splitlines()[0].rstrip(".")
            raise ServerFailed(
                f"There are too few keys for the rows: {said}. Raise its limit (ALTER SEQUENCE … "
                "MAXVALUE …)."
            ) from error
        self._pool = pa.concat_arrays([self._pool, *parts])

    def _drawn(self, count: int) -> list[pa.Array]:
        if self._next_spare is not None:
            return [self._take_spare(count)]
        if self._sequence is None:
            return [self._computed(count)]
        step = self._sequence.step
        first_bound = self._sequence.smallest if step > 0 else -self._sequence.greatest
        is_fast = first_bound > -_FAST and abs(step) * count < _FAST
        sql = _DRAW.format(wide="" if is_fast else "::numeric")
        islands = self._session.fetch(sql, self._sequence.oid, count, step)
        if step < 0:
            islands = [(greatest, least) for least, greatest in islands]
        end = self._sequence.greatest if step > 0 else self._sequence.smallest
        self._left = 0 if self._sequence.cycles else (end - islands[-1][1]) // step
        return [_steps(first, last, step) for first, last in islands]

    def _take_spare(self, count: int) -> pa.Array:
        first = self._next_spare or 0
        if count > self._spares_left:
            name = "" if self._default is None else getattr(self._default.sequence, "name", "")
            raise ServerFailed(
                f"There are too few keys for the rows: the sequence {name} has only "
                f"{self._spares_left:,} numbers left for the next {count:,}. Raise its limit "
                "(ALTER SEQUENCE … MAXVALUE …)."
            )
        self._next_spare = first + count
        self._spares_left -= count
        return pa.arange(first, first + count)

    def _computed(self, count: int) -> pa.Array:
        """Let PostgreSQL compute the default ``count`` times."""
        column = self.encoding.columns[0].column
        expression = "" if self._default is None else self._default.expression
        rows = self._session.fetch(
            f"SELECT ({expression})::{_COMPUTED_AS[column.type_name]} "
            "FROM pg_catalog.generate_series(1, $1::bigint)",
            count,
        )
        values = [value.bytes if isinstance(value, uuid.UUID) else value for (value,) in rows]
        return pa.array(values, self._pool_type)

    def _role(self) -> str:
        [(role,)] = self._session.fetch("SELECT pg_catalog.quote_ident(current_user)")
        return str(role)

    def _why_not_look(self, column: Column) -> str | None:
        """Return why it cannot be checked whether a trigger has changed the keys."""
        name = self._table.qualified_name
        if self._table.kind not in {"r", "p"}:
            return f"{name} is not an ordinary table."
        if column.type_oid >= FIRST_USER_OID or column.type_name.startswith("_"):
            return f"a trigger may change their keys, which are of the type {column.sql_type}."
        [access] = self._table.facts["access"]
        if not access["may_select"]:
            return f"a trigger may change their keys: GRANT SELECT ON {name} TO {self._role()}."
        first = [item.columns[:1] for item in self._table.constraints if item.kind in "pu"]
        unique = [key for key in self._table.facts["unique_keys"] if key["predicate"] is None]
        if (column.name,) not in [*first, *(tuple(key["plain"][:1]) for key in unique)]:
            return "a trigger may change their keys, which have no index to look them up by."
        return None

    def _found(self, ranges: list[tuple[int, int]], texts: list[str]) -> int:
        """Count the rows of this transaction that have these keys."""
        kind = self._table.column(quote_name(self.name)).type_name
        key = f"t.{quote_name(self.name)}"
        if texts:
            sql = (
                f"WHERE {key} OPERATOR(pg_catalog.=) "
                f"ANY ($1::pg_catalog.text[]::pg_catalog.{quote_name(kind)}[])"
            )
            parameters: tuple[Any, ...] = (texts,)
        else:
            sql = (
                "JOIN ROWS FROM (pg_catalog.unnest($1::bigint[]), "
                "pg_catalog.unnest($2::bigint[])) r(first, last) "
                f"ON {key} OPERATOR(pg_catalog.>=) r.first "
                f"AND {key} OPERATOR(pg_catalog.<=) r.last WHERE true"
            )
            parameters = ([first for first, _ in ranges], [last for _, last in ranges])
        source = f"{self._table.qualified_name} t CROSS JOIN {_TOP}"
        [(count,)] = self._session.fetch(
            f"SELECT pg_catalog.count(*) FROM {source} {sql} AND {_IS_OURS}", *parameters
        )
        return int(count)


def _used_up(sequence: Sequence, reason: str) -> str:
    return f"Dry run: numbers of the sequence {sequence.name} are used up, because {reason}"


def _steps(first: int, last: int, step: int) -> pa.Array:
    numbers = pa.arange(0, (last - first) // step + 1)
    return pc.add(pc.multiply(numbers, step), first)


def _has_no_text(key: ColumnEncoding) -> bool:
    return key.dump is not None or pa.types.is_binary(key.arrow_type)


def _as_text(key: Any) -> str:
    """Return a key as text that PostgreSQL reads."""
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else str(key)


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
# A visible row whose transaction is in progress belongs to this transaction. xmin lacks the epoch;
# the number of a savepoint is greater than that of its transaction.
_IS_OURS = """
pg_catalog.pg_xact_status((x.top OPERATOR(pg_catalog.-)
  ((x.top OPERATOR(pg_catalog.-) t.xmin::pg_catalog.text::bigint)
    OPERATOR(pg_catalog.%) 4294967296))::pg_catalog.text::pg_catalog.xid8)
  OPERATOR(pg_catalog.=) 'in progress'
"""
_TOP = "(SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::bigint) x(top)"
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
