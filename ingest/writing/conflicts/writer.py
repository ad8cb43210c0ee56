"""Match records with the rows of the table: insert, update, leave unchanged, ignore or refuse.

A batch is sent by COPY into a temporary table, and one statement on the server handles its rows: it
finds duplicates, looks up the table's row for each, updates rows that differ, and inserts rows that
are not in the table. See ``statements``.

It is exact beside other transactions. Rows are updated by their ctid and their key, and inserted
with ON CONFLICT DO NOTHING. If either affects fewer rows than expected, another transaction has
changed a row in between, and the row is looked up again. Two loads into one table take turns: see
``turns``.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from django.db import DEFAULT_DB_ALIAS

from ingest.exceptions import ConfigurationError
from ingest.plurals import counted
from ingest.postgres.session import Statement
from ingest.writing.batch_result import BatchResult
from ingest.writing.conflicts.changes import plan_changes
from ingest.writing.conflicts.grouping import grouped
from ingest.writing.conflicts.insert_order import plan_order
from ingest.writing.conflicts.keys import choose_key, read_keys
from ingest.writing.conflicts.old_values import OldValues
from ingest.writing.conflicts.outcomes import Settled, read_settled, type_of_keys
from ingest.writing.conflicts.references import FEW_ROWS, plan_references, set_referring
from ingest.writing.conflicts.refusals import Refusals
from ingest.writing.conflicts.statements import Settling
from ingest.writing.conflicts.sync import Deletion
from ingest.writing.conflicts.turns import take_turn
from ingest.writing.copy import CopyWriter
from ingest.writing.deferred import DeferredChecks, firing_of, set_constraints
from ingest.writing.refused_rows import explain_refusal
from ingest.writing.staging import StagingTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from concurrent.futures import Future

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Script, Session
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import ConflictOptions, Given
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.timings import Stages

FEW_REFUSED = 1_000
"""If more records of a batch are refused, no more batches are joined."""


class ConflictWriter(CopyWriter):
    """Inserts or updates the rows of each batch in the session's open transaction."""

    def __init__(  # noqa: PLR0913 - what the caller decides, each once
        self,
        table: Table,
        model: type[models.Model],
        *,
        options: ConflictOptions,
        given: Given,
        seen: SeenKeys,
        stages: Stages | None = None,
        skips_refused: bool = False,
        is_first_chunk: bool = True,
        is_chunk: bool = False,
        defers_references: bool = False,
        keeps_old: bool = False,
        alias: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """``is_chunk``: more rows may follow after these are committed, so ``seen`` must last."""
        super().__init__(
            table,
            model,
            stages=stages,
            skips_refused=skips_refused,
            is_first_chunk=is_first_chunk,
            defers_references=defers_references,
        )
        self.options, self.given, self.seen = options, given, seen
        self.is_chunk, self.keeps_old, self.alias = is_chunk, keeps_old, alias
        self._key: ConflictKey
        self._in_keys: set[str] = set()
        """The columns of all unique keys."""
        self._stage: StagingTable
        self._refusals: Refusals
        self._settling: Settling
        self._statement = ""
        self._is_for_many = False
        self._emptying = ""
        self._session: Session
        self._primary_keys: PrimaryKeys
        self._deletion: Deletion | None = None
        self._refuses_many = False

    def write(
        self, session: Session, keys: PrimaryKeys, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        """Do the same as ``CopyWriter.write``; can be used only once."""
        self._session, self._primary_keys = session, keys
        self._prepare(session, keys)
        deferred = DeferredChecks(
            session, self.table, self._recent, defers_references=self.defers_references
        )
        if not self.skips_refused:
            self.decisions.extend(deferred.prepare())
        pending: tuple[Future[Settled], TypedBatch] | None = None
        stage = self.stages.stage
        for given in keys.number(grouped(batches, self._may_wait)):
            if pending is not None:
                yield self._result(*pending)
                pending = None
            batch = self.admit(given).batch
            if not len(batch.records):
                yield BatchResult(batch=batch, rejects=batch.rejects)
                continue
            if not self.skips_refused and deferred.note(leaves_out_triggers=False):
                self._recent.add(batch)
            self._write_statement(session, keys.encoding, len(batch.records))
            with stage("send"):
                pending = session.start(self._explained(batch)), batch
            if session.looks_back:
                yield self._result(*pending)
                pending = None
        if pending is not None:
            yield self._result(*pending)
        self._finish(deferred)

    def _finish(self, deferred: DeferredChecks) -> None:
        if self._deletion is not None:
            with self.stages.stage("delete"):
                self.deleted, sentence = self._deletion.delete(
                    self.seen.tables.seen, self.old_values
                )
                self.decisions.append(sentence)
        with self.stages.stage("look up references"):
            deferred.check()
            if self._shard_references is not None:
                self._shard_references.check()

    def _may_wait(self) -> bool:
        """Return whether more records may be read before the last ones are sent.

        The server must be busy in the meantime, and no record may depend on earlier ones.
        """
        pending = self._session.pending
        is_busy = pending is not None and not pending.done()
        return is_busy and not self._session.looks_back and not self._refuses_many

    def _prepare(self, session: Session, keys: PrimaryKeys) -> None:
        """Choose the key, take the locks and create the temporary tables."""
        encoding = keys.encoding
        fed = [self.table.column(str(field.column)).name for field in self.given.fields]
        keys_of_table = read_keys(session, self.table)
        self._in_keys = {name for each in keys_of_table for name in each.plain}
        self._key = key = choose_key(
            keys_of_table, self.model, fed, encoding.names, self.options.key
        )
        self._refusals = Refusals(self.table, key, self.given, self.seen)
        self._check_identities([name for name in encoding.names if name != encoding.drawn])
        changes = plan_changes(
            session, self.table, self.model, key, self.given.fields, self.options
        )
        settling = Settling
        if self.table.distribution is not None:
            from ingest.writing.conflicts.sharded import (  # few tables are of Citus
                ShardedSettling,
                check_sharded,
            )

            check_sharded(self.table, key, self.options)
            settling = ShardedSettling
            self._look_up_for_shards(session, encoding)
        self.decisions += take_turn(session, self.table, key)
        if self.options.mode == "sync":
            self._deletion = Deletion(
                session, self.table, self.model, key, self.options, self.alias
            )
        self._stage = StagingTable(session, self.table, encoding, "stage", encoding.names)
        self._settling = settling(
            self.table,
            key,
            changes,
            self.options,
            self._stage,
            encoding.names,
            returned=keys.name if keys.reason is None else "",
            lacks=bool(self.given.lacking),
            ends_at_first=not self.skips_refused,
            tables=self.seen.tables,
        )
        is_made = False
        if self.is_chunk:
            # It does not exist if that transaction was rolled back, or its connection was lost.
            [(is_made,)] = session.fetch(_IS_MADE, self.seen.tables.seen)
        self._settling.create(session, keeps_seen=self.is_chunk, makes_seen=not is_made)
        if self.is_chunk and not is_made and self.seen.recall is not None:
            self.seen.sources = self.seen.recall(
                session, self.seen.tables.seen, self._settling.index_columns
            )
        self.inserters = self.seen.tables.marks
        columns = self._settling.set_columns
        if self.keeps_old and keys.name and (columns or self._deletion is not None):
            self.old_values = OldValues(session, self.table, key=keys.name, columns=columns)

    def _write_statement(self, session: Session, encoding: CopyEncoding, rows: int) -> None:
        """Write the statement for a batch of ``rows`` rows.

        It is written once, and again for the first batch with many rows.
        """
        is_large = rows > FEW_ROWS and self.options.inserts
        if self._statement and (self._is_for_many or not is_large):
            return
        if is_large:
            self._is_for_many = True
            references, reason = plan_references(session, self.table, encoding)
            self._settling.references = references
            if references:
                self.decisions.append(
                    f"References: {counted(len(references), 'foreign key')} of inserted rows "
                    "checked as a set."
                )
            elif reason is not None:
                self.decisions.append(
                    f"References: checked row by row by PostgreSQL, because {reason}"
                )
            if self._settling.has_row_ids:
                names = encoding.names
                self._settling.insert_order = plan_order(session, self.table, names)
        if self.skips_refused:
            self._settling.firing, told = firing_of(session, self.table)
            self.decisions.extend(told)
        statement = self._settling.statement(self.old_values)
        immediate = deferred = ""
        changed = self._in_keys & set(self._settling.set_columns)
        if changed:  # no foreign key refers to another column
            immediate, deferred = set_referring(session, self.table, changed)
        if self.skips_refused:
            asked = [
                item
                for item in self.table.constraints
                if not (self.defers_references and item.kind == "f")
            ]
            immediate += set_constraints(
                self.table, [item for item in asked if item.is_deferrable], "IMMEDIATE"
            )
            deferred += set_constraints(
                self.table, [item for item in asked if item.is_deferred], "DEFERRED"
            )
        self._statement = f"{immediate}{statement}; {deferred}"

    def _check_identities(self, names: Sequence[str]) -> None:
        """Refuse values for GENERATED ALWAYS AS IDENTITY, except for finding rows by them."""
        for column in self.table.columns:
            is_found_by = column.name in self._key.plain
            if column.identity == "a" and column.name in names and not is_found_by:
                raise ConfigurationError(
                    f"The column {column.name!r} of {self.table.qualified_name} is "
                    "GENERATED ALWAYS AS IDENTITY and cannot be updated: leave it out of the "
                    "source."
                )

    def _explained(self, batch: TypedBatch) -> Script[Settled]:
        try:
            return (yield from self._settle(batch))
        except Exception as error:
            refusal = explain_refusal(error, self.table, batch, None)
            if refusal is None:
                raise
            raise refusal from error

    def _settle(self, batch: TypedBatch) -> Script[Settled]:
        settling, tables = self._settling, self.seen.tables
        file = self.seen.number_of(batch)
        emptying, self._emptying = self._emptying, f"{settling.emptying}; "
        first = (
            f"{emptying}SELECT pg_catalog.set_config('ingest.file', '{file}', true), "
            "pg_catalog.set_config('ingest.settled', '', true); "
        )
        untyped = yield from self._stage.fill(batch.rows, _places(batch), first)
        make_row = partial(self._refusals.row, batch)
        refused = [make_row(row) for row in untyped]
        if untyped and not self.skips_refused:
            return Settled(refused=refused)
        yield Statement(self._statement)
        if self.is_chunk:
            yield Statement(settling.noting)
        key_type = type_of_keys(self._primary_keys, self.table)
        return (yield from read_settled(tables, key_type, refused, make_row))

    def _result(self, future: Future[Settled], batch: TypedBatch) -> BatchResult:
        """Wait for a batch that is being sent, and return its result."""
        with self.stages.stage("send"):
            settled = future.result()
        pa.default_memory_pool().release_unused()
        self._refuses_many |= len(settled.refused) + len(settled.repeated) > FEW_REFUSED
        rejects = [self._refusals.reject(batch, row) for row in settled.refused]
        repeats: list[Reject] = []
        if self.options.duplicates == "reject":
            repeats = [self._refusals.reject_repeated(batch, *row) for row in settled.repeated]
        if not self.skips_refused:
            self._refusals.raise_first(batch, settled.refused, repeats)
        inserted, updated, unchanged, ignored, skipped = settled.counts
        rejects += repeats
        skipped += len(settled.repeated) - len(repeats)
        places = {row.place for row in settled.refused}
        places |= {bisect_left(batch.records, record) for record, _, _ in settled.repeated}
        keys = list(settled.texts)
        if settled.ranges:
            keys = self._primary_keys.note_ranges(list(settled.ranges), inserted)
        return BatchResult(
            batch=batch,
            inserted=inserted,
            updated=updated,
            unchanged=unchanged,
            ignored=ignored,
            skipped=skipped,
            refused=places,
            rejects=sorted([*batch.rejects, *rejects], key=lambda reject: reject.record),
            keys=keys,
        )


def _places(batch: TypedBatch) -> pa.Array:
    return pa.array(batch.records, pa.int64())


_IS_MADE = "SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NOT NULL"
