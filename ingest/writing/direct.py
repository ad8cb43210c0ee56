"""COPY with references checked as a set and indexes built once, each only if that is safe."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, ClassVar, Literal

from ingest.exceptions import UnsupportedModelError
from ingest.plurals import counted
from ingest.postgres.catalog import read_table, read_whole_table
from ingest.postgres.errors import RowError
from ingest.writing.copy import Admitted, CopyWriter
from ingest.writing.foreign_keys import ForeignKeyCheck
from ingest.writing.index_catalog import place_of_duplicate
from ingest.writing.indexes import IndexPlan, indexes_set_aside, plan_set_aside
from ingest.writing.preconditions import (
    why_not_lock,
    why_not_look_up,
    why_not_without_triggers,
)
from ingest.writing.refused_rows import columns_of, explain_missing, name_record, reject_missing
from ingest.writing.row_order import plan_order
from ingest.writing.slow_source import SlowSource

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import pyarrow as pa
    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session
    from ingest.sources.batch import FileRecords
    from ingest.writing.batch_result import BatchResult
    from ingest.writing.foreign_keys import MissingReference
    from ingest.writing.index_catalog import DeferredIndex
    from ingest.writing.primary_keys import PrimaryKeys
    from ingest.writing.row_order import RowOrder
    from ingest.writing.timings import Stages

SMALL_ROWS = 5_000
"""Up to here plain COPY is as fast: reading the catalog costs what the set check saves. Into an
empty table of transactions, `copy` and `direct` take these milliseconds: 3,000 rows 181 and 205,
5,000 rows 239 and 285, 20,000 rows 790 and 491 (median of 7 alternating runs, 2 busy cores,
PostgreSQL 18)."""


References = Literal["auto", "set", "trigger", "defer"]
"""``set``: an error if they cannot be checked as a set; ``trigger``: left to PostgreSQL;
``defer``: as ``auto``, but deferred keys wait for the end of the caller's transaction."""
Indexes = Literal["auto", "rebuild", "keep"]
"""``rebuild``: an error if they cannot be built afterwards; ``keep``: left to PostgreSQL."""


