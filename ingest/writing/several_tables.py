"""COPY into the tables of a multi-table child: each batch into the parent's table first.

With ``on_error="reject"``, a record that one of the tables refuses is loaded into none of them: the
COPYs of a batch run in one savepoint, and a refused batch is halved until the record is found.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import UnsupportedModelError
from ingest.postgres.catalog import quote_name, unquoted
from ingest.postgres.encoding import CopyEncoding, choose_encoding
from ingest.postgres.errors import OF_STATEMENT, RowError, explain, may_be_of_row, refusal_of
from ingest.postgres.session import Copying, CopyTarget, Statement, in_savepoint
from ingest.postgres.several_tables import link_of, models_of_rows
from ingest.writing.copy import CopyStream, CopyWriter
from ingest.writing.deferred import find_check
from ingest.writing.primary_keys import PrimaryKeys
from ingest.writing.refused_rows import RefusedRow, describe, find_place
from ingest.writing.row_by_row import KEPT_OUT, KEPT_OUT_STATE
from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Script, Session
    from ingest.writing.copy import Sent
    from ingest.writing.primary_keys import Purpose

_BACK = "ROLLBACK TO SAVEPOINT ingest_batch; RELEASE SAVEPOINT ingest_batch"
WHY_NOT_DIRECT = (
    "Plain COPY: a record is a row of several tables, and each refers to the one before."
)


def find_keys(
    session: Session,
    table: Table,
    model: type[models.Model],
    encoding: CopyEncoding,
    *,
    purpose: Purpose,
) -> PrimaryKeys:
    """Return the source of the keys, which are those of the topmost parent.

    Raises ``UnsupportedModelError`` if they cannot be known before the rows are sent: the child's
    row refers to its parent's row.
    """
    top = models_of_rows(model)[0]
    keys = PrimaryKeys(
        session,
        table.parts[0],
        top,
        encoding,
        purpose="record" if purpose == "none" else purpose,
    )
    if keys.name not in keys.encoding.names:
        raise UnsupportedModelError(
            f"{model._meta.label} cannot be loaded with its parents: {keys.reason} Give each "
            f"record a {top._meta.pk.name!r}."
        )
    return keys


class SeveralTablesWriter(CopyWriter):
    """Streams each batch into the tables of a multi-table child, with one COPY for each table."""

    def _open_stream(
        self, session: Session, keys: PrimaryKeys, encoding: CopyEncoding
    ) -> CopyStream:
        return _Stream(
            session,
            self.table,
            keys,
            self.model,
            encoding,
            skips_refused=self.skips_refused,
            is_first_chunk=self.is_first_chunk,
            defers_references=self.defers_references,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """The part of a batch that goes into one of the tables."""

    target: CopyTarget
    encoding: CopyEncoding
    sources: tuple[str, ...]
    """The column of the batch from which each column of the table is made."""

    def encode(self, rows: pa.RecordBatch) -> bytes:
        cells = [
            pc.cast(rows.column(name), item.arrow_type)
            for name, item in zip(self.sources, self.encoding.columns, strict=True)
        ]
        return self.encoding.encode(pa.RecordBatch.from_arrays(cells, self.encoding.names))


class _TableRefusedError(Exception):
    """A driver's error, and the table whose COPY failed."""

    def __init__(self, error: Exception, table: str) -> None:
        self.error, self.table = error, table


