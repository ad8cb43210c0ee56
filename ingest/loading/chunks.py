"""Writes the chunks of a source into the table, with their records in the ledger.

The callers open the transactions.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest import conf
from ingest.conversion.slow_fields import add_up
from ingest.exceptions import (
    NOTHING_LOADED,
    ConfigurationError,
    CountMismatch,
    Outcome,
    UnsupportedModelError,
    did_you_mean,
)
from ingest.ledger.brief import BriefEntry
from ingest.ledger.inserters import Inserters
from ingest.loading.option_checks import spell
from ingest.loading.pipeline import Chunks, Pipeline
from ingest.plurals import counted
from ingest.postgres.catalog import changed_meanwhile, check_columns_later
from ingest.postgres.several_tables import read_tables
from ingest.results import Counts, details_of
from ingest.sources import Position
from ingest.sources.fingerprints import digest_of_part
from ingest.writing.conflicts.options import refuse_several_tables
from ingest.writing.copy import CopyWriter
from ingest.writing.direct import DirectWriter
from ingest.writing.preconditions import unsupported_reasons, why_not_copy
from ingest.writing.primary_keys import PrimaryKeys
from ingest.writing.sequences import Sequences, defaults_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.conversion import TypedBatch
    from ingest.conversion.slow_fields import SlowField
    from ingest.ledger.entry import Entry
    from ingest.loading.options import LoadSpec
    from ingest.loading.progress import ProgressReporter
    from ingest.loading.reject_file import RejectFile
    from ingest.loading.reject_log import RejectLog
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.sources import Source
    from ingest.writing.batch_result import BatchResult
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.primary_keys import Purpose


class _Planned(NamedTuple):
    """The plan for the rows of one source."""

    source: Source
    chunks: Chunks
    keys: PrimaryKeys
    sequences: Sequences


@dataclasses.dataclass
class _SentChunk:
    """What must be recorded about the chunk that was sent last."""

    key: int = 0
    """Its key in the ledger."""
    rejects: list[Reject] = dataclasses.field(default_factory=list)
    """The rejects that the ledger keeps."""
    inserters: str | None = None
    """The table in which the savepoints of the load are marked."""
    old_values: OldValues | None = None
    """The old values of changed or deleted rows, if they are kept."""
    is_nested: bool = False
    """Whether the source has opened or ended a savepoint of the caller's transaction."""


