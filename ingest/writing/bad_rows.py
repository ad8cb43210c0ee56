"""Find the rows that only PostgreSQL can refuse, exactly as if they were inserted one by one.

A batch is sent by one COPY. If it is refused, the rows that may be refused or may conflict with
others are *suspect*, and the other rows are sent by COPY without them. The suspect rows are then
tried one by one, in order, from a temporary table on the server. Which rows are suspect is only a
guess that saves time. If COPY is still refused, all rows are tried from the temporary table, many
at a time, and a piece that is refused is halved until the row is found.

A load that ends at the first refused row does the same if PostgreSQL would not name the row: a
trigger that fires after the rows raises only at the end of COPY, and one that fires before a row
can keep it out without an error.

PostgreSQL does not accept COPY into a table whose row security policies apply to the role. All rows
are then tried from the temporary table, even if the load ends at the first refused row.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc

from ingest.postgres.errors import RowError, may_be_of_row, refusal_of
from ingest.postgres.session import (
    Copying,
    CopyTarget,
    Query,
    Statement,
    in_savepoint,
    without_triggers,
)
from ingest.writing.deferred import find_check, set_constraints
from ingest.writing.own_references import OwnReferences
from ingest.writing.refused_rows import RefusedRow, own_refusal
from ingest.writing.row_by_row import KEPT_OUT, KEPT_OUT_STATE, READ_ENTERED, RowByRow
from ingest.writing.staging import StagingTable, staged_types, temporary_name
from ingest.writing.suspects import CannotTellError, SuspectRows, unique_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Constraint, Table, Trigger
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Script, Session


_REFUSED_FIELDS = tuple(field.name for field in dataclasses.fields(RefusedRow))


class BadRowFinder:
    """Sends the batches of one load; must be created before its first row is sent."""

    def __init__(
        self,
        session: Session,
        table: Table,
        encoding: CopyEncoding,
        *,
        ends_at_first: bool = False,
        defers_references: bool = False,
    ) -> None:
        """Create the temporary tables; ``ends_at_first``: the first refused row ends the load.

        ``defers_references``: do not set foreign keys to IMMEDIATE.
        """
        keys = unique_keys(table, encoding.names)
        types = staged_types(session, table, encoding)
        self._stage = StagingTable(session, table, encoding, "stage", encoding.names, types)
        session.execute(f"ALTER TABLE {self._stage.name} ADD PRIMARY KEY ({self._stage.place})")
        refused = temporary_name("refused")
        session.execute(_REFUSED.format(refused=refused))
        self._refused = f"pg_temp.{refused}"
        inserters = temporary_name("inserters")
        session.execute(f"CREATE TEMPORARY TABLE {inserters} () ON COMMIT DROP")
        self.inserters = f"pg_temp.{inserters}"
        """The table into which each subtransaction that inserts rows puts a row, for its xmin."""
        self._mark = f"INSERT INTO {self.inserters} DEFAULT VALUES"
        self._table = table
        self._encoding = encoding
        self._target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        self._immediate = self._deferred = self._check = ""
        self.decisions: list[str] = []
        """Sentences about what was decided for the caller's own rows."""
        if not ends_at_first:
            self._plan_constraints(session, defers_references=defers_references)
        checked, unchecked = (
            RowByRow(
                table,
                encoding.names,
                keys,
                self._stage,
                refused=self._refused,
                mark=self._mark,
                check=check,
                types=types,
                ends_at_first=ends_at_first,
            )
            for check in (self._check, "")
        )
        self._checked, self._unchecked = checked, unchecked
        self._leaves_out_triggers = False
        self._own = OwnReferences(table, () if ends_at_first else encoding.names)
        self._takes_copy = not table.row_security
        self._suspects = SuspectRows(session, table, encoding) if _can_guess(table) else None
        self.expects_refused = not self._takes_copy
        """Whether the next batch is not first sent as a whole, because rows of the previous one
        were refused, or COPY is impossible."""
        self._entered = 0
        """How many rows of this batch were inserted, as counted by PostgreSQL."""

    def _plan_constraints(self, session: Session, *, defers_references: bool) -> None:
        """Plan when deferrable constraints and triggers are checked.

        A deferred one would fail when it is too late to say which row it was.
        """
        table = self._table
        asked: list[Constraint | Trigger] = [
            it for it in table.constraints if not (defers_references and it.kind == "f")
        ]
        asked += table.triggers
        immediate = set_constraints(table, [it for it in asked if it.is_deferrable], "IMMEDIATE")
        if not session.is_callers:
            self._immediate = immediate
            deferred = [it for it in asked if it.is_deferred]
            self._deferred = set_constraints(table, deferred, "DEFERRED")
        elif immediate:
            self._check, self.decisions = find_check(session, immediate.rstrip("; "))

    def send(
        self,
        rows: pa.RecordBatch,
        payload: bytes | None,
        order: pa.Array | None,
        *,
        leaves_out_triggers: bool,
    ) -> Script[tuple[int, Sequence[RefusedRow]]]:
        """Insert the rows that are accepted; return their number, and the refused rows.

        ``order`` has the places of the rows in the best order for sending, which is that of the
        ``payload``. Without a payload the batch is not sent as a whole.
        """
        self._leaves_out_triggers = leaves_out_triggers
        places = pa.arange(0, rows.num_rows) if order is None else order
        self._entered = 0
        refusal = None
        if payload is not None and not self.expects_refused:
            refusal = yield from self._copy(payload, places)
            if refusal is None:
                return self._entered, ()
        del payload
        refused = yield from self._isolate(rows, places, refusal)
        may_be_refused = bool(refused) and self._suspects is not None
        self.expects_refused = may_be_refused or not self._takes_copy
        return self._entered, refused

    def _isolate(
        self, rows: pa.RecordBatch, places: pa.Array, refusal: RowError | None
    ) -> Script[list[RefusedRow]]:
        suspects = None
        if self._suspects is not None:
            try:
                suspects = yield from self._put_in_certain(rows, places, self._suspects, refusal)
            except CannotTellError:
                self._suspects = None  # the next batch would not fare better
        staged = range(rows.num_rows) if suspects is None else sorted(suspects)
        rows_of = self._unchecked if self._leaves_out_triggers else self._checked
        attempt = rows_of.in_pieces if suspects is None else rows_of.singly
        refused = yield from self._try(rows, staged, attempt)
        while later := self._own.find_later(rows, refused):
            again = yield from self._try(rows, sorted(later), rows_of.in_pieces)
            refused = [*(row for row in refused if row.place not in later), *again]
            if len(again) == len(later):
                break
        return sorted(refused, key=lambda row: row.place)

    def _try(
        self, rows: pa.RecordBatch, places: Sequence[int], attempt: str
    ) -> Script[list[RefusedRow]]:
        """Try the rows at these places from the stage, and return those that are refused."""
        yield Statement(f"TRUNCATE {self._refused}")
        at = pa.array(places, pa.int64())
        refused_by_type = yield from self._stage.fill(rows.take(at), at)
        yield Statement(self._guard(attempt))
        [(entered,)] = yield Query(READ_ENTERED)
        self._entered += entered
        found = yield Query(_READ_REFUSED.format(refused=self._refused))
        refused = [
            self._in_own_names(RefusedRow(**dict(zip(_REFUSED_FIELDS, row, strict=True))))
            for row in found
        ]
        refused += [RefusedRow.of(it, cast("int", it.place)) for it in refused_by_type]
        return refused

    def _in_own_names(self, row: RefusedRow) -> RefusedRow:
        said = RowError(row.state, row.place, row.message, row.detail, row.constraint, row.column)
        own = own_refusal(said, self._table)
        return dataclasses.replace(
            row,
            state=str(own.state),
            message=own.message,
            detail=own.detail,
            constraint=own.constraint,
        )

    def _put_in_certain(
        self, rows: pa.RecordBatch, places: pa.Array, finder: SuspectRows, refusal: RowError | None
    ) -> Script[set[int] | None]:
        """Send the rows that are not suspect by COPY, and return the places of the others.

        Returns None if one of the sent rows was refused; then none was inserted.
        """
        suspects = yield from finder.find(rows)
        if refusal is not None and refusal.place is not None and refusal.place not in suspects:
            suspects |= yield from finder.find_more(rows, refusal)
        while (refusal := (yield from self._copy_certain(rows, places, suspects))) is not None:
            more = yield from finder.find_more(rows, refusal)
            if more <= suspects:
                self._suspects = None  # another cause refuses rows, and will again
                return None
            suspects |= more
        return suspects

    def _copy_certain(
        self, rows: pa.RecordBatch, places: pa.Array, suspects: set[int]
    ) -> Script[RowError | None]:
        is_suspect = pc.is_in(places, pa.array(sorted(suspects), places.type))
        certain = places.filter(pc.invert(is_suspect))
        return (yield from self._copy(self._encoding.encode(rows.take(certain)), certain))

    def _copy(self, payload: bytes, places: pa.Array) -> Script[RowError | None]:
        """Send the rows at these places; return None if all were inserted, or why none was."""
        refusal = None
        leaves_out = self._leaves_out_triggers
        immediate, deferred = ("", "") if leaves_out else (self._immediate, self._deferred)
        yield Statement(f"SAVEPOINT ingest_batch; {self._mark}; {immediate}")
        try:
            entered: int = yield Copying(self._target, payload, leaves_out)
            if self._check and not leaves_out:
                yield Statement(in_savepoint(self._check))
            if entered == len(places):
                self._entered += entered
            else:
                refusal = RowError(KEPT_OUT_STATE, None, KEPT_OUT)
        except Exception as error:
            if not may_be_of_row(error):
                raise
            said = refusal_of(error, self._target.table, places.to_pylist())
            refusal = own_refusal(said, self._table)
            # The frames of the traceback hold the batch, in a reference cycle that is freed late.
            error.__traceback__ = None
        if refusal is not None:
            yield Statement("ROLLBACK TO SAVEPOINT ingest_batch")
            deferred = ""  # the rollback has reset them
        yield Statement(f"{deferred}RELEASE SAVEPOINT ingest_batch")
        return refusal

    def _guard(self, attempt: str) -> str:
        """Return the statement with the same settings around it as for a COPY."""
        if self._leaves_out_triggers:
            return without_triggers(attempt)
        return f"{self._immediate}{attempt}; {self._deferred}"


def _can_guess(table: Table) -> bool:
    """Return whether the rows that conflict with others can be guessed.

    If not, all rows are tried in order: an exclusion constraint or a trigger may refuse a row for
    reasons that its values do not show, and Citus would have to query all shards.
    """
    is_plain = table.distribution is None and not table.triggers and not table.row_security
    return is_plain and all(constraint.kind != "x" for constraint in table.constraints)


_REFUSED = """
CREATE TEMPORARY TABLE {refused} (
  place bigint, state pg_catalog.text, message pg_catalog.text, detail pg_catalog.text,
  constraint_name pg_catalog.text, column_name pg_catalog.text, is_in_source boolean
) ON COMMIT DROP
"""
_READ_REFUSED = """
SELECT place, state, message, detail, constraint_name, column_name, is_in_source
FROM {refused} ORDER BY place
"""