class _Stream(CopyStream):
    """Sends one batch at a time, and tries it in halves if it is refused."""

    def __init__(  # noqa: PLR0913 - as CopyStream
        self,
        session: Session,
        table: Table,
        keys: PrimaryKeys,
        model: type[models.Model],
        encoding: CopyEncoding,
        *,
        skips_refused: bool,
        is_first_chunk: bool,
        defers_references: bool,
    ) -> None:
        super().__init__(
            session,
            table,
            keys,
            encoding,
            skips_refused=skips_refused,
            is_first_chunk=is_first_chunk,
            defers_references=defers_references,
        )
        self._parts = list(_parts(table, model, encoding, keys.name))
        names = [
            f"{quote_name(part.schema)}.{quote_name(item.name)}"
            for part in table.tables
            for item in part.constraints
            if item.is_deferrable and not (defers_references and item.kind == "f")
        ]
        self._check = self._mark = ""
        if not self._needs_search:
            return
        inserters = temporary_name("inserters")
        session.execute(f"CREATE TEMPORARY TABLE {inserters} () ON COMMIT DROP")
        self.inserters = f"pg_temp.{inserters}"
        self._mark = f"INSERT INTO {self.inserters} DEFAULT VALUES"
        if names and skips_refused:
            check, self.decisions = find_check(
                session, f"SET CONSTRAINTS {', '.join(names)} IMMEDIATE"
            )
            self._check = in_savepoint(check) if check else ""

    def encode(self, batch: TypedBatch, order: pa.Array | None) -> bytes | None:  # noqa: ARG002
        return None  # each piece is encoded separately, when it is sent

    def start(
        self,
        batch: TypedBatch,
        payload: bytes | None,  # noqa: ARG002
        order: pa.Array | None,  # noqa: ARG002
        *,
        leaves_out_triggers: bool,  # noqa: ARG002
    ) -> None:
        self._begin(self._try(batch) if self._needs_search else self._send(batch), batch)

    def _send(self, batch: TypedBatch) -> Script[Sent]:
        try:
            rows = yield from self._copy(batch.rows)
        except _TableRefusedError as refused:
            raise self._explained(refused, batch) from refused.error
        return rows, ()

    def _explained(self, refused: _TableRefusedError, batch: TypedBatch) -> Exception:
        if explain(refused.error) is None:
            return refused.error
        refusal = refusal_of(refused.error, refused.table, range(len(batch.records)))
        if refusal.place is None:
            refusal = refusal._replace(place=find_place(refusal, self._table, batch))
        return describe(refusal, self._table, batch)

    def _copy(self, rows: pa.RecordBatch) -> Script[int]:
        """Send rows into each of the tables; return the number that was inserted into all."""
        counts: list[int] = []
        for part in self._parts:
            try:
                counts.append((yield Copying(part.target, part.encode(rows))))
            except Exception as error:
                raise _TableRefusedError(error, part.target.table) from error
        return min(counts)

    def _try(self, batch: TypedBatch) -> Script[Sent]:
        refused: list[RefusedRow] = []
        entered = 0
        pieces = [(0, batch.rows.num_rows)]
        while pieces:
            start, rows = pieces.pop()
            found = yield from self._try_piece(batch.rows.slice(start, rows))
            if isinstance(found, int):
                entered += found
            elif rows > 1:
                left = rows // 2
                pieces += [(start + left, rows - left), (start, left)]
            else:
                refused.append(dataclasses.replace(found, place=start))
                if not self._skips_refused:
                    break  # the load ends at the first refused row
        return entered, refused

    def _try_piece(self, rows: pa.RecordBatch) -> Script[int | RefusedRow]:
        """Send some rows; return their number, or the refusal of one: then none is inserted."""
        yield Statement(f"SAVEPOINT ingest_batch; {self._mark}")
        try:
            try:
                entered: int = yield from self._copy(rows)
                if entered == rows.num_rows and self._check:
                    yield Statement(self._check)
            except _TableRefusedError as refused:
                raise refused.error from None
        except Exception as error:
            if not may_be_of_row(error):
                raise
            yield Statement(_BACK)
            refusal = refusal_of(error, "", ())
            if str(refusal.state).startswith(OF_STATEMENT):
                yield from self._copy(rows.slice(0, 0))  # fails again if it is about the statement
            error.__traceback__ = None  # its frames hold the batch
            return RefusedRow.of(refusal, 0)
        if entered != rows.num_rows:
            yield Statement(_BACK)
            return RefusedRow.of(RowError(KEPT_OUT_STATE, None, KEPT_OUT), 0)
        yield Statement("RELEASE SAVEPOINT ingest_batch")
        return entered


def _parts(
    table: Table, model: type[models.Model], encoding: CopyEncoding, key: str
) -> Sequence[_Part]:
    """Return the part of a batch for each of the tables; a parent link gets the key."""
    items = {item.column.name: item for item in encoding.columns}
    found = []
    for part, owner in zip(table.parts, models_of_rows(model), strict=True):
        own = {unquoted(str(field.column)) for field in owner._meta.local_concrete_fields}
        sources = {name: name for name in encoding.names if name in own}
        columns = [items[name] for name in sources]
        link: Any = link_of(owner)
        if link is not None:
            column = part.column(str(link.column))
            item = dataclasses.replace(items[key], column=column)
            if item.dump is None:
                item = choose_encoding([column], None).columns[0]
            columns.append(item)
            sources[column.name] = key
        target = CopyTarget(
            schema=part.schema,
            table=part.name,
            columns=tuple(sources),
            format=encoding.format,
        )
        found.append(
            _Part(
                target=target,
                encoding=CopyEncoding(columns=tuple(columns), format=encoding.format),
                sources=tuple(cast("Sequence[str]", list(sources.values()))),
            )
        )
    return found