class ChunkLoader:
    """Loads chunks over one session; what can be planned once is planned once."""

    def __init__(
        self,
        job: LoadSpec,
        session: Session,
        *,
        entry: Entry,
        log: RejectLog,
        file: RejectFile | None,
        reporter: ProgressReporter,
    ) -> None:
        self._job = job
        self._session = session
        self._entry = entry
        self._log = log
        self._file = file
        self._reporter = reporter
        self._stage = reporter.stages.stage
        self._decisions: dict[str, None] = {}
        self._source: Source | None = None
        self._position = Position()
        """The beginning of the next chunk."""
        self._stop: Position | None = None
        """The end of the last chunk; None: the end of the source."""
        self._rows: int | None = None
        """The number of records in a chunk; None: all."""
        self._table: Table | None = None
        self._read: Table | None = None
        """The table, or the tables, as last read: the load may write to one of them."""
        self._pipeline: Pipeline | None = None
        self._chunks: Chunks | None = None
        self._keys: PrimaryKeys | None = None
        self._sequences: Sequences | None = None
        self._sent = _SentChunk()
        self.bytes_read = 0
        """The position in the input after the records that PostgreSQL has accepted."""
        self._seen: SeenKeys | None = None

    @property
    def table(self) -> Table:
        """The table, once ``prepare`` has read it."""
        if self._table is None:
            raise RuntimeError("The table is not known: prepare() comes first.")
        return self._table

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions made on the way, a sentence each."""
        return tuple(self._decisions)

    @property
    def slow_fields(self) -> tuple[SlowField, ...]:
        """The fields that have validated values one at a time so far."""
        return () if self._pipeline is None else add_up(self._pipeline.slow_fields)

    @property
    def is_over(self) -> bool:
        """Whether the source has ended, or is an empty iterable, which has no columns."""
        return self._chunks is None or self._chunks.is_over

    def read_from(
        self,
        source: Source,
        start: Position,
        records_of_chunk: int | None,
        stop: Position | None = None,
    ) -> None:
        """Continue with this source after a position; ``stop``: see ``Source.batches_between``."""
        self._source = source
        self._position, self._stop = start, stop
        self._rows = records_of_chunk
        self._chunks = None

    def prepare(self) -> None:
        """Read the table at the start of a transaction, and plan if that was not done yet."""
        self._entry.lock(self._session)
        if isinstance(self._entry, BriefEntry):
            table = self._entry.look(self._session, self._job.model)
        else:
            table = read_tables(self._session, self._job.model)
        if self._read is not None and table != self._read:
            raise changed_meanwhile(table)
        self._read = table
        if self._table is None or not table.parts:
            self._table = table
        if self._source is not None and self._chunks is None and self._source.columns:
            self._plan(self._source, table)

    def has_more(self) -> bool:
        """Return whether there is another chunk."""
        return self._chunks is not None and self._chunks.has_more()

    def send(self, ordinal: int, read_before: int) -> Counts:
        """Send the next chunk in the open transaction; ``read_before`` records come before it."""
        source, chunks, keys, sequences = self._planned()
        keys.take_ranges()  # of an attempt that was rolled back
        sequences.begin()
        rejected_before = self._log.records
        self._sent = _SentChunk(
            self._entry.begin_chunk(self._session, ordinal, read_before + 1, self.table)
        )
        writer = self._make_writer(is_first_chunk=ordinal == 1)
        batches = self._watch_savepoints(chunks.chunk())
        written = accepted = Counts()
        with closing(writer.write(self._session, keys, batches)) as results:
            for result in results:
                written += result.counts
                with self._stage("send"):
                    sequences.note(result.batch, result.refused)
                    self._take_in(result, read_before + chunks.read)
                accepted += _accepted(result)
                self.bytes_read = result.batch.batch.byte_span[1]
                del result  # release the batch while the next one is sent
                rejected = self._log.records - rejected_before
                self._reporter.see(
                    accepted + Counts(read=rejected, rejected=rejected),
                    self.bytes_read,
                    source.bytes_total,
                )
        check_columns = self._check_columns_later()
        written += Counts(deleted=writer.deleted)
        self._sent.inserters = writer.inserters
        self._sent.old_values = writer.old_values
        self._decide(*writer.decisions, *self._warnings())
        if keys.reason is not None:
            self._decide(f"Rows: this load cannot be undone, because {keys.reason}")
        if not self._job.how.dry_run:
            sequences.plan()
            self._decide(*sequences.decisions)
        counts = chunks.counts(written, self._log.records - rejected_before)
        _check(counts, source.name)
        check_columns()
        source.check_unchanged()
        return counts

    def _watch_savepoints(self, batches: Iterator[TypedBatch]) -> Iterator[TypedBatch]:
        """Yield the batches, and note whether the source opens or ends a savepoint in between."""
        savepoints, is_first = self._session.savepoints, True
        for batch in batches:
            if is_first:  # the source may have taken long
                self._check_columns_later()()
                is_first = False
            self._sent.is_nested |= self._session.savepoints != savepoints
            yield batch

    def _check_columns_later(self) -> Callable[[], None]:
        if self._entry.is_brief:  # the table is locked from the start
            return lambda: None
        return check_columns_later(self._session, self.table)

    def _take_in(self, result: BatchResult, read: int) -> None:
        """Record the result of a batch; ``read`` records have been read by now."""
        if result.keys:
            self._entry.keep_keys(self._session, self._sent.key, result.keys)
        if self._job.how.on_error == "abort":
            return
        if self._pipeline is not None:
            self._pipeline.take_back_parents(result.rejects, result.batch)
        if self._file is not None and result.rejects:
            self._file.add(result.rejects, result.batch.batch)
        rejects = result.batch.batch.told(result.rejects)
        self._log.add(rejects, read)
        kept = self._sent.rejects
        room = max(conf.rejects_kept() - len(kept), 0)
        kept.extend(reject.kept() for reject in rejects[:room])

    def record(
        self,
        counts: Counts,
        read_before: int,
        facts_of_position: dict[str, Any],
        stop: Position | None = None,
    ) -> None:
        """Complete the record of the chunk that was sent, in the same transaction.

        ``facts_of_position`` are stored with the position.
        """
        source, chunks, keys, _ = self._planned()
        sent = self._sent
        facts: dict[str, Any] = {}
        if self._job.how.is_chunked:
            with self._stage("find position"):
                stop = stop or chunks.position()
                facts = _bytes_between(source, self._position, stop)
        stop = stop or Position()
        self._position = stop
        self._entry.end_chunk(
            self._session,
            sent.key,
            ranges=keys.take_ranges(),
            rejects=sent.rejects,
            inserters=Inserters(
                table=self.table.tables[0],  # has the key
                key=keys.name if keys.reason is None else "",
                marks=sent.inserters,
                old_values=None if sent.old_values is None else sent.old_values.name,
                asks_rows=sent.is_nested or bool(self.table.triggers),
            ),
            old_values=sent.old_values,
            seen=self._seen if self._job.how.is_chunked else None,
            first_record=read_before + 1,
            last_record=read_before + counts.read,
            position={
                "source": dataclasses.asdict(stop),
                "bytes": self.bytes_read,
                **facts_of_position,
            },
            **{name: count for name, count in vars(counts).items() if name != "read"},
            **facts,
        )
        source.check_unchanged()  # while its bytes were digested

    def move_sequences(self) -> None:
        """Move the sequences past the given keys, as the last statement before the COMMIT.

        A move cannot be rolled back, and a dry run has no COMMIT. So all that the COMMIT could
        still refuse is checked first, except the caller's constraints, which wait for what the
        caller does afterwards.
        """
        is_dry_run = self._job.how.dry_run
        moves = self._sequences is not None and self._sequences.has_moves
        if (is_dry_run or moves) and not self._session.is_callers:
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if self._sequences is not None and not is_dry_run:
            self._sequences.move()

    def _plan(self, source: Source, table: Table) -> None:
        _check_copies(table, ())
        self._pipeline = pipeline = Pipeline(
            self._job.model,
            source,
            self._job.layout,
            session=self._session,
            alias=self._job.alias,
            table=table,
            stages=self._reporter.stages,
            clean=self._job.how.clean,
            refuses=self._job.how.on_error == "reject",
            inserts="all" if self._job.how.conflicts is None else self._job.how.conflicts.fills,
            joins=self._job.how.conflicts is None,  # which remembers keys by file and record
        )
        self._table = table = pipeline.table
        if table.parts and self._job.how.conflicts is not None:
            refuse_several_tables(self._job.model)
        self._decide(*pipeline.rules_not_asked, *_of_other_servers(table))
        if self._keys is None:
            encoding = pipeline.encoding
            # The writer that settles conflicts decides which identities may be given.
            _check_copies(table, encoding.names if self._job.how.conflicts is None else ())
            find_keys: Callable[..., PrimaryKeys] = PrimaryKeys
            if table.parts:
                from ingest.writing.several_tables import find_keys  # few models are so
            self._keys = find_keys(
                self._session,
                table,
                self._job.model,
                encoding,
                purpose=self._purpose(),
            )
            conflicts = self._job.how.conflicts
            if conflicts is not None and conflicts.inserts and self._job.how.dry_run:
                self._keys.use_spares(self._job.model._meta.pk)
            self._sequences = Sequences(
                self._session, defaults_of(table), () if self._job.how.dry_run else encoding.names
            )
            if self._keys.decision is not None:
                self._decide(self._keys.decision)
            if self._job.how.keep_old:
                self._check_keep_old(self._keys)
        self._chunks = Chunks(
            pipeline.batches(self._position, self._rows, self._stop),
            self._position,
            self._rows,
            aborts=self._job.how.on_error == "abort",
        )

    def _check_keep_old(self, keys: PrimaryKeys) -> None:
        """Raise ``ConfigurationError`` if old values could never be restored."""
        if self._job.how.dry_run:
            return
        reason = keys.reason
        if self._entry.load is None:
            reason = "it is not recorded: migrate the ledger (`python manage.py migrate ingest`)."
        if reason is not None:
            raise ConfigurationError(
                f"{spell('keep_old')} has no effect on this load, which cannot be undone, because "
                f"{reason} Leave it out."
            )

    def _make_writer(self, *, is_first_chunk: bool) -> CopyWriter:
        how, names = self._job.how, (DirectWriter.name, CopyWriter.name)
        if how.method not in names:
            raise ConfigurationError(
                f"A load uses the method 'direct' or 'copy', not {how.method!r}."
                f"{did_you_mean(how.method, names)}"
            )
        reasons = unsupported_reasons(self._job.model, how.method)
        if reasons:
            raise UnsupportedModelError(" ".join(reasons))
        stages, skips_refused = self._reporter.stages, how.on_error == "reject"
        if how.conflicts is not None and self._pipeline is not None:
            # Most loads do not need it.
            from ingest.writing.conflicts.tables import SeenKeys
            from ingest.writing.conflicts.writer import ConflictWriter

            self._seen = self._seen or SeenKeys(recall=self._entry.recall_keys)
            return ConflictWriter(
                self.table,
                self._job.model,
                options=how.conflicts,
                given=self._pipeline.given,
                seen=self._seen,
                stages=stages,
                skips_refused=skips_refused,
                is_first_chunk=is_first_chunk,
                is_chunk=how.is_chunked,
                defers_references=how.references == "defer",
                keeps_old=how.keep_old,
                alias=self._job.alias,
            )
        writer = CopyWriter
        if self.table.parts:
            from ingest.writing.several_tables import (  # few models are so
                WHY_NOT_DIRECT,
                SeveralTablesWriter,
            )

            writer = SeveralTablesWriter
            if how.method == DirectWriter.name:
                self._decide(WHY_NOT_DIRECT)
        if self.table.parts or how.method == CopyWriter.name:
            return writer(
                self.table,
                self._job.model,
                stages=stages,
                skips_refused=skips_refused,
                is_first_chunk=is_first_chunk,
                defers_references=how.references == "defer",
            )
        return DirectWriter(
            self.table,
            self._job.model,
            stages=stages,
            skips_refused=skips_refused,
            is_first_chunk=is_first_chunk,
            is_chunk=how.is_chunked,
            references=how.references,
            indexes=how.indexes,
            warn_waiting=self._reporter.announcement.waiting,
        )

    def _planned(self) -> _Planned:
        source, chunks, keys, sequences = self._source, self._chunks, self._keys, self._sequences
        if source is None or chunks is None or keys is None or sequences is None:
            raise RuntimeError("Nothing is planned: prepare() comes first.")
        return _Planned(source, chunks, keys, sequences)

    def _purpose(self) -> Purpose:
        if self._job.how.conflicts is not None:
            is_recorded = self._entry.load is not None and not self._job.how.dry_run
            return "returned" if is_recorded else "none"
        if self._job.how.dry_run:
            return "spare"
        return "none" if self._entry.load is None else "record"

    def _warnings(self) -> tuple[str, ...]:
        return () if self._pipeline is None else self._pipeline.warnings

    def _decide(self, *sentences: str) -> None:
        self._decisions.update(dict.fromkeys(sentences))


def _accepted(result: BatchResult) -> Counts:
    """Return the counts of a batch's records without the refused ones."""
    raw = result.batch.batch
    counts = result.counts + Counts(skipped=raw.skipped, padded=len(raw.padded), cut=len(raw.cut))
    return dataclasses.replace(counts, read=counts.accounted)


