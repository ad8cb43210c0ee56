"""COPY in binary format, with every constraint checked by PostgreSQL itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

import pyarrow as pa

from ingest.exceptions import CountMismatch
from ingest.plurals import counted
from ingest.postgres.errors import RowError, explain
from ingest.postgres.session import (
    END_CHECK,
    CheckRefusedError,
    Copying,
    CopyTarget,
    Statement,
)
from ingest.writing.batch_result import BatchResult
from ingest.writing.deferred import LEFT, DeferredChecks
from ingest.writing.refused_rows import (
    RecentBatches,
    describe,
    explain_missing,
    explain_refusal,
    reject_missing,
    reject_of,
)
from ingest.writing.timings import Stages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from concurrent.futures import Future

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Script, Session
    from ingest.writing.bad_rows import BadRowFinder
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.refused_rows import RefusedRow
    from ingest.writing.shard_references import ShardReferences

    Sent = tuple[int, Sequence[RefusedRow]]
    """The number of inserted rows, and the refused rows."""

KNOWN_BEFORE_LOAD = "The table had this key before the load."
KNOWN_BEFORE_CHUNK = "The table has this key from before the load, or from an earlier chunk."
"""The sentences about a key that was in the table before the open transaction."""
BATCHES_UNTIL_RELEASE = 8
"""After how many batches freed memory is returned to the system. The next batch takes it again,
page by page: done after each batch, that took a fifth of the client's CPU time."""


class Admitted(NamedTuple):
    """The part of a batch that may be sent."""

    batch: TypedBatch
    leaves_out_triggers: bool = False
    """Whether everything that the table's triggers would check is already proved."""