class DirectWriter(CopyWriter):
    """Uses a faster path than COPY where ``preconditions`` allows it; see ``decisions``."""

    name: ClassVar[str] = "direct"

    def __init__(  # noqa: PLR0913 - what the caller decides, each once
        self,
        table: Table,
        model: type[models.Model],
        *,
        stages: Stages | None = None,
        skips_refused: bool = False,
        is_first_chunk: bool = True,
        is_chunk: bool = False,
        references: References = "auto",
        indexes: Indexes = "auto",
        warn_waiting: Callable[[float], None] | None = None,
    ) -> None:
        """``is_chunk``: more rows may follow after these are committed.

        ``warn_waiting`` is called once, in another thread, with the seconds that a locked table has
        waited for the source, if that is long.
        """
        super().__init__(
            table,
            model,
            stages=stages,
            skips_refused=skips_refused,
            is_first_chunk=is_first_chunk,
            defers_references=references == "defer",
        )
        self.is_chunk = is_chunk
        self.references = references
        self.indexes = indexes
        self._warn_waiting = warn_waiting
        self._check: ForeignKeyCheck | None = None
        self._leaves_out_triggers = False
        self._records = _Records()
        self._order: RowOrder | None = None
        self._keys: PrimaryKeys | None = None

    def write(
        self, session: Session, keys: PrimaryKeys, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        """Do the same as ``CopyWriter.write``; can be used only once."""
        iterator = keys.number(batches)
        head = list(islice(iterator, 1))
        if not session.looks_back:  # the first batch may have changed it
            head += islice(iterator, 1)
        every: Iterable[TypedBatch] = chain(head, iterator)
        rows = sum(len(batch.records) for batch in head)
        is_auto = self.references in {"auto", "defer"} and self.indexes == "auto"
        is_copied = not self.table.row_security
        encoding = keys.encoding
        if is_copied and is_auto and session.reads_own_rows:
            self.decisions.append(
                "Plain COPY: parents are looked up among the rows of the load, by the indexes."
            )
            yield from self._copy(session, keys, encoding, every)
            return
        if is_copied and is_auto and len(head) < 2 and rows <= SMALL_ROWS:  # noqa: PLR2004
            self.decisions.append("Plain COPY: so few rows load no faster by any other way.")
            yield from self._copy(session, keys, encoding, every)
            return
        # A load that continues without the refused rows needs the unique indexes for every row.
        plan = self._plan_indexes(session, encoding, with_unique=not self.skips_refused)
        self._read_under_lock(session, plan)
        table = self.table
        if self.skips_refused or not plan.indexes:
            encoding, every = self._plan_order(session, encoding, every, plan)
        self._plan_references(session, encoding, is_alone=bool(plan.indexes))

        self._builds_unique_indexes = any(index.is_unique for index in plan.indexes)

        def where_of(index: DeferredIndex) -> str | None:
            place = place_of_duplicate(session, table, encoding.given, index.keys, index.predicate)
            return None if place is None else self._locate(place, index)

        # The time to drop and to create the indexes; the stages inside are counted separately.
        stage = self.stages.stage("build indexes") if plan.indexes else nullcontext()
        watch = SlowSource(session, self.stages, self._warn_waiting)
        with stage, indexes_set_aside(session, table, plan, where_of):
            given = watch.watch(iter(every)) if plan.indexes else every
            yield from self._copy(session, keys, encoding, given)
        if watch.is_slow:
            self.decisions.append(
                f"Indexes: nobody else could read the table, and for {watch.seconds:.1f} s of that "
                "it waited for the source. With --indexes keep (indexes='keep') others read it "
                "meanwhile."
            )

    def order_of(self, batch: TypedBatch) -> pa.Array | None:
        return None if self._order is None else self._order.of(batch)

    def admit(self, batch: TypedBatch) -> Admitted:
        self._records.add(batch)
        if self._keys is not None:
            self._keys.reserve(len(batch.records))
        if self._check is None or not len(batch.records):
            return super().admit(batch)
        missing = self._check.missing(batch.rows)
        if not self._leaves_out_triggers:
            # The referenced rows are locked; PostgreSQL itself reports missing ones.
            return Admitted(batch)
        if not missing:
            return Admitted(batch, leaves_out_triggers=True)
        session = self._check.session
        if self.defers_references and self._may_come(missing, session):
            return Admitted(batch)
        if self.skips_refused:
            rest = batch.without([reject_missing(item, batch) for item in missing])
            return Admitted(rest, leaves_out_triggers=True)
        if session.is_callers and any(item.constraint.is_deferrable for item in missing):
            return Admitted(batch)  # checked after the last row: the parent may come until then
        raise explain_missing(missing, batch)

    def _may_come(self, missing: list[MissingReference], session: Session) -> bool:
        """Return whether the caller may still insert the missing rows in its transaction."""
        if not session.is_callers:
            return False
        if not all(item.constraint.is_deferrable for item in missing):
            return False
        decision = (
            "References: rows whose parents are not there yet are left to PostgreSQL, which asks "
            "for them when the caller's transaction ends."
        )
        if decision not in self.decisions:
            self.decisions.append(decision)
        return True

    def _read_under_lock(self, session: Session, plan: IndexPlan) -> None:
        """Read the table with all facts under a lock, so that nobody can change it any more.

        It was read before under a lock that was released, and may have changed since then. If the
        indexes are kept, the lock is the one that COPY takes anyway.
        """
        if plan.table is not None:
            self.table = plan.table
        elif why_not_lock(self.table) is None:
            name = self.table.qualified_name
            session.execute(f"LOCK TABLE ONLY {name} IN ROW EXCLUSIVE MODE")
            self.table = read_table(session, self.table.oid)

    def _plan_references(self, session: Session, encoding: CopyEncoding, *, is_alone: bool) -> None:
        if not self.table.foreign_keys:
            self.decisions.append("References: the table has no foreign key.")
            return
        if self.references == "trigger" and not is_alone:
            self.decisions.append("References: checked row by row by PostgreSQL, as asked.")
            return
        table = self.table
        reason = why_not_look_up(table, encoding)
        if reason is None:
            # With an exclusive lock, referenced rows are locked even if PostgreSQL checks them.
            self._check = ForeignKeyCheck(session, table, encoding, waits=not is_alone)
            if self.references != "trigger":
                reason = why_not_without_triggers(table)
        if self.references == "trigger":
            self.decisions.append("References: checked row by row by PostgreSQL, as asked.")
        elif reason is None:
            self._leaves_out_triggers = True
            self.decisions.append(
                f"References: {counted(len(self._check or ()), 'foreign key')} checked as a set."
            )
        elif self.references == "set":
            raise UnsupportedModelError(f"The references cannot be checked as a set: {reason}")
        else:
            self._check = self._check if is_alone else None
            self.decisions.append(f"References: checked row by row by PostgreSQL, because {reason}")

    def _plan_indexes(
        self, session: Session, encoding: CopyEncoding, *, with_unique: bool
    ) -> IndexPlan:
        if self.indexes == "keep":
            self.decisions.append("Indexes: maintained row by row, as asked.")
            return IndexPlan()
        if self.is_chunk:
            self.decisions.append(
                "Indexes: maintained row by row, because each chunk is committed by itself."
            )
            return IndexPlan()
        # PostgreSQL's own checks may wait for others, row by row. Waiting with an exclusive lock on
        # the table could end in a deadlock that ordinary inserts would not have.
        reason = why_not_lock(self.table)
        if reason is None:
            self.table = read_whole_table(session, self.table)
            reason = why_not_look_up(self.table, encoding)
        if reason is None:
            plan = plan_set_aside(
                session,
                self.table,
                with_unique=with_unique,
                drawn=encoding.drawn,
                why_not=lambda table: why_not_look_up(table, encoding),
            )
        else:
            plan = IndexPlan(reason=reason)
        if plan.reason is None:
            self.decisions.append(f"Indexes: {len(plan.indexes)} built after the rows.")
            if plan.keeps_primary:
                self.decisions.append(
                    "Indexes: the primary key's is maintained row by row, because subscribers know "
                    "the rows by it."
                )
            return plan
        if self.indexes == "rebuild":
            raise UnsupportedModelError(f"The indexes cannot be built after: {plan.reason}")
        self.decisions.append(f"Indexes: maintained row by row, because {plan.reason}")
        return plan

    def _plan_order(
        self,
        session: Session,
        encoding: CopyEncoding,
        batches: Iterable[TypedBatch],
        plan: IndexPlan,
    ) -> tuple[CopyEncoding, Iterable[TypedBatch]]:
        table = self.table
        if self.indexes == "keep" or why_not_look_up(table, encoding) is not None:
            return encoding, batches
        set_aside = [index.name for index in plan.indexes]
        found = plan_order(session, table, self.model, encoding, set_aside)
        if found is None:
            return encoding, batches
        self._order, keys = found
        self.decisions.append(
            f"Order: each batch goes in the order of the index {self._order.index!r}."
        )
        if keys.encoding is encoding:  # each row already has its key
            return encoding, batches
        self._keys = keys
        return keys.encoding, keys.number(batches)

    def _locate(self, place: int, index: DeferredIndex) -> str | None:
        """Return the description of the row at this place of the load, from 1, for a message."""
        record, source, files = self._records.at(place)
        if record is None:
            return None
        detail = f"({', '.join(index.keys)})=("
        refusal = RowError("23505", None, detail=detail, constraint=index.name)
        columns = columns_of(refusal, self.table)
        origin = (source, record) if files is None else files.origin(record)
        found = self._recent.locate(source, files, record, columns)
        return found or name_record(*origin, None)


class _Records:
    """Remembers which record each row came from, with a few numbers for each batch."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, bool, str, FileRecords | None]] = []

    def add(self, batch: TypedBatch) -> None:
        records = batch.records
        if not len(records):
            return
        is_run = records[-1] - records[0] + 1 == len(records)
        self._spans.append((len(records), records[0], is_run, batch.source, batch.batch.files))

    def at(self, place: int) -> tuple[int | None, str, FileRecords | None]:
        """Return the record of the row at this place, from 1, or None, its source and its files.

        The files are those of a batch that has records of several files.
        """
        for rows, first, is_run, source, files in self._spans:
            if place <= rows:
                return first + place - 1 if is_run else None, source, files
            place -= rows
        return None, "", None
