"""COPY in binary format: every constraint checked by PostgreSQL itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import pyarrow as pa

from ingest.exceptions import CountMismatch
from ingest.postgres.errors import RowError, explain
from ingest.postgres.session import (
    END_CHECK,
    CheckRefusedError,
    Copying,
    CopyTarget,
    Statement,
)
from ingest.results import Counts
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
    from collections.abc import Collection, Generator, Iterable, Sequence
    from concurrent.futures import Future

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Script, Session
    from ingest.results.rejects import Reject
    from ingest.writing.bad_rows import BadRowFinder, RefusedRow
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.shard_references import ShardReferences

    Sent = tuple[int, Sequence[RefusedRow]]
    """How many rows went in, and those that did not."""


class Admitted(NamedTuple):
    """What may be sent of a batch."""

    batch: TypedBatch
    leaves_out_triggers: bool = False
    """Whether all that the table's triggers would check of it is proved."""


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
        """``stages``: where the time of each stage is counted.

        ``skips_refused``: the load goes on without the rows that are refused; else the first one is
        an error. ``defers_references``: foreign keys that are deferred wait for the end of the
        caller's transaction.
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
        """What was decided on the way, a sentence each."""
        self.inserters: str | None = None
        """The table that the savepoints of the load are marked in; see ``BadRowFinder``."""
        self.old_values: OldValues | None = None
        """What changed or deleted rows were before; None where that is not to be kept."""
        self.deleted = 0
        """Rows that were deleted because the source does not have them, once all is written."""

    def write(
        self, session: Session, keys: PrimaryKeys, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        """Send typed batches in the session's transaction, and yield the result of each, in order.

        ``keys`` gives the rows their keys. Each batch is one COPY: an error shows before the next
        is sent, and its line is the ordinal of a row. While one is sent the next is made, unless
        the session ``looks_back``; while a result is yielded nothing is sent, and the connection is
        free. Close the iterator if it is not read to its end.
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
        """Plan to look up parents for the shards of Citus, if these have the table's rows."""
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
        """Yield the result of the batch that is on its way, if there is one."""
        with self.stages.stage("send"):
            result = stream.wait()
        if result is not None:
            yield result

    def order_of(self, batch: TypedBatch) -> pa.Array | None:  # noqa: ARG002
        """Return the places of the batch's rows in the order they are sent; None: as they are."""
        return None

    def admit(self, batch: TypedBatch) -> Admitted:
        """Prove what PostgreSQL will not check of a batch, and give what it may have of it.

        Nothing here, where PostgreSQL checks all; but the shards of Citus check some of it late.
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


def unsupported_reasons(model: type[models.Model], method: str) -> list[str]:
    """Return in sentences why no load can write the model; an empty list if it can.

    ``method`` is the name that the sentences use.
    """
    reasons = (why_no_table(model), why_not_values(model, method))
    return [reason for reason in reasons if reason is not None]


def why_no_table(model: type[models.Model]) -> str | None:
    """Return why the model has no table to be written, or None."""
    options = model._meta
    if options.abstract or options.swapped:
        return f"{options.label} has no table of its own."
    return None


def why_not_one_table(model: type[models.Model], method: str) -> str | None:
    """Return which other tables hold fields of the model, or None: its own holds all of them."""
    options = model._meta
    parents = [
        parent._meta.label
        for parent in (options.concrete_model or model)._meta.get_parent_list()
        if parent._meta.concrete_model is parent
    ]
    if not parents:
        return None
    return (
        f"The method {method!r} writes one table, but {options.label} also has fields in "
        f"the table of {', '.join(parents)}: make its rows with save() of the ORM."
    )


def why_not_values(model: type[models.Model], method: str) -> str | None:
    """Return which fields have SQL around their values, or None."""
    options = model._meta
    wrapped = [field.name for field in options.concrete_fields if _wraps_sql(field)]
    if not wrapped:
        return None
    return (
        f"The method {method!r} sends values as they are, but {options.label} has SQL "
        f"around those of {', '.join(wrapped)}: make its rows with bulk_create() of the ORM."
    )


def _wraps_sql(field: models.Field[Any, Any]) -> bool:
    """Return whether somebody's own field does it; Django's own do no more than cast."""
    return any(
        name in vars(kind) and not kind.__module__.startswith("django.")
        for kind in type(field).__mro__
        for name in ("get_placeholder", "get_placeholder_sql")
    )


KNOWN_BEFORE_LOAD = "The table had this key before the load."
KNOWN_BEFORE_CHUNK = "The table has this key from before the load, or from an earlier chunk."
"""What is said of a key that was in the table before the open transaction."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of one batch."""

    batch: TypedBatch
    """The batch as it was sent: without the records that were refused before."""
    inserted: int = 0
    """How many of its rows are new in the table."""
    updated: int = 0
    """How many changed a row that the table had."""
    unchanged: int = 0
    """How many have the values that the table's row had: it was not written."""
    ignored: int = 0
    """How many left the table's row as it is, as asked."""
    skipped: int = 0
    """How many were left out for another record of the source with the same key. May be negative:
    a record that was counted otherwise before is left out for one of this batch."""
    refused: Collection[int] = ()
    """The places of its rows that PostgreSQL refused."""
    rejects: Sequence[Reject] = ()
    """Every reason of every refused record, by record: those of before it was sent, too."""
    keys: list[str] = dataclasses.field(default_factory=list)
    """The keys of its inserted rows that are in no short ranges, as text; see ``Keys.note``."""

    @property
    def counts(self) -> Counts:
        """What became of the batch's records, but for those that were refused."""
        return Counts(
            inserted=self.inserted,
            updated=self.updated,
            unchanged=self.unchanged,
            ignored=self.ignored,
            skipped=self.skipped,
        )