class CopyWriter:
    """Streams binary COPY, one statement for each batch, in the session's open transaction."""

    name: ClassVar[str] = "copy"

    def __init__(
        self,
        table: Table,
        model: type[models.Model],
        *,
        stages: Stages | None = None,
        skips_refused: bool = False,
        is_first_chunk: bool = True,
        defers_references: bool = False,
    ) -> None:
        """``stages``: counts the time of each stage.

        ``skips_refused``: the load continues without refused rows; otherwise the first one is an
        error. ``defers_references``: deferred foreign keys wait for the end of the caller's
        transaction.
        """
        self.table = table
        self.model = model
        self.stages = Stages() if stages is None else stages
        self.skips_refused = skips_refused
        self.is_first_chunk = is_first_chunk
        self.defers_references = defers_references
        self._recent = RecentBatches()
        self._builds_unique_indexes = False
        self._shard_references: ShardReferences | None = None
        self.decisions: list[str] = []
        """Sentences about what was decided during the load."""
        self.inserters: str | None = None
        """The table that marks the savepoints of the load; see ``BadRowFinder``."""
        self.old_values: OldValues | None = None
        """The old values of changed or deleted rows; None if they are not kept."""
        self.deleted = 0
        """How many rows were deleted because the source does not have them; set at the end."""

    def write(
        self, session: Session, keys: PrimaryKeys, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        """Send typed batches in the session's transaction, and yield the result of each, in order.

        ``keys`` sets the keys of the rows. Each batch is one COPY: an error is raised before the
        next one is sent, and the line in it is the number of a row. While one batch is sent, the
        next is made, unless the session ``looks_back``. While a result is yielded, nothing is sent
        and the connection is free. Close the iterator if you do not exhaust it.
        """
        yield from self._copy(session, keys, keys.encoding, keys.number(batches))

    def _copy(
        self,
        session: Session,
        keys: PrimaryKeys,
        encoding: CopyEncoding,
        batches: Iterable[TypedBatch],
    ) -> Generator[BatchResult, None, None]:
        self._look_up_for_shards(session, encoding)
        stream = self._open_stream(session, keys, encoding)
        self.inserters = stream.inserters
        self.decisions.extend(stream.decisions)
        deferred = DeferredChecks(
            session, self.table, self._recent, defers_references=self.defers_references
        )
        if not self.skips_refused:
            self.decisions.extend(deferred.prepare())
            stream.check, stream.decisions = deferred.beside, self.decisions
        if self.table.row_security:
            self.decisions.append(
                "Rows: inserted from a temporary table, because COPY is not possible under row "
                "security."
            )
        stage = self.stages.stage
        for batch in batches:
            with stage("encode"):
                order = self.order_of(batch)
                payload = stream.encode(batch, order)
            yield from self._wait(stream)
            with stage("look up references"):
                admitted, leaves_out_triggers = self.admit(batch)
            if not len(admitted.records):
                yield BatchResult(batch=admitted, rejects=admitted.rejects)
                continue
            if admitted is not batch:
                with stage("encode"):
                    order = self.order_of(admitted)
                    payload = stream.encode(admitted, order)
            if not self.skips_refused:
                waits = deferred.note(leaves_out_triggers=leaves_out_triggers)
                if waits or self._builds_unique_indexes:
                    self._recent.add(admitted)
            with stage("send"):
                keys.reserve(len(admitted.records))
                stream.start(admitted, payload, order, leaves_out_triggers=leaves_out_triggers)
            del payload
            if session.looks_back:
                yield from self._wait(stream)
        yield from self._wait(stream)
        with stage("look up references"):
            deferred.check()
            if self._shard_references is not None:
                self._shard_references.check()

    def _look_up_for_shards(self, session: Session, encoding: CopyEncoding) -> None:
        """Plan to look up parents, if the table's rows are in shards of Citus."""
        if self.table.distribution is None or self.defers_references:
            return
        from ingest.writing.shard_references import ShardReferences  # few tables are of Citus

        self._shard_references = ShardReferences(
            session, self.table, encoding, skips_refused=self.skips_refused
        )
        self.decisions.extend(self._shard_references.decisions)

    def _open_stream(
        self, session: Session, keys: PrimaryKeys, encoding: CopyEncoding
    ) -> CopyStream:
        return CopyStream(
            session,
            self.table,
            keys,
            encoding,
            skips_refused=self.skips_refused,
            is_first_chunk=self.is_first_chunk,
            defers_references=self.defers_references,
        )

    def _wait(self, stream: CopyStream) -> Generator[BatchResult, None, None]:
        """Yield the result of the batch that is being sent, if there is one."""
        with self.stages.stage("send"):
            result = stream.wait()
        if result is not None:
            yield result

    def order_of(self, batch: TypedBatch) -> pa.Array | None:  # noqa: ARG002
        """Return the places of the batch's rows in sending order; None keeps their order."""
        return None

    def admit(self, batch: TypedBatch) -> Admitted:
        """Check what PostgreSQL will not check, and return the part of the batch to send.

        Here PostgreSQL checks everything, but the shards of Citus check references late.
        """
        if self._shard_references is None or not len(batch.records):
            return Admitted(batch)
        missing = self._shard_references.missing(batch.rows)
        if not missing:
            return Admitted(batch)
        if self.skips_refused:
            return Admitted(batch.without([reject_missing(item, batch) for item in missing]))
        if self._shard_references.may_wait(batch, missing):
            return Admitted(batch)
        raise explain_missing(missing, batch)


class CopyStream:
    """Sends one batch at a time by COPY, while the caller makes the next one."""

    def __init__(  # noqa: PLR0913 - what one COPY after the other needs, each once
        self,
        session: Session,
        table: Table,
        keys: PrimaryKeys,
        encoding: CopyEncoding,
        *,
        skips_refused: bool,
        is_first_chunk: bool,
        defers_references: bool,
    ) -> None:
        """``skips_refused``: a refused row is not an error, but part of its batch's result."""
        self._session = session
        self._table = table
        self._keys = keys
        self._encoding = encoding
        self._skips_refused = skips_refused
        self._known = KNOWN_BEFORE_LOAD if is_first_chunk else KNOWN_BEFORE_CHUNK
        self._target = CopyTarget(
            schema=table.schema, table=table.name, columns=encoding.names, format=encoding.format
        )
        self._pending: tuple[Future[Sent], TypedBatch] | None = None
        self.check = ""
        """A statement that checks deferred constraints, sent in the message of each COPY."""
        self._batches = 0
        self._finder: BadRowFinder | None = None
        self.decisions: list[str] = []
        """Sentences about what was decided before the first row."""
        self.inserters: str | None = None
        """The table that marks the savepoints of the load; see ``BadRowFinder``."""
        self._needs_search = bool(skips_refused or table.row_security or table.insert_triggers)
        """Whether refused rows must be searched for. A trigger's error may name no row, and a
        trigger may keep a row out without an error."""
        if self._needs_search and not table.parts:
            from ingest.writing.bad_rows import BadRowFinder  # most loads end at a refused row

            self._finder = BadRowFinder(
                session,
                table,
                encoding,
                ends_at_first=not skips_refused,
                defers_references=defers_references,
            )
            self.inserters = self._finder.inserters
            self.decisions = self._finder.decisions

    def encode(self, batch: TypedBatch, order: pa.Array | None) -> bytes | None:
        """Encode a batch in this order; return None if it is unlikely to be sent as a whole."""
        if self._finder is not None and self._finder.expects_refused:
            return None
        return self._encoding.encode(batch.rows if order is None else batch.rows.take(order))

    def start(
        self,
        batch: TypedBatch,
        payload: bytes | None,
        order: pa.Array | None,
        *,
        leaves_out_triggers: bool,
    ) -> None:
        """Send a batch that was encoded in this order; call ``wait`` for the previous one first.

        ``leaves_out_triggers``: everything that the table's triggers would check is proved.
        """
        if self._finder is None and self.check:
            copying = Copying(self._target, cast("bytes", payload), check=self.check)
            script = _send_with_check(copying, self.decisions)
        elif self._finder is None:
            script = _send(Copying(self._target, cast("bytes", payload), leaves_out_triggers))
        else:
            script = self._finder.send(
                batch.rows, payload, order, leaves_out_triggers=leaves_out_triggers
            )
        self._begin(_explained(script, self._table, batch, order), batch)

    def _begin(self, script: Script[Sent], batch: TypedBatch) -> None:
        self._pending = self._session.start(script), batch

    def wait(self) -> BatchResult | None:
        """Wait for the batch that is being sent, if there is one, and return its result."""
        if self._pending is None:
            return None
        future, batch = self._pending
        self._pending = None
        rows, refused = future.result()
        if refused and not self._skips_refused:
            row = refused[0]
            refusal = RowError(
                row.state, row.place, row.message, row.detail, row.constraint, row.column
            )
            raise describe(refusal, self._table, batch)
        if rows + len(refused) != len(batch.records):
            raise CountMismatch(
                f"PostgreSQL took {rows:,} of {counted(len(batch.records), 'row')} sent into "
                f"{self._table.qualified_name}: a trigger or a rule kept the others out."
            )
        self._batches += 1
        if self._batches % BATCHES_UNTIL_RELEASE == 0:  # otherwise each thread keeps freed memory
            pa.default_memory_pool().release_unused()
        places = {row.place for row in refused}
        rejects = [
            *batch.rejects,
            *(reject_of(batch, row, self._table, self._known) for row in refused),
        ]
        rejects.sort(key=lambda reject: reject.record)
        keys = self._keys.note(batch, places)
        return BatchResult(batch=batch, inserted=rows, refused=places, rejects=rejects, keys=keys)


def _send(copying: Copying) -> Script[Sent]:
    """Send a batch; the first refused row ends the load."""
    rows: int = yield copying
    return rows, ()


def _send_with_check(copying: Copying, decisions: list[str]) -> Script[Sent]:
    """Send the only batch of a load, and check the deferred constraints of its rows."""
    try:
        rows: int = yield copying
    except CheckRefusedError as refused:
        yield Statement(END_CHECK)
        if not refused.is_before or refused.__cause__ is None:
            raise refused.__cause__ or refused from None
        if explain(refused.__cause__) is None:
            raise refused.__cause__ from None
        decisions.append(LEFT)
        rows = yield dataclasses.replace(copying, check="")
    return rows, ()


def _explained(
    script: Script[Sent], table: Table, batch: TypedBatch, order: pa.Array | None
) -> Script[Sent]:
    """Send a batch; if a row is refused, raise an error that names the record."""
    try:
        return (yield from script)
    except Exception as error:
        refusal = explain_refusal(error, table, batch, order)
        if refusal is None:
            raise
        raise refusal from error