def _check(counts: Counts, source: str) -> None:
    if not counts.add_up:
        more = [f"{count:,} {name}" for name, count in details_of(counts).items()]
        rows = counted(counts.loaded, "row") + (f": {', '.join(more)}" if more else "")
        raise CountMismatch(
            f"{source} had {counted(counts.read, 'record')}, "
            f"{counted(counts.rejected, 'was', 'were')} rejected and {counts.skipped:,} skipped, "
            f"but PostgreSQL counted {rows}."
        )


def _check_copies(table: Table, given: Sequence[str]) -> None:
    for part in table.tables:
        reason = why_not_copy(part, given)
        if reason is None and table.parts and part.row_security:
            reason = (
                f"The policies of {part.qualified_name} hold for the role, and a load into "
                "several tables goes by COPY alone, which PostgreSQL refuses then: load as a role "
                "that they do not hold for."
            )
        if reason is not None:
            raise UnsupportedModelError(reason).with_outcome(Outcome.NOTHING, NOTHING_LOADED)


def _of_other_servers(table: Table) -> list[str]:
    """Return a sentence for each of the tables whose rows are stored on other servers."""
    said = [
        f"Citus: {part.distribution.describe(part.qualified_name)}"
        for part in table.tables
        if part.distribution is not None
    ]
    foreign = ", ".join(name for part in table.tables for name in part.foreign_parts)
    if foreign:
        said.append(
            f"Foreign: rows of {foreign} go to another server, which commits them a moment before "
            "this one: after a crash in between they are in without their record in the ledger."
        )
    return said


def _bytes_between(source: Source, start: Position, stop: Position) -> dict[str, Any]:
    """Return the bytes of a chunk and their digest, if it is in one seekable file."""
    if stop.byte is None or start.file != stop.file or stop.file >= len(source.paths):
        return {}
    first = start.byte or 0
    digest = digest_of_part(source.paths[stop.file], first, stop.byte)
    return {"first_byte": first, "last_byte": stop.byte, "fingerprint": digest}
