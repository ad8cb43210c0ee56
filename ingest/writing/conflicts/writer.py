"""Records meet the rows of the table: inserted, updated, unchanged, ignored or refused.

A batch goes by COPY into a temporary table, and one statement on the server settles its rows: it
finds duplicates, looks up the row of the table for each, updates those that differ, and inserts
those that the table lacks. See ``statements``.

It is exact beside other transactions. Rows to be changed are changed by their ctid and their key,
rows to be inserted are inserted with ON CONFLICT DO NOTHING; where either does not find things as
they were seen, another transaction came between, and the row is looked up again. Two loads into
one table take turns: see ``_take_turn``.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pyarrow as pa
from django.db import DEFAULT_DB_ALIAS

from ingest.exceptions import (
    NOTHING_LOADED,
    ConfigurationError,
    Outcome,
    RecordsRefused,
    UnsupportedModelError,
)
from ingest.postgres.errors import RowError
from ingest.postgres.session import Query, Statement
from ingest.postgres.several_tables import link_of
from ingest.writing.bad_rows import RefusedRow
from ingest.writing.conflicts.changes import plan_changes
from ingest.writing.conflicts.grouping import grouped
from ingest.writing.conflicts.insert_order import plan_order
from ingest.writing.conflicts.keys import choose_key, read_keys
from ingest.writing.conflicts.old_values import OldValues
from ingest.writing.conflicts.plan import KEPT_OUT_STATE, LACKING_STATE, MISSING_STATE
from ingest.writing.conflicts.references import FEW_ROWS, plan_references
from ingest.writing.conflicts.statements import Settling
from ingest.writing.conflicts.sync import Deletion
from ingest.writing.copy import BatchResult, CopyWriter
from ingest.writing.deferred import DeferredChecks, firing_of, set_constraints
from ingest.writing.refused_rows import (
    describe,
    explain_refusal,
    own_refusal,
    reject_of,
    value_of,
)
from ingest.writing.staging import StagingTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from concurrent.futures import Future

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Copying, Script, Session
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import ConflictOptions, Given
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.timings import Stages

DUPLICATE_STATE = "23505"
FEW_REFUSED = 1_000
"""Where more records of a batch are refused, no more of them are settled together."""
_INTEGERS = frozenset({"int2", "int4", "int8"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settled:
    """What became of the rows of one batch."""

    counts: tuple[int, ...] = (0, 0, 0, 0, 0)
    """Inserted, updated, unchanged, ignored and skipped ones."""
    refused: Sequence[RefusedRow] = ()
    """Those that a type, PostgreSQL or this module has refused, by place."""
    repeated: Sequence[tuple[int, int, int]] = ()
    """Records that repeat a key: their numbers, and file and number of the one that holds it."""
    ranges: Sequence[tuple[int, int]] = ()
    """The keys of the inserted rows, where they are numbers."""
    texts: Sequence[str] = ()
    """The same, as text, where they are not."""


class ConflictWriter(CopyWriter):
    """Settles each batch in the session's open transaction."""

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
        """``is_chunk``: more rows may come when these are committed, and ``seen`` must last."""
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
        """Do what ``CopyWriter.write`` does; a writer is used once."""
        self._session, self._primary_keys = session, keys
        self._prepare(session, keys)
        deferred = DeferredChecks(
            session, self.table, self._recent, defers_references=self.defers_references
        )
        if not self.skips_refused:
            self.decisions.extend(deferred.prepare())
        pending: tuple[Future[_Settled], TypedBatch] | None = None
        stage = self.stages.stage
        for given, filling in self._encoded(keys.number(grouped(batches, self._may_wait))):
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
                whole = filling if batch is given else None
                pending = session.start(self._explained(batch, whole)), batch
                del filling, whole
            if session.looks_back:
                yield self._result(*pending)
                pending = None
        if pending is not None:
            yield self._result(*pending)
        self._finish(deferred)

    def _encoded(
        self, batches: Iterable[TypedBatch]
    ) -> Generator[tuple[TypedBatch, Copying | None], None, None]:
        """Yield batches with the step that stages them, made while the server has another one."""
        for batch in batches:
            has_rows = len(batch.records) > 0
            yield batch, self._stage.filling(batch.rows, _places(batch)) if has_rows else None

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

        The server must have something to do meanwhile. No record may be made from those before.
        """
        pending = self._session.pending
        is_busy = pending is not None and not pending.done()
        return is_busy and not self._session.looks_back and not self._refuses_many

    def _prepare(self, session: Session, keys: PrimaryKeys) -> None:
        """Choose the key, take the locks and make the temporary tables."""
        encoding = keys.encoding
        fed = [self.table.column(str(field.column)).name for field in self.given.fields]
        keys_of_table = read_keys(session, self.table)
        self._in_keys = {name for each in keys_of_table for name in each.plain}
        self._key = key = choose_key(
            keys_of_table, self.model, fed, encoding.names, self.options.key
        )
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
        self._take_turn(session)
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
            # One that was rolled back has not made it, nor has one over a connection that was lost.
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
        """Write the statement that settles a batch of so many rows.

        It is written once, and once more when the first batch of many rows comes.
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
                    f"References: {len(references)} foreign keys of inserted rows checked as a set."
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
        immediate, deferred = self._referring(session)
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

    def _referring(self, session: Session) -> tuple[str, str]:
        """Return statements that set the foreign keys that a changed key may break, and set back.

        A deferred one would speak when it is too late to say which record it was.
        """
        if not self._in_keys & set(self._settling.set_columns):  # nothing else is referred to
            return "", ""
        found = [
            (name, is_deferred)
            for name, is_deferred, columns in session.fetch(_REFERRING, self.table.oid)
            if set(columns) & set(self._settling.set_columns)
        ]
        immediate = "".join(f"SET CONSTRAINTS {name} IMMEDIATE; " for name, _ in found)
        deferred = "".join(f"SET CONSTRAINTS {name} DEFERRED; " for name, back in found if back)
        return immediate, deferred

    def _take_turn(self, session: Session) -> None:
        """Wait for other loads with on_conflict into the same table.

        A lock by the table's number keeps them apart, so that no two of them can have a deadlock;
        it holds nobody else up. A deferrable key cannot decide in ON CONFLICT, and so others may
        not write to the table at all meanwhile.
        """
        session.fetch(_TAKE_TURN, self.table.oid)
        if self._key.is_deferrable:
            session.execute(f"LOCK TABLE {self.table.qualified_name} IN SHARE ROW EXCLUSIVE MODE")
            self.decisions.append(
                f"Conflicts: nobody else can write to the table meanwhile, because the key "
                f"{self._key.name!r} is deferrable and cannot decide in ON CONFLICT."
            )
        self.decisions.append(f"Conflicts: decided by the key {self._key.name!r}.")

    def _check_identities(self, names: Sequence[str]) -> None:
        """Refuse a value for GENERATED ALWAYS AS IDENTITY, but where rows are found by it."""
        for column in self.table.columns:
            is_found_by = column.name in self._key.plain
            if column.identity == "a" and column.name in names and not is_found_by:
                raise ConfigurationError(
                    f"The column {column.name!r} of {self.table.qualified_name} is "
                    "GENERATED ALWAYS AS IDENTITY and cannot be updated: leave it out of the "
                    "source."
                )

    def _explained(self, batch: TypedBatch, filling: Copying | None) -> Script[_Settled]:
        try:
            return (yield from self._settle(batch, filling))
        except Exception as error:
            refusal = explain_refusal(error, self.table, batch, None)
            if refusal is None:
                raise
            raise refusal from error

    def _settle(self, batch: TypedBatch, filling: Copying | None) -> Script[_Settled]:
        settling, tables = self._settling, self.seen.tables
        file = self.seen.number_of(batch)
        emptying, self._emptying = self._emptying, f"{settling.emptying}; "
        first = (
            f"{emptying}SELECT pg_catalog.set_config('ingest.file', '{file}', true), "
            "pg_catalog.set_config('ingest.settled', '', true); "
        )
        untyped = yield from self._stage.fill(batch.rows, _places(batch), filling, first)
        refused = [self._refused_row(batch, row) for row in untyped]
        if untyped and not self.skips_refused:
            return _Settled(refused=refused)
        yield Statement(self._statement)
        if self.is_chunk:
            yield Statement(settling.noting)
        [found] = yield Query(_SETTLED.format(**vars(tables)))
        settled, has_refused, has_repeated, has_fresh = found
        if has_refused:
            found = yield Query(_REFUSED.format(refused=tables.refused))
            refused += [self._refused_row(batch, RowError(*row)) for row in found]
        repeated: list[tuple[int, int, int]] = []
        if has_repeated:
            repeated = yield Query(_REPEATED.format(repeated=tables.repeated))
        ranges: list[tuple[int, int]] = []
        texts: list[str] = []
        if has_fresh and self._returned_type in _INTEGERS:
            ranges = yield Query(_RANGES.format(fresh=tables.fresh))
        elif has_fresh and self._returned_type:
            texts = [text for (text,) in (yield Query(_TEXTS.format(fresh=tables.fresh)))]
        return _Settled(
            counts=tuple(map(int, settled.split(","))) if settled else (0, 0, 0, 0, 0),
            refused=sorted(refused, key=lambda row: row.place),
            repeated=repeated,
            ranges=ranges,
            texts=texts,
        )

    @property
    def _returned_type(self) -> str:
        keys = self._primary_keys
        if not keys.name or keys.reason is not None:
            return ""
        return next(item.type_name for item in self.table.columns if item.name == keys.name)

    def _refused_row(self, batch: TypedBatch, said: RowError) -> RefusedRow:
        # The table of refusals has NULL where PostgreSQL did not refuse the row.
        state, place, *texts = said
        row = own_refusal(RowError(state, place, *(str(text or "") for text in texts)), self.table)
        return RefusedRow(
            place=bisect_left(batch.records, said.place or 0),
            state=str(row.state),
            message=row.message,
            detail=row.detail,
            constraint=row.constraint,
            column=row.column,
            is_in_source=None,
        )

    def _result(self, future: Future[_Settled], batch: TypedBatch) -> BatchResult:
        """Wait for a batch that is on its way, and return what became of it."""
        with self.stages.stage("send"):
            settled = future.result()
        pa.default_memory_pool().release_unused()
        self._refuses_many |= len(settled.refused) + len(settled.repeated) > FEW_REFUSED
        rejects = [self._reject(batch, row) for row in settled.refused]
        repeats: list[Reject] = []
        if self.options.duplicates == "reject":
            repeats = [self._reject_repeated(batch, *row) for row in settled.repeated]
        if not self.skips_refused:
            self._raise_first(batch, settled, repeats)
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

    def _raise_first(self, batch: TypedBatch, settled: _Settled, repeats: Sequence[Reject]) -> None:
        """Raise the error of the first record that was refused, if any was."""
        first = min((reject.record for reject in repeats), default=None)
        row = settled.refused[0] if settled.refused else None
        if row is not None and (first is None or batch.records[row.place] < first):
            if row.state in {MISSING_STATE, LACKING_STATE, KEPT_OUT_STATE}:
                own = (MISSING_STATE, LACKING_STATE, KEPT_OUT_STATE)
                raise RecordsRefused(
                    [self._reject(batch, row) for row in settled.refused if row.state in own]
                )
            raise describe(
                RowError(row.state, row.place, row.message, row.detail, row.constraint, row.column),
                self.table,
                batch,
                cure=(
                    f"Another row has this value, and the key {self._key.name!r} decides which row "
                    "is meant: take the record out, or change the value."
                    if row.state == DUPLICATE_STATE
                    else ""
                ),
            )
        if repeats:
            raise RecordsRefused(list(repeats))

    def _reject(self, batch: TypedBatch, row: RefusedRow) -> Reject:
        if row.state == MISSING_STATE:
            return self._reject_key(
                batch,
                row.place,
                f"{self.table.qualified_name} has no row with this key, and on_conflict='update' "
                "inserts none: use 'upsert' to insert it.",
                "missing",
            )
        if row.state == LACKING_STATE:
            field, reason = next(iter(self.given.lacking.items()))
            return batch.reject(
                row.place,
                f"The table has no row with this key, and none can be inserted: {reason}",
                "value",
                column=None,
                field=field,
                value=None,
            )
        if row.state == KEPT_OUT_STATE:
            hidden = (
                "row security hides a row with the same key, or " if self.table.row_security else ""
            )
            return self._reject_key(
                batch,
                row.place,
                f"The row was not written to {self.table.qualified_name}: {hidden}a trigger or a "
                "rule keeps it out or changes its key.",
                "constraint",
            )
        return reject_of(batch, row, self.table, "")

    def _reject_repeated(self, batch: TypedBatch, record: int, file: int, of: int) -> Reject:
        source = self.seen.sources[file]
        where = "" if source == batch.source else f" of {source}"
        return self._reject_key(
            batch,
            bisect_left(batch.records, record),
            f"Record {of:,}{where} has the same key: take one of them out, or choose one with "
            "duplicates='first' or 'last' (--duplicates).",
            "duplicate",
            constraint=self._key.name,
        )

    def _reject_key(
        self,
        batch: TypedBatch,
        place: int,
        reason: str,
        kind: Any,
        constraint: str | None = None,
    ) -> Reject:
        """Return a reject that shows the values of the key, as the source has them."""
        row = RefusedRow(
            place=place,
            state="",
            message=reason,
            detail="",
            constraint="",
            column=self._key.columns[0] if len(self._key.columns) == 1 else "",
            is_in_source=None,
        )
        reject = reject_of(batch, row, self.table, "")
        if len(self._key.columns) > 1:
            shown = reject_values(batch, place, self._key.columns)
            reject = dataclasses.replace(reject, reason=f"{shown}: {reject.reason}")
        return dataclasses.replace(reject, kind=kind, constraint=constraint)


