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

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import ServerFailed
from ingest.postgres.catalog import quote_name
from ingest.postgres.encoding import choose_encoding
from ingest.writing.key_supply import (
    COMPUTED_AS,
    ComputedKeys,
    SequenceKeys,
    SpareKeys,
    find_spare_keys,
)
from ingest.writing.ranges import merge_ranges, ranges_of
from ingest.writing.sequences import defaults_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.encoding import ColumnEncoding, CopyEncoding
    from ingest.postgres.session import Session
    from ingest.writing.key_supply import KeySupply
    from ingest.writing.sequences import Default, Sequence

Purpose = Literal["record", "returned", "spare", "none"]
"""``record``: keys are drawn and noted. ``returned``: nothing is drawn, because not every row is
inserted; the statement that inserts rows returns their keys. ``spare``: the rows will be rolled
back, and should use up no number of the sequence if that can be avoided."""
KEYS_PER_EXTRA = 16
"""One extra key is drawn for this many: the next batch may have a few more rows than this one."""
FEW_RANGES = 0.01
"""Keys are returned as ranges if there are at most this many ranges per key."""
FIRST_USER_OID = 16_384
"""Smaller oids are PostgreSQL's own: FirstNormalObjectId in src/include/access/transam.h."""


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
        self._supply: KeySupply | None = None
        """From what keys are drawn; None if none are."""
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
            default = defaults_of(table).get(self.name)
            if purpose == "spare":
                self._find_spare(column, default)
            else:
                self._find_supply(column, default)
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
            if self._supply is None:
                yield batch
                continue
            rows = batch.rows.num_rows
            if rows > len(self._pool):
                self._session.settle()
                self._draw(self._supply, rows - len(self._pool))
            drawn, self._pool = self._pool[:rows], self._pool[rows:]
            columns = [self._as_column(drawn), *batch.rows.columns]
            numbered = pa.RecordBatch.from_arrays(columns, names=list(self.encoding.names))
            yield dataclasses.replace(batch, rows=numbered)

    def reserve(self, rows: int) -> None:
        """Draw the keys of the next batch while the connection is free; this one has ``rows`` rows.

        After the first batch nothing is drawn ahead, because it may be the only one.
        """
        if self._supply is not None and self._rows_before and rows > len(self._pool):
            count = rows + rows // KEYS_PER_EXTRA - len(self._pool)
            if self._supply.has_plenty(count):
                self._draw(self._supply, count)
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
        spare = find_spare_keys(self._session, self._table, column, default)
        if isinstance(spare, SpareKeys) and column.type_name == "int2":
            spare = "a smallint has too few others."
        if isinstance(spare, SpareKeys):
            spare.take_all()  # a real load would not draw so many
            self._draw_from(spare, column)
        else:
            self.decision = _used_up(default.sequence, spare)

    def _find_spare(self, column: Column, default: Default | None) -> None:
        """Use unused numbers, if the sequence's numbers would have had the same effect.

        Otherwise keys are drawn as in a real load, and are lost.
        """
        if default is not None and default.sequence is not None:
            spare = find_spare_keys(self._session, self._table, column, default)
            if isinstance(spare, SpareKeys):
                self._draw_from(spare, column)
                return
            self.decision = _used_up(default.sequence, spare)
        self._find_supply(column, default)
        self.reason = None

    def _find_supply(self, column: Column, default: Default | None) -> None:
        """Determine from what the column's default draws the keys."""
        if not column.may_insert:
            self.reason = (
                f"the role may not set their key: GRANT INSERT ({quote_name(column.name)}) ON "
                f"{self._table.qualified_name} TO {self._role()}."
            )
        elif default is None:
            self.reason = "their key has no default that could be computed before they are sent."
        elif default.sequence is not None:
            if default.sequence.may_draw:
                self._draw_from(SequenceKeys(self._session, default.sequence), column)
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
        elif column.type_name not in COMPUTED_AS or (
            column.type_name == "uuid" and self.encoding.format == "text"
        ):
            self.reason = f"PostgreSQL fills their key, of the type {column.sql_type}, row by row."
        else:
            self._draw_from(ComputedKeys(self._session, column, default), column)

    def _draw_from(self, supply: KeySupply, column: Column) -> None:
        """Draw the keys from this supply, and send them in this column."""
        self._supply = supply
        numbered = choose_encoding([column], None)
        self.encoding = dataclasses.replace(
            self.encoding, columns=(*numbered.columns, *self.encoding.columns), drawn=column.name
        )
        kind = self.encoding.columns[0].arrow_type
        self._pool = pa.array([], pa.int64() if pa.types.is_integer(kind) else kind)

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

    def _draw(self, supply: KeySupply, count: int) -> None:
        self._pool = pa.concat_arrays([self._pool, *supply.draw(count)])

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


def _has_no_text(key: ColumnEncoding) -> bool:
    return key.dump is not None or pa.types.is_binary(key.arrow_type)


def _as_text(key: Any) -> str:
    """Return a key as text that PostgreSQL reads."""
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else str(key)


# A visible row whose transaction is in progress belongs to this transaction. xmin lacks the epoch;
# the number of a savepoint is greater than that of its transaction.
_IS_OURS = """
pg_catalog.pg_xact_status((x.top OPERATOR(pg_catalog.-)
  ((x.top OPERATOR(pg_catalog.-) t.xmin::pg_catalog.text::bigint)
    OPERATOR(pg_catalog.%) 4294967296))::pg_catalog.text::pg_catalog.xid8)
  OPERATOR(pg_catalog.=) 'in progress'
"""
_TOP = "(SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::bigint) x(top)"