BATCHES_UNTIL_RELEASE = 8
"""After how many batches freed memory goes back to the system. The next batch takes it again, page
by page: after each batch, that was a fifth of the client's CPU."""


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
        """``skips_refused``: a refused row is no error, but part of its batch's result."""
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
        """A statement that checks deferred constraints, in the message of each COPY."""
        self._batches = 0
        self._isolation: BadRowFinder | None = None
        self.decisions: list[str] = []
        """What was decided before the first row, in sentences."""
        self.inserters: str | None = None
        """The table that the savepoints of the load are marked in; see ``BadRowFinder``."""
        has_late_errors = any(trigger.follows_rows for trigger in table.triggers)
        if skips_refused or table.row_security or has_late_errors:
            from ingest.writing.bad_rows import BadRowFinder  # most loads end at a refused row

            self._isolation = BadRowFinder(
                session,
                table,
                encoding,
                ends_at_first=not skips_refused,
                defers_references=defers_references,
            )
            self.inserters = self._isolation.inserters
            self.decisions = self._isolation.decisions

    def encode(self, batch: TypedBatch, order: pa.Array | None) -> bytes | None:
        """Encode a batch, in this order of its places; None: it will hardly be sent as a whole."""
        if self._isolation is not None and self._isolation.expects_refused:
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
        """Send a batch that was encoded in this order; the one before must have been waited for.

        ``leaves_out_triggers``: what the table's triggers would check is proved already.
        """
        if self._isolation is None and self.check:
            copying = Copying(self._target, cast("bytes", payload), check=self.check)
            script = _send_with_check(copying, self.decisions)
        elif self._isolation is None:
            script = _send(Copying(self._target, cast("bytes", payload), leaves_out_triggers))
        else:
            script = self._isolation.send(
                batch.rows, payload, order, leaves_out_triggers=leaves_out_triggers
            )
        self._begin(_explained(script, self._table, batch, order), batch)

    def _begin(self, script: Script[Sent], batch: TypedBatch) -> None:
        self._pending = self._session.start(script), batch

    def wait(self) -> BatchResult | None:
        """Wait for the batch that is on its way, if one is, and return what became of it."""
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
                f"PostgreSQL took {rows:,} of {len(batch.records):,} rows that were sent into "
                f"{self._table.qualified_name}: a trigger or a rule kept the others out."
            )
        self._batches += 1
        if self._batches % BATCHES_UNTIL_RELEASE == 0:  # each thread would keep what it has freed
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
    """Send a batch whose first refused row is the end of the load."""
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
    """Send a batch, and let an error name the record that PostgreSQL refused."""
    try:
        return (yield from script)
    except Exception as error:
        refusal = explain_refusal(error, table, batch, order)
        if refusal is None:
            raise
        raise refusal from error