def refuse_several_tables(model: type[models.Model]) -> NoReturn:
    """Raise ``UnsupportedModelError`` for a model whose rows lie in several tables."""
    link = cast("models.ForeignKey[Any, Any]", link_of(model._meta.concrete_model or model))
    label, parent = model._meta.label, link.remote_field.model._meta.label
    raise UnsupportedModelError(
        f"on_conflict settles the rows of one table, and {label} also has fields in the table of "
        f"{parent}. Load the file twice: into {parent} with the parent's fields, then into {label} "
        f"with its own, and with a column {link.name}__FIELD by which the parent's row is looked "
        f"up, or {link.name} with its key."
    ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)


def _places(batch: TypedBatch) -> pa.Array:
    return pa.array(batch.records, pa.int64())


def reject_values(batch: TypedBatch, place: int, columns: Sequence[str]) -> str:
    """Return the values of several columns, as the source has them."""
    fed = [name for name in columns if name in batch.origins]
    return ", ".join(
        f"{batch.origins[name][0]}={value_of(batch, name, batch.records[place])}" for name in fed
    )


_TAKE_TURN = """
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
  pg_catalog.concat('ingest settles conflicts of ', $1::bigint), 0))::pg_catalog.text
"""
_IS_MADE = "SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NOT NULL"
_REFERRING = """
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.',
                         pg_catalog.quote_ident(k.conname::pg_catalog.text)),
       k.condeferred,
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) ANY (k.confkey))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) k.connamespace
WHERE k.confrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.condeferrable
  AND k.conparentid OPERATOR(pg_catalog.=) 0
"""
_SETTLED = """
SELECT pg_catalog.current_setting('ingest.settled', true), EXISTS (SELECT FROM {refused}),
       EXISTS (SELECT FROM {repeated}), EXISTS (SELECT FROM {fresh})
"""
_REFUSED = """
SELECT state, place, message, detail, constraint_name, column_name FROM {refused} ORDER BY place
"""
_REPEATED = "SELECT place, of_file, of_place FROM {repeated} ORDER BY place"
_RANGES = """
SELECT pg_catalog.min(r.key)::bigint, pg_catalog.max(r.key)::bigint FROM (
  SELECT key, key OPERATOR(pg_catalog.-) (
    pg_catalog.row_number() OVER (ORDER BY key) OPERATOR(pg_catalog.-) 1) AS island
  FROM {fresh}) r
GROUP BY r.island ORDER BY 1
"""
_TEXTS = "SELECT pg_catalog.concat(key) FROM {fresh}"
